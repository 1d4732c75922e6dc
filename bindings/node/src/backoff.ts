/** Pauses between attempts to connect. */
import type { NetclusterError } from './errors';

/** The longest pause while there is no broker at all: a try costs nobody anything then. */
const LONGEST_WHILE_ABSENT_MS = 250;

/** How a lost connection is made again. */
export interface ReconnectOptions {
  /** The first pause, in ms; 20 by default. The pauses double, and vary by up to half. */
  first?: number;
  /** The longest pause, in ms; 2000 by default. */
  longest?: number;
  /** Tries in a row after which to give up; by default never. */
  attempts?: number;
}

/** The pauses of one row of tries. */
export class Backoff {
  private tries = 0;
  private run: bigint | undefined;
  private readonly first: number;
  private readonly attempts: number;
  /** The longest pause; a connection that lasted as long begins a new row. */
  readonly longest: number;

  constructor(options: ReconnectOptions) {
    this.first = options.first ?? 20;
    this.longest = options.longest ?? 2000;
    this.attempts = options.attempts ?? Infinity;
  }

  /** There is a connection. Another run of the broker is no reason to stay away from it. */
  welcomed(run: bigint): void {
    if (this.run !== run) this.reset();
    this.run = run;
  }

  /** The next row begins with the first pause. */
  reset(): void {
    this.tries = 0;
  }

  /** The pause after a failure, in ms; undefined: give up. */
  next(last: NetclusterError): number | undefined {
    if (this.tries >= this.attempts) return undefined;
    const longest =
      last.code === 'BROKER_NOT_RUNNING' ? Math.min(this.longest, Math.max(this.first, LONGEST_WHILE_ABSENT_MS)) : this.longest;
    const pause = Math.min(this.first * 2 ** Math.min(this.tries++, 20), longest);
    return pause / 2 + (pause / 2) * Math.random();
  }
}
