/** A client's own life, apart from the events of the bus. */
import { EventEmitter } from 'node:events';
import { lossReason } from './control';
import type { LossReason, Source } from './control';
import type { NetclusterError } from './errors';

/** Least time between two warnings of missing events, in ms. */
const WARNING_PAUSE_MS = 1000;

/** Events are missing at this place in the order. */
export interface Lost {
  /** Whose; undefined if several or unknown. With client 0 all of a broker. */
  readonly source: Source | undefined;
  /** How many; undefined if unknown. */
  readonly count: number | undefined;
  readonly reason: LossReason;
}

/** Events of {@link Lifecycle}. */
export interface LifecycleEvents {
  /**
   * Connected, with all patterns in force. `resumed`: a connection was lost before. `doubtful`: how
   * many own events an earlier one had written and its broker had not confirmed; they may not have
   * arrived, and are not sent again.
   */
  connect: [{ source: Source; resumed: boolean; doubtful: number }];
  /**
   * The connection ended; another is made unless `close` follows. Own events up to the sequence
   * `confirmed` are known to be queued at every listener, those up to `written` may be; later
   * ones are sent by the next connection. `orderly`: the broker took all that was written.
   */
  disconnect: [{ reason: NetclusterError; confirmed: number; written: number; orderly: boolean }];
  /** Events are missing here. */
  lost: [Lost];
  /** Something went wrong that no call could say; the client lives on. */
  error: [NetclusterError];
  /** `emit` may go on. */
  drain: [];
  /** The end of the client, as requested, or for this reason. */
  close: [NetclusterError | undefined];
}

/**
 * Emitter of a client's own life. Nobody has to listen: then errors and losses become
 * warnings of the process.
 */
export class Lifecycle extends EventEmitter<LifecycleEvents> {
  private warnedAt = -Infinity;
  private unsaid = 0;

  /** @internal */
  failed(error: NetclusterError): void {
    if (this.listenerCount('error') === 0) process.emitWarning(error);
    else this.tell('error', error);
  }

  /** @internal */
  missing(lost: Lost, isToldElsewhere: boolean): void {
    if (this.listenerCount('lost') > 0) {
      this.tell('lost', lost);
    } else if (!isToldElsewhere) {
      this.unsaid++;
      if (performance.now() - this.warnedAt < WARNING_PAUSE_MS) return;
      this.warnedAt = performance.now();
      const more = this.unsaid > 1 ? ` (and ${this.unsaid - 1} notices more)` : '';
      this.unsaid = 0;
      process.emitWarning(`${describe(lost)}${more}: listen to \`lifecycle.on('lost')\``, 'NetclusterLost');
    }
  }

  /** Tells something; what a listener throws is not the client's. @internal */
  tell<K extends keyof LifecycleEvents>(event: K, ...values: LifecycleEvents[K]): void {
    try {
      (this as EventEmitter).emit(event, ...values);
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }
}

/** Makes a loss of a notice's fields. */
export function makeLost(source: Source, count: number, reason: number): Lost {
  return {
    source: source.node === 0 ? undefined : source,
    count: count === 0 ? undefined : count,
    reason: lossReason(reason),
  };
}

/** Loss in words. */
export function describe({ source, count, reason }: Lost): string {
  const whose = source === undefined ? '' : ` of ${source.node.toString(16)}/${source.client}`;
  return `${count ?? 'an unknown number of'} events${whose} are missing (${reason})`;
}
