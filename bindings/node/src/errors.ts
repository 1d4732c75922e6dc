/** The package's one class of errors, told apart by `code`. */

/** What went wrong, for programs. */
export type ErrorCode =
  /** No broker answers at the socket. */
  | 'BROKER_NOT_RUNNING'
  /** The socket may not be opened by this user. */
  | 'PERMISSION_DENIED'
  /** Somebody else could have made the default socket. */
  | 'UNTRUSTED_SOCKET'
  /** Connecting failed for another reason. */
  | 'CONNECT'
  /** The broker refused or ended the connection; `reason` says why. */
  | 'CLOSED_BY_BROKER'
  /** The connection broke. */
  | 'CONNECTION_LOST'
  /** The broker shut down, in order. */
  | 'BROKER_SHUT_DOWN'
  /** The client was disconnected, or gave up; calls fail from then on. */
  | 'DISCONNECTED'
  /** The broker said what no broker says. */
  | 'PROTOCOL'
  /** Broker and client speak different versions. */
  | 'VERSION'
  /** Too much waits to be written. */
  | 'BACKPRESSURE'
  /** An event's or channel's name is not allowed. */
  | 'NAME'
  /** A pattern is not allowed. */
  | 'PATTERN'
  /** The broker refused a pattern: there are too many, or it has no memory for it. */
  | 'PATTERN_REFUSED'
  /** A payload is over the broker's limit. */
  | 'PAYLOAD_TOO_LARGE'
  /** A value cannot be written as JSON. */
  | 'JSON'
  /** A payload is not what its emitter said it is. */
  | 'ENCODING'
  /** The broker does not do what was asked for; the message says why. */
  | 'REFUSED'
  /** Whoever runs the broker will end it soon. */
  | 'DRAINING'
  /** The broker's access rules do not allow a pattern, or events, which were not delivered. */
  | 'FORBIDDEN'
  /** Something did not come in time. */
  | 'TIMEOUT'
  /** A listener threw; `cause` is what it threw. */
  | 'LISTENER_THREW'
  /** The broker's program was not found. */
  | 'NO_BINARY'
  /** Another broker runs already where one was to be started. */
  | 'BROKER_RUNNING'
  /** The broker's program ended, or did not start. */
  | 'BROKER';

/** The error of everything in this package. */
export class NetclusterError extends Error {
  override readonly name = 'NetclusterError';
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** The broker's word for why it ended a connection, with `CLOSED_BY_BROKER`. */
  declare readonly reason: BrokerReason | undefined;
  /** The number of that reason. */
  declare readonly brokerCode: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; brokerCode?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    // Only where there is one: whoever prints the error sees no more than it has.
    if (options.brokerCode === undefined) return;
    this.brokerCode = options.brokerCode;
    this.reason = brokerReason(options.brokerCode);
  }
}

const BROKER_REASONS = [
  'unknown',
  'protocol',
  'version',
  'hello_timeout',
  'source',
  'payload_too_large',
  'name',
  'pattern',
  'stalled',
  'busy',
  'shutdown',
  'refused',
  'kicked',
  'draining',
  'forbidden',
] as const;

/** Numbers of the broker's errors after which the connection goes on. */
export const BrokerCode = { pattern: 7, refused: 11, draining: 13, forbidden: 14 } as const;

/** Codes of the broker's refusals of requests. */
export const REFUSALS: Readonly<Partial<Record<number, ErrorCode>>> = { 11: 'REFUSED', 14: 'FORBIDDEN' };

/** Reasons of brokers for ending a connection. */
export type BrokerReason = (typeof BROKER_REASONS)[number];

/** The reason with a number; `unknown` for one that is newer than this. */
export function brokerReason(number: number): BrokerReason {
  return BROKER_REASONS[number] ?? 'unknown';
}

/** Reasons for which a client that comes back would be sent away again. */
const FINAL: ReadonlySet<BrokerReason | undefined> = new Set<BrokerReason>([
  'version',
  'protocol',
  'source',
  'name',
]);

/** Makes the error of a connection that the broker ended. */
export function closedByBroker(number: number, text: string): NetclusterError {
  const reason = brokerReason(number);
  const code = reason === 'version' ? 'VERSION' : 'CLOSED_BY_BROKER';
  return new NetclusterError(code, `the broker ended the connection (${reason}): ${text}`, { brokerCode: number });
}

/** Whether connecting again after this error can help. */
export function isTransient(error: NetclusterError): boolean {
  if (error.code === 'PROTOCOL' || error.code === 'VERSION') return false;
  return !(error.code === 'CLOSED_BY_BROKER' && FINAL.has(error.reason));
}

/** Whether a broker that is about to start, or has too much to do, may be the reason. */
export function mayPass(error: NetclusterError): boolean {
  switch (error.code) {
    case 'BROKER_NOT_RUNNING':
    case 'CONNECT':
    case 'TIMEOUT':
      return true;
    case 'CLOSED_BY_BROKER':
      return ['busy', 'shutdown', 'hello_timeout'].includes(error.reason ?? '');
    default:
      return false;
  }
}
