/** Kinds of listeners. */
import { BatchBuilder } from './batch';
import type { Batch } from './batch';
import type { Lost } from './lifecycle';
import type { Message } from './message';
import type { Route } from './routes';
import type { Sink } from './registry';
import type { Slab } from './slab';

/** Owner of sinks: told of what listeners throw. */
export interface SinkOwner {
  threw(error: unknown, event: string): void;
}

/** Any kind of listener. */
export type AnySink = ListenerSink | BatchSink | PullSink;

/** Something that messages are put into to be taken later. */
export interface Pull {
  /** Whether it has so much that nothing more may be read, whatever is waited for. */
  readonly isOverfull: boolean;
  push(message: Message): void;
  missing(lost: Lost): boolean;
  ended(error: Error | undefined): void;
}

/** A function that is called with each message. */
export class ListenerSink implements Sink {
  readonly batched = false;

  constructor(
    readonly listener: (message: any) => unknown,
    readonly once: boolean,
    private readonly owner: SinkOwner,
  ) {}

  take(message: Message): void {
    try {
      const result = this.listener.call(this.owner, message);
      if (result !== undefined) watch(result, this.owner, message.event);
    } catch (error) {
      this.owner.threw(error, message.event);
    }
  }
}

/** A function that is called with all messages that came together. */
export class BatchSink implements Sink {
  readonly once = false;
  readonly batched = true;
  private readonly builder = new BatchBuilder();

  constructor(
    readonly pattern: string,
    readonly listener: (batch: Batch) => unknown,
    private readonly owner: SinkOwner,
  ) {}

  /** Adds a message; whether it is the first of its batch. */
  push(route: Route, slab: Slab, at: number): boolean {
    return this.builder.push(route, slab, at);
  }

  deliver(): void {
    try {
      const result = this.listener.call(this.owner, this.builder.take());
      if (result !== undefined) watch(result, this.owner, this.pattern);
    } catch (error) {
      this.owner.threw(error, this.pattern);
    }
  }
}

/** A subscription's queue. */
export class PullSink implements Sink {
  readonly once = false;
  readonly batched = false;

  constructor(readonly listener: Pull) {}

  take(message: Message): void {
    this.listener.push(message);
  }
}

/** A listener that is an async function fails by its promise. */
function watch(result: unknown, owner: SinkOwner, event: string): void {
  if (typeof (result as PromiseLike<unknown> | null)?.then === 'function') {
    (result as PromiseLike<unknown>).then(undefined, (error: unknown) => owner.threw(error, event));
  }
}
