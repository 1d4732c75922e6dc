/** The client: an EventEmitter whose listeners are in any process of any machine. */
import type { Batch } from './batch';
import type { Source } from './control';
import { readU64, u64 } from './control';
import { Core } from './core';
import { NetclusterError } from './errors';
import type { Lifecycle, Lost } from './lifecycle';
import { Kind, Encoding, MAX_CONTROL_PAYLOAD_BYTES } from './limits';
import { linkRequest } from './link';
import type { LinkSettings } from './link';
import { Message } from './message';
import { checkEvent, checkPattern, kindOf } from './names';
import type { ConnectOptions } from './options';
import { settings } from './options';
import { checkForm, defaultSocketPaths, socketPath } from './paths';
import { Registry } from './registry';
import type { Route } from './routes';
import { BatchSink, ListenerSink, PullSink } from './sinks';
import type { AnySink, Pull, SinkOwner } from './sinks';
import type { Slab } from './slab';
import { Subscription } from './subscription';
import type { LossNotice, SubscribeOptions } from './subscription';
import type { DataOf, EventMap, EventName, Given, MessageOf } from './types';

/** Listener of a pattern. */
export type Listener<M = Message> = (message: M) => unknown;

/**
 * A client of the machine's broker, made by {@link connect}.
 *
 * `Events` maps names of events to what is emitted with them; patterns with wildcards get the
 * union of what they match.
 */
export class Client<Events extends EventMap<Events> = Record<string, any>> {
  /** This client's own life: connect, disconnect, lost, error, drain, close. */
  readonly lifecycle: Lifecycle;
  private readonly registry: Registry<AnySink>;
  private readonly core: Core;
  /** Batches that got messages of what was read last. */
  private readonly filled: BatchSink[] = [];
  private readonly full = new Set<Pull>();
  /** Acks of patterns that are being subscribed. */
  private readonly acks = new Map<string, Promise<void>>();

  /** @internal */
  constructor(options: ConnectOptions) {
    this.registry = new Registry({
      subscribed: (pattern) => this.subscribePattern(pattern),
      unsubscribed: (pattern) => {
        this.acks.delete(pattern);
        this.core.unsubscribe(pattern);
      },
    });
    this.core = new Core(settings(options), this.registry, {
      event: (route, slab, at) => this.dispatch(route, slab, at),
      settled: () => this.deliver(),
      lost: (lost) => this.missing(lost),
      refused: (pattern, error) => this.refused(pattern, error),
      closed: (error) => this.closed(error),
      wantsMore: () => this.full.size === 0,
      mayRead: () => ![...this.full].some((subscription) => subscription.isOverfull),
    });
    this.lifecycle = this.core.lifecycle;
  }

  /** @internal */
  async start(paths: string[]): Promise<this> {
    await this.core.connect(paths);
    return this;
  }

  /** Who this client is, on its last connection. */
  get source(): Source {
    return this.core.source;
  }

  /** Whether there is a connection, with everything that is listened to in force. */
  get isConnected(): boolean {
    return this.core.isUp;
  }

  /** Sequence of the last event emitted; 0 if there was none. */
  get lastSequence(): number {
    return this.core.outbox.sequence;
  }

  /** Sequence of the last event that is known to be queued at every listener. */
  get confirmed(): number {
    return this.core.confirmed;
  }

  /** The largest payload that the broker takes, in bytes. */
  get maxPayload(): number {
    return this.core.outbox.maxPayload;
  }

  /** Bytes that were emitted and are not with the system yet. */
  get pendingBytes(): number {
    return this.core.outbox.pending;
  }

  /** Whether the client is over, or about to be. */
  get isClosed(): boolean {
    return this.core.over !== undefined;
  }

  /**
   * Emits an event to all other clients of the channel that listen to it. Buffers and other views
   * go as bytes, strings as text, other values as JSON, nothing as no bytes.
   *
   * Returns false if the client should wait for `drain` ({@link drained}), as a stream does.
   *
   * @throws NetclusterError if the name is not allowed, the value cannot be written as JSON or is
   * too large, too much waits already, or the client is over. Nothing was emitted then.
   */
  emit<E extends EventName<Events>>(event: E, ...data: Given<DataOf<Events, E>>): boolean;
  emit(event: string, data?: unknown): boolean {
    const { core } = this;
    if (core.over !== undefined) throw core.over;
    if (typeof data === 'string') return core.outbox.text(event, data);
    if (data instanceof Uint8Array) return core.outbox.bytes(event, data);
    return this.emitOther(event, data);
  }

  private emitOther(event: string, data: unknown): boolean {
    const { outbox } = this.core;
    if (data === undefined) return outbox.bytes(event, NOTHING);
    if (ArrayBuffer.isView(data)) return outbox.bytes(event, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    if (data instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && data instanceof SharedArrayBuffer)) {
      return outbox.bytes(event, new Uint8Array(data));
    }
    return outbox.text(event, toJson(event, data), Encoding.json);
  }

  /** Emits a value as JSON, also one that {@link emit} would send as text. */
  emitJson<E extends EventName<Events>>(event: E, data: DataOf<Events, E>): boolean {
    if (this.core.over !== undefined) throw this.core.over;
    return this.core.outbox.text(event, toJson(event, data), Encoding.json);
  }

  /** Emits what a message has, under its name, without decoding it. */
  forward(message: Message): boolean {
    if (this.core.over !== undefined) throw this.core.over;
    return this.core.outbox.bytes(message.event, message.payload, Encoding[message.encoding]);
  }

  /**
   * Waits until `emit` may go on; does not wait if it may now.
   *
   * @throws NetclusterError if the client is over, or ends meanwhile: `emit` never goes on then.
   */
  async drained(): Promise<void> {
    for (;;) {
      if (this.core.over !== undefined) throw this.core.over;
      if (!this.core.outbox.isPressed) return;
      await this.core.changes.next();
    }
  }

  /** Calls the listener with each event that matches; `*` is one token, `**` any number. */
  on<P extends string>(pattern: P, listener: Listener<MessageOf<Events, P>>): this {
    return this.add(pattern, listener, false, false);
  }

  /** As {@link on}. */
  addListener<P extends string>(pattern: P, listener: Listener<MessageOf<Events, P>>): this {
    return this.add(pattern, listener, false, false);
  }

  /** Calls the listener with the first event that matches. */
  once<P extends string>(pattern: P, listener: Listener<MessageOf<Events, P>>): this {
    return this.add(pattern, listener, true, false);
  }

  /** As {@link on}, before all other listeners. */
  prependListener<P extends string>(pattern: P, listener: Listener<MessageOf<Events, P>>): this {
    return this.add(pattern, listener, false, true);
  }

  /** As {@link once}, before all other listeners. */
  prependOnceListener<P extends string>(pattern: P, listener: Listener<MessageOf<Events, P>>): this {
    return this.add(pattern, listener, true, true);
  }

  /** Removes a listener that was added with this pattern. */
  off<P extends string>(pattern: P, listener: Listener<any>): this {
    this.registry.remove(pattern, listener);
    return this;
  }

  /** As {@link off}. */
  removeListener<P extends string>(pattern: P, listener: Listener<any>): this {
    return this.off(pattern, listener);
  }

  /** Removes all listeners of a pattern, or all there are. Subscriptions and batches stay. */
  removeAllListeners(pattern?: string): this {
    for (const name of pattern === undefined ? this.registry.names() : [pattern]) {
      for (const sink of this.registry.sinks(name)) {
        if (sink instanceof ListenerSink) this.registry.remove(name, sink.listener);
      }
    }
    return this;
  }

  /** Patterns that are listened to. */
  eventNames(): string[] {
    return this.registry.names();
  }

  /** How many listen to a pattern. */
  listenerCount(pattern: string): number {
    return this.registry.sinks(pattern).length;
  }

  /** Functions that listen to a pattern. */
  listeners(pattern: string): Listener<any>[] {
    return this.registry.sinks(pattern).flatMap((sink) => (sink instanceof ListenerSink ? [sink.listener] : []));
  }

  /**
   * Calls the listener with all messages that came together: faster where there are many.
   * Removed by {@link off}.
   */
  onBatch<P extends string>(pattern: P, listener: (batch: Batch<MessageOf<Events, P>['data']>) => unknown): this {
    checkListener(listener);
    return this.addSink(pattern, new BatchSink(pattern, listener, this.sinkOwner), false);
  }

  /** Messages that match, to be taken by `for await`. With `losses` notices of missing events come among them. */
  subscribe<P extends string>(pattern: P, options: SubscribeOptions & { losses: true }): Subscription<MessageOf<Events, P> | LossNotice>;
  subscribe<P extends string>(pattern: P, options?: SubscribeOptions): Subscription<MessageOf<Events, P>>;
  subscribe(pattern: string, options: SubscribeOptions = {}): Subscription<any> {
    const owner = {
      unsubscribe: (subscription: Pull) => void this.registry.remove(pattern, subscription),
      pressed: (subscription: Pull, isFull: boolean) => this.pressed(subscription, isFull),
    };
    return new Subscription(owner, options, (subscription) => {
      this.addSink(pattern, new PullSink(subscription), false);
      return this.acks.get(pattern) ?? Promise.resolve();
    });
  }

  /**
   * Waits until a pattern that is listened to is in force at the broker: also again, while a lost
   * connection is made anew. Does not wait for one that nobody listens to here.
   *
   * @throws NetclusterError if the broker refuses the pattern, or the client is over or ends
   * meanwhile.
   */
  async ready(pattern: string): Promise<void> {
    checkPattern(pattern);
    for (;;) {
      if (this.core.over !== undefined) throw this.core.over;
      const ack = this.acks.get(pattern);
      if (ack !== undefined) return ack;
      if (this.core.isUp || this.registry.sinks(pattern).length === 0) return;
      await this.core.changes.next();
    }
  }

  /**
   * Waits until everything emitted before is queued at every listener, and all that is listened to
   * is in force: no event that is emitted later anywhere on the machine is missed.
   */
  async flush(): Promise<void> {
    await this.ask(Kind.ping);
  }

  /** The broker's own account of what it does, as `netcluster status --json`. */
  async status(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.ask(Kind.stats)).toString()) as Record<string, unknown>;
  }

  /** How many would get an event of this name: clients of this machine, brokers of others. */
  async audience(event: EventName<Events>): Promise<{ clients: number; brokers: number }> {
    checkEvent(event);
    const payload = await this.ask(Kind.audience, event);
    return { clients: readU64(payload, 0), brokers: readU64(payload, 8) };
  }

  /**
   * Waits until the brokers of other machines know what is listened to here, for so many ms at most.
   * Gives the names of those that have not said so.
   */
  async clusterReady(timeout: number): Promise<string[]> {
    const names = (await this.ask(Kind.cluster, '', u64(timeout))).toString();
    return names === '' ? [] : names.split('\n');
  }

  /**
   * Opens the broker's link to other machines, while it runs: for root and the broker's own user.
   *
   * @throws NetclusterError `REFUSED` with the broker's reason why not.
   */
  async openLink(link: LinkSettings = {}): Promise<void> {
    await this.control(linkRequest(link));
  }

  /**
   * Asks something that whoever runs the broker may ask for, as `netcluster kick` and others do:
   * see `control` in PROTOCOL.md. Gives the broker's answer.
   *
   * @throws NetclusterError `REFUSED` with the broker's reason why not.
   */
  async control(request: { do: string; [key: string]: unknown }): Promise<Record<string, unknown>> {
    const payload = Buffer.from(JSON.stringify(request));
    if (payload.length > MAX_CONTROL_PAYLOAD_BYTES) {
      throw new NetclusterError('PAYLOAD_TOO_LARGE', `a request of ${payload.length} bytes, at most ${MAX_CONTROL_PAYLOAD_BYTES} fit`);
    }
    return JSON.parse((await this.ask(Kind.control, '', payload)).toString()) as Record<string, unknown>;
  }

  /** Waits until everything emitted is queued at every listener, and ends the client. */
  disconnect(): Promise<void> {
    return this.core.disconnect();
  }

  /** As {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** Ends the client at once; what was not written is dropped. */
  destroy(): void {
    this.core.destroy();
  }

  /** Lets the connection keep the process alive, as it does by default. */
  ref(): this {
    this.core.setRef(true);
    return this;
  }

  /** Lets the process end in spite of the connection. */
  unref(): this {
    this.core.setRef(false);
    return this;
  }

  private ask(kind: number, name = '', payload?: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.core.ask({ kind, answered: resolve, failed: reject }, name, payload);
      // While answers are waited for, reading goes on.
      this.core.readOn();
    });
  }

  private add(pattern: string, listener: Listener<any>, once: boolean, before: boolean): this {
    checkListener(listener);
    return this.addSink(pattern, new ListenerSink(listener, once, this.sinkOwner), before);
  }

  private addSink(pattern: string, sink: AnySink, before: boolean): this {
    if (this.core.over !== undefined) throw this.core.over;
    checkPattern(pattern);
    this.registry.add(pattern, sink, before);
    return this;
  }

  private subscribePattern(pattern: string): void {
    const ack = new Promise<void>((resolve, reject) => {
      this.core.subscribe({ kind: Kind.subscribe, pattern, answered: () => resolve(), failed: reject });
    });
    this.acks.set(pattern, ack);
    ack.then(
      () => this.acks.get(pattern) === ack && this.acks.delete(pattern),
      (error: NetclusterError) => this.refused(pattern, error),
    );
  }

  /** Nobody listens by a pattern that the broker refuses. */
  private refused(pattern: string, error: NetclusterError): void {
    if (this.core.over !== undefined) return;
    this.lifecycle.failed(error);
    for (const sink of this.registry.sinks(pattern)) {
      if (sink instanceof PullSink) sink.listener.ended(error);
    }
    this.registry.removeAll(pattern);
  }

  private dispatch(route: Route<AnySink>, slab: Slab, at: number): void {
    const only = route.only;
    if (only !== undefined) {
      if (!only.batched) only.take(new Message(route.event, slab, at));
      else if (only.push(route, slab, at)) this.filled.push(only);
      return;
    }
    let message: Message | undefined;
    for (const { pattern, sink } of route.entries) {
      if (sink.batched) {
        if (sink.push(route, slab, at)) this.filled.push(sink);
        continue;
      }
      if (sink.once) this.registry.remove(pattern, sink.listener);
      sink.take((message ??= new Message(route.event, slab, at)));
    }
  }

  private deliver(): void {
    while (this.filled.length > 0) this.filled.shift()!.deliver();
  }

  private missing(lost: Lost): void {
    this.deliver();
    let isTold = false;
    for (const sink of this.registry.sinks()) {
      if (sink instanceof PullSink && sink.listener.missing(lost)) isTold = true;
    }
    this.lifecycle.missing(lost, isTold || this.registry.names().length === 0);
  }

  private closed(error: NetclusterError | undefined): void {
    this.deliver();
    for (const sink of this.registry.sinks()) {
      if (sink instanceof PullSink) sink.listener.ended(error);
    }
  }

  private pressed(subscription: Pull, isFull: boolean): void {
    if (isFull) this.full.add(subscription);
    else this.full.delete(subscription);
    if (this.full.size === 0) this.core.readOn();
  }

  private readonly sinkOwner: SinkOwner = {
    threw: (cause, event) => {
      const what = cause instanceof Error ? cause.message : String(cause);
      this.lifecycle.failed(new NetclusterError('LISTENER_THREW', `a listener of ${event} threw: ${what}`, { cause }));
    },
  };
}

const NOTHING = new Uint8Array(0);

function toJson(event: string, data: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (cause) {
    throw new NetclusterError('JSON', `what is emitted as ${event} cannot be written as JSON: ${(cause as Error).message}`, { cause });
  }
  if (text === undefined) {
    throw new NetclusterError('JSON', `what is emitted as ${event} cannot be written as JSON: it is ${kindOf(data)}`);
  }
  return text;
}

function checkListener(listener: unknown): void {
  if (typeof listener !== 'function') throw new TypeError(`a listener is a function, not ${kindOf(listener)}`);
}

/**
 * Connects to the broker of this machine: at the path, else at the default places.
 *
 * @throws NetclusterError if there is none, or it refuses.
 */
export function connect<Events extends EventMap<Events> = Record<string, any>>(
  path?: string,
  options?: ConnectOptions,
): Promise<Client<Events>>;
export function connect<Events extends EventMap<Events> = Record<string, any>>(
  options: ConnectOptions,
): Promise<Client<Events>>;
export async function connect<Events extends EventMap<Events> = Record<string, any>>(
  first?: string | ConnectOptions,
  second?: ConnectOptions,
): Promise<Client<Events>> {
  const hasOptionsFirst = typeof first === 'object' && first !== null && second === undefined;
  const path = hasOptionsFirst ? undefined : first;
  const options = hasOptionsFirst ? first : second === undefined ? {} : second;
  if (path !== undefined && typeof path !== 'string') {
    throw new TypeError(`the path of a socket is a string, not ${kindOf(path)}; \`connect(path?, options?)\``);
  }
  const paths = path === undefined ? defaultSocketPaths() : [socketPath(path)];
  paths.forEach(checkForm);
  return new Client<Events>(options).start(paths);
}
