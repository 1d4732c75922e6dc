/** Messages of a pattern, to be taken one by one. */
import type { Lost } from './lifecycle';
import type { Message } from './message';
import { kindOf } from './names';
import { checkAll, checkType } from './options';
import type { Pull } from './sinks';
import type { Slab } from './slab';

/** Bytes of memory that a queue may keep before the client reads no more. */
const QUEUE_BYTES = 4 << 20;
/** Bytes beyond which it reads no more even while answers are waited for, which come behind. */
const OVERFULL_BYTES = 64 << 20;
/** Messages that a queue may have before the client reads no more. */
const QUEUE_MESSAGES = 16384;

/** Options of {@link Client.subscribe}. */
export interface SubscribeOptions {
  /** Ends the subscription; the iteration throws the signal's reason. */
  signal?: AbortSignal;
  /** Notices of missing events come among the messages, in their place. */
  losses?: boolean;
}

const CHECKS = {
  signal: (value: unknown, name: string): void => {
    if (!(value instanceof AbortSignal)) throw new TypeError(`\`${name}\` is an AbortSignal, not ${kindOf(value)}`);
  },
  losses: checkType('boolean'),
};

/** Notice of missing events among the messages of a subscription. */
export class LossNotice {
  /** No event has it. */
  readonly event = undefined;

  constructor(readonly lost: Lost) {}
}

/** Owner of a subscription. */
export interface SubscriptionOwner {
  /** It ended: it gets no more messages. */
  unsubscribe(subscription: Pull): void;
  /** The queue is full, or has drained to half. */
  pressed(subscription: Pull, isFull: boolean): void;
}

interface Waiting<Item> {
  resolve(result: IteratorResult<Item, undefined>): void;
  reject(error: unknown): void;
}

/**
 * Messages that match a pattern. If nobody takes them the client stops reading once the queue
 * is full, and the broker treats it as any slow listener. Ends with the client: by throwing its
 * error if it had one.
 */
export class Subscription<Item = Message> implements AsyncIterableIterator<Item, undefined>, Pull {
  /** Resolves when the broker has it: no event that is emitted later is missed. */
  readonly ready: Promise<void>;
  private readonly queue: Item[] = [];
  /** Bytes that each of them keeps. */
  private readonly costs: number[] = [];
  private at = 0;
  private readonly waiting: Waiting<Item>[] = [];
  private bytes = 0;
  private lastSlab: Slab | undefined;
  private isFull = false;
  private isOver = false;
  private error: unknown;

  /** @internal */
  constructor(
    private readonly owner: SubscriptionOwner,
    private readonly options: SubscribeOptions,
    begin: (subscription: Pull) => Promise<void>,
  ) {
    checkAll(options, 'options', CHECKS);
    options.signal?.throwIfAborted();
    options.signal?.addEventListener('abort', this.aborted, { once: true });
    this.ready = begin(this);
    // Whoever iterates is told by the iteration.
    this.ready.catch(() => undefined);
  }

  /** Waits for the next message. */
  next(): Promise<IteratorResult<Item, undefined>> {
    if (this.at < this.queue.length) return Promise.resolve({ done: false, value: this.take() });
    if (this.isOver) return this.final();
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** Ends it; what waits is dropped. */
  return(): Promise<IteratorResult<Item, undefined>> {
    this.at = this.queue.length;
    this.close(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  private take(): Item {
    const item = this.queue[this.at]!;
    this.bytes -= this.costs[this.at]!;
    this.queue[this.at++] = undefined as Item;
    if (this.at === this.queue.length || this.at === QUEUE_MESSAGES) {
      this.queue.splice(0, this.at);
      this.costs.splice(0, this.at);
      this.at = 0;
    }
    const left = this.queue.length - this.at;
    if (this.isFull && left <= QUEUE_MESSAGES / 2 && this.bytes <= QUEUE_BYTES / 2) {
      this.isFull = false;
      this.owner.pressed(this, false);
    }
    return item;
  }

  /** @internal */
  get isOverfull(): boolean {
    return this.bytes > OVERFULL_BYTES;
  }

  private final(): Promise<IteratorResult<Item, undefined>> {
    const error = this.error;
    this.error = undefined;
    return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
  }

  /** @internal */
  push(message: Message): void {
    // A message keeps its slab: what is kept is counted once for all of a slab.
    const slab = (message as unknown as { slab: Slab }).slab;
    this.put(message as Item, slab === this.lastSlab ? 0 : slab.bytes.length);
    this.lastSlab = slab;
  }

  private put(item: Item, cost: number): void {
    const waiting = this.waiting.shift();
    if (waiting !== undefined) {
      waiting.resolve({ done: false, value: item });
      return;
    }
    this.queue.push(item);
    this.costs.push(cost);
    this.bytes += cost;
    if (!this.isFull && (this.bytes > QUEUE_BYTES || this.queue.length - this.at >= QUEUE_MESSAGES)) {
      this.isFull = true;
      this.owner.pressed(this, true);
    }
  }

  /** Whether the loss is told here. @internal */
  missing(lost: Lost): boolean {
    if (this.options.losses !== true) return false;
    this.put(new LossNotice(lost) as Item, 0);
    return true;
  }

  /** The client is over. @internal */
  ended(error: Error | undefined): void {
    this.close(error);
  }

  private readonly aborted = (): void => {
    this.at = this.queue.length;
    this.close(this.options.signal!.reason);
  };

  private close(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.error = error;
    this.options.signal?.removeEventListener('abort', this.aborted);
    this.owner.unsubscribe(this);
    if (this.isFull) this.owner.pressed(this, false);
    for (const waiting of this.waiting.splice(0)) {
      this.final().then(
        (result) => waiting.resolve(result),
        (cause: unknown) => waiting.reject(cause),
      );
    }
  }
}

