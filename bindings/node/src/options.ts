/** Options of a client, and their checks. */
import type { ReconnectOptions } from './backoff';
import { NetclusterError } from './errors';
import { HARD_MAX_PAYLOAD_BYTES, MAX_NAME_BYTES } from './limits';
import { checkChannel, kindOf, withArticle } from './names';

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

type Check = (value: unknown, name: string) => void;

/** Checks of all options. Those that are undefined are as if they were not there. */
const CHECKS: Readonly<Record<keyof ConnectOptions, Check>> = {
  channel: (value) => checkChannel(value),
  name: checkClientName,
  echo: checkType('boolean'),
  queue: checkOneOf('backpressure', 'latest'),
  maxQueue: checkWhole,
  maxBuffer: checkWhole,
  maxPayload: checkWhole,
  reconnect: (value, name) => {
    if (value !== false) checkAll(value, name, RECONNECT_CHECKS);
  },
  connectTimeout: checkWhole,
  disconnectTimeout: checkWhole,
  brokerWait: checkWhole,
};

const RECONNECT_CHECKS: Readonly<Record<keyof ReconnectOptions, Check>> = {
  first: checkWhole,
  longest: checkWhole,
  attempts: (value, name) => {
    if (value !== Infinity) checkWhole(value, name);
  },
};

function checkClientName(value: unknown, name: string): void {
  checkType('string')(value, name);
  if (Buffer.byteLength(value as string) > MAX_NAME_BYTES) {
    throw new NetclusterError('NAME', `a client's name has at most ${MAX_NAME_BYTES} bytes`);
  }
}

/** Checks that something is a whole number from 0 on. @throws TypeError or RangeError */
export function checkWhole(value: unknown, name: string): void {
  checkType('number')(value, name);
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new RangeError(`\`${name}\` is a whole number from 0 on, not ${String(value)}`);
}

/** Makes a check that something is one of these strings. */
export function checkOneOf(...words: string[]): Check {
  return (value, name) => {
    if (!words.includes(value as string)) {
      const all = words.map((word) => `'${word}'`).join(', ').replace(/, (?=[^,]*$)/, ' or ');
      throw new TypeError(`\`${name}\` is ${all}, not ${typeof value === 'string' ? `'${value}'` : kindOf(value)}`);
    }
  };
}

/** Makes a check that something is of a type. */
export function checkType(type: 'boolean' | 'number' | 'string'): Check {
  return (value, name) => {
    if (typeof value !== type) throw new TypeError(`\`${name}\` is ${withArticle(type)}, not ${kindOf(value)}`);
  };
}

/** Checks that something is an object with names. @throws TypeError */
export function checkObject(value: unknown, what: string): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`\`${what}\` is an object, not ${kindOf(value)}`);
  }
}

/** Checks an object with options. @throws TypeError or RangeError */
export function checkAll(options: unknown, what: string, checks: Readonly<Record<string, Check>>): void {
  checkObject(options, what);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, name)) {
      throw new TypeError(`\`${what}\` has no option \`${name}\`, only ${Object.keys(checks).join(', ')}`);
    }
    if (value !== undefined) checks[name]!(value, name);
  }
}

/** Checks options and completes them. @throws TypeError, RangeError, or NetclusterError `NAME` */
export function settings(options: ConnectOptions): Settings {
  checkAll(options, 'options', CHECKS);
  const maxPayload = options.maxPayload ?? HARD_MAX_PAYLOAD_BYTES;
  return {
    channel: options.channel ?? 'default',
    name: options.name ?? '',
    echo: options.echo ?? false,
    latest: options.queue === 'latest',
    maxQueue: options.maxQueue ?? 0,
    maxBuffer: options.maxBuffer ?? 16 << 20,
    maxPayload: Math.min(maxPayload, HARD_MAX_PAYLOAD_BYTES),
    reconnect: options.reconnect ?? {},
    connectTimeout: options.connectTimeout ?? 5000,
    disconnectTimeout: options.disconnectTimeout ?? 5000,
    brokerWait: options.brokerWait ?? 0,
  };
}
