/** Options of a client, and their checks. */
import type { ReconnectOptions } from './backoff';
import { HARD_MAX_PAYLOAD_BYTES, MAX_NAME_BYTES } from './limits';
import { checkChannel } from './names';
import { NetclusterError } from './errors';

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Only clients of the same channel hear each other; `default` unless it is given. */
  channel?: string;
  /** Name for the broker's `status`. */
  name?: string;
  /** Own listeners hear own events. */
  echo?: boolean;
  /**
   * What happens when this client's listeners do not keep up: `backpressure` lets the emitters
   * that feed it wait, `latest` loses the oldest events, with a notice, and delays nobody.
   */
  queue?: 'backpressure' | 'latest';
  /** Bytes that the broker may hold for this client; the broker's own limit is the most. */
  maxQueue?: number;
  /** Emitted bytes that may wait here before `emit` throws; 16 MiB by default. */
  maxBuffer?: number;
  /** The largest event that is taken from the broker; by default what the broker allows. */
  maxPayload?: number;
  /** How a lost connection is made again; false: not at all. */
  reconnect?: ReconnectOptions | false;
  /** How long to wait for the broker's welcome, in ms; 5000 by default. */
  connectTimeout?: number;
  /** How long to wait for the broker's goodbye, in ms; 5000 by default. */
  disconnectTimeout?: number;
  /** How long to wait for a broker that is not there yet, in ms; not at all by default. */
  brokerWait?: number;
}

/** Options, complete and checked. */
export interface Settings {
  readonly channel: string;
  readonly name: string;
  readonly echo: boolean;
  readonly latest: boolean;
  readonly maxQueue: number;
  readonly maxBuffer: number;
  readonly maxPayload: number;
  readonly reconnect: ReconnectOptions | false;
  readonly connectTimeout: number;
  readonly disconnectTimeout: number;
  readonly brokerWait: number;
}

const KNOWN: ReadonlySet<string> = new Set([
  'channel', 'name', 'echo', 'queue', 'maxQueue', 'maxBuffer', 'maxPayload', 'reconnect',
  'connectTimeout', 'disconnectTimeout', 'brokerWait',
]);

/** Checks options and completes them. @throws TypeError or RangeError */
export function settings(options: ConnectOptions): Settings {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw new TypeError(`there is no option \`${key}\``);
  }
  const { channel = 'default', name = '', queue = 'backpressure', reconnect = {} } = options;
  checkChannel(channel);
  if (typeof name !== 'string' || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new NetclusterError('NAME', `a client's name is a string of at most ${MAX_NAME_BYTES} bytes`);
  }
  if (queue !== 'backpressure' && queue !== 'latest') {
    throw new TypeError(`queue is 'backpressure' or 'latest', not ${String(queue)}`);
  }
  const number = (key: 'maxQueue' | 'maxBuffer' | 'maxPayload' | 'connectTimeout' | 'disconnectTimeout' | 'brokerWait', otherwise: number): number => {
    const value = options[key] ?? otherwise;
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${key} is a whole number from 0 on, not ${String(value)}`);
    return value;
  };
  return {
    channel,
    name,
    echo: options.echo ?? false,
    latest: queue === 'latest',
    maxQueue: number('maxQueue', 0),
    maxBuffer: number('maxBuffer', 16 << 20),
    maxPayload: Math.min(number('maxPayload', HARD_MAX_PAYLOAD_BYTES), HARD_MAX_PAYLOAD_BYTES),
    reconnect,
    connectTimeout: number('connectTimeout', 5000),
    disconnectTimeout: number('disconnectTimeout', 5000),
    brokerWait: number('brokerWait', 0),
  };
}
