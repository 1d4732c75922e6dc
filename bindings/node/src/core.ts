/**
 * A client's connections, one after the other: how the first is found, what is made anew with
 * each, and when it is over.
 *
 * Invariants: events go only when all patterns of the registry are in force on the connection;
 * what was not written goes by the next one; nothing is told after `closed`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Backoff } from './backoff';
import { Changes } from './changes';
import { NOBODY, encodeFrame, u64 } from './control';
import type { Source, Welcome } from './control';
import { NetclusterError, REFUSALS, closedByBroker, isTransient, mayPass } from './errors';
import { Lifecycle, makeLost } from './lifecycle';
import type { Lost } from './lifecycle';
import { Kind } from './limits';
import type { Settings } from './options';
import { Outbox } from './outbox';
import { checkPlace } from './paths';
import type { Registry } from './registry';
import { Requests } from './requests';
import type { Request } from './requests';
import { Routes } from './routes';
import type { Route } from './routes';
import { START_ADVICE, Session, confirmedOf } from './session';
import type { End, SessionOwner } from './session';
import type { AnySink } from './sinks';
import type { Slab } from './slab';

/** Pauses while the first broker is waited for. */
const FIRST_PAUSES = { first: 20, longest: 250 };

/** Times in a row that a broker's word is followed that another one listens already, without a pause. */
const MAX_FOLLOWED = 4;

/** What a core tells its client. */
export interface CoreOwner {
  event(route: Route, slab: Slab, at: number): void;
  settled(): void;
  lost(lost: Lost): void;
  /** A pattern of the registry is not in force on this connection. */
  refused(pattern: string, error: NetclusterError): void;
  /** The client is over. */
  closed(error: NetclusterError | undefined): void;
  wantsMore(): boolean;
  /** Whether to read on while an answer is waited for. */
  mayRead(): boolean;
}

/** The connections of a client. */
export class Core implements SessionOwner {
  readonly outbox: Outbox;
  readonly lifecycle = new Lifecycle();
  readonly routes: Routes<AnySink>;
  readonly requests = new Requests();
  /** Told after each change that calls wait for: room to emit, a connection, the end. */
  readonly changes = new Changes();
  /** The client's source on its last connection. */
  source: Source = NOBODY;
  /** Why calls fail, once the client is over or about to be. */
  over: NetclusterError | undefined;
  private session: Session | undefined;
  private phase: 'down' | 'resuming' | 'up' = 'down';
  private resumed = false;
  private isFirst = true;
  /** The broker holds what was emitted since the connection before, or says what it cannot. */
  private isPromised = false;
  /** Own events that an earlier connection wrote and its broker has not confirmed. */
  private doubtful = 0;
  /** The last own event that was ever in doubt. */
  private lastDoubtful = 0;
  /** Successors that were followed since the last welcome. */
  private followed = 0;
  private hasSuccessor = false;
  /** Numbers of the subscriptions that events wait for. */
  private readonly awaited = new Set<number>();
  /** Flushes that wait for a connection. */
  private held: Request[] = [];
  /** The last own event that a broker said is queued. */
  confirmed = 0;
  private isRef = true;
  private readonly backoff: Backoff;
  private readonly stop = new AbortController();
  private goodbye: { resolve(): void; reject(error: NetclusterError): void } | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly registry: Registry<AnySink>,
    private readonly owner: CoreOwner,
  ) {
    this.outbox = new Outbox(settings.maxBuffer, () => {
      this.lifecycle.tell('drain');
      this.changes.tell();
    });
    this.routes = new Routes(registry);
    this.backoff = new Backoff(settings.reconnect === false ? {} : settings.reconnect);
  }

  /** Makes the first connection to one of these sockets. */
  async connect(paths: string[]): Promise<void> {
    const deadline = performance.now() + this.settings.brokerWait;
    const pauses = new Backoff(FIRST_PAUSES);
    for (;;) {
      try {
        const session = await this.search(paths);
        void this.keep(session);
        return;
      } catch (error) {
        const failure = error as NetclusterError;
        if (this.follows()) continue;
        const left = deadline - performance.now();
        if (left <= 0 || !mayPass(failure)) throw failure;
        await pause(Math.min(pauses.next(failure) ?? left, left));
      }
    }
  }

  /** Goes on only past a socket at which nobody is, or which is not for this user. */
  private async search(paths: string[]): Promise<Session> {
    const tried: string[] = [];
    for (const path of paths) {
      try {
        return await this.attempt(path);
      } catch (error) {
        const failure = error as NetclusterError;
        const goesOn = ['BROKER_NOT_RUNNING', 'PERMISSION_DENIED', 'UNTRUSTED_SOCKET'].includes(failure.code);
        if (!goesOn || paths.length === 1) throw failure;
        tried.push(failure.message.replace(`: ${START_ADVICE}`, ''));
      }
    }
    throw new NetclusterError('BROKER_NOT_RUNNING', `no broker to connect to (${tried.join('; ')}): ${START_ADVICE}, or name it in NETCLUSTER_SOCKET`);
  }

  /** Connects to a socket; resolves with the welcome. */
  private async attempt(path: string): Promise<Session> {
    checkPlace(path);
    const { settings, source } = this;
    const hello = {
      echo: settings.echo,
      latest: settings.latest,
      maxQueue: settings.maxQueue,
      previous: source,
      clientName: settings.name,
    };
    return await new Promise<Session>((resolve, reject) => {
      this.onWelcome = resolve;
      const session = new Session(
        this, path, settings.channel, hello, this.routes, settings.maxPayload, settings.connectTimeout,
      );
      this.session = session;
      session.setRef(this.isRef);
      void session.over.then((end) => {
        if (!end.welcomed) this.hasSuccessor = end.hasSuccessor;
        reject(end.error);
      });
    });
  }

  private onWelcome: (session: Session) => void = () => undefined;

  /** Keeps the client connected until it is over. */
  private async keep(session: Session): Promise<void> {
    let current: Session | undefined = session;
    while (current !== undefined) {
      const since = performance.now();
      const end: End = await current.over;
      if (performance.now() - since >= this.backoff.longest) this.backoff.reset();
      this.disconnected(end);
      current = this.over !== undefined ? undefined : await this.again(current.place, end.error);
    }
    this.close();
  }

  private async again(path: string, reason: NetclusterError): Promise<Session | undefined> {
    let last = reason;
    while (this.over === undefined) {
      const wait = this.settings.reconnect === false || !isTransient(last) ? undefined : this.pauseAfter(last);
      if (wait === undefined) {
        this.over = new NetclusterError('DISCONNECTED', `${last.message}; connect anew to go on`, { cause: last });
        break;
      }
      try {
        await pause(wait, undefined, { signal: this.stop.signal, ref: this.isRef });
        return await this.attempt(path);
      } catch (error) {
        if (error instanceof NetclusterError) last = error;
      }
    }
    return undefined;
  }

  /** How long to wait before the next connection, in ms; undefined: give up. */
  private pauseAfter(last: NetclusterError): number | undefined {
    return this.follows() ? 0 : this.backoff.next(last);
  }

  /** Whether a broker said just now that another one listens at its socket, and is believed. */
  private follows(): boolean {
    const follows = this.hasSuccessor && this.followed < MAX_FOLLOWED;
    this.hasSuccessor = false;
    if (follows) this.followed++;
    return follows;
  }

  welcomed(session: Session, source: Source, welcome: Welcome): void {
    this.backoff.welcomed(welcome.run);
    this.followed = 0;
    this.isPromised = welcome.held;
    this.source = source;
    const refused = this.outbox.connect(session, source, welcome.maxPayload);
    if (refused > 0) {
      this.lifecycle.failed(
        new NetclusterError('PAYLOAD_TOO_LARGE', `${refused} events that waited for a broker are over its limit of ${welcome.maxPayload} bytes: they were not sent`),
      );
    }
    this.phase = 'resuming';
    this.resumed = !this.isFirst;
    this.isFirst = false;
    if (welcome.reason !== 0) this.lifecycle.failed(closedByBroker(welcome.reason, welcome.text));
    this.subscribeAnew();
    this.onWelcome(session);
    if (this.awaited.size === 0) this.up();
  }

  /** Asks for all patterns, in pieces: there may be many. */
  private subscribeAnew(): void {
    const frames: Buffer[] = [];
    for (const pattern of this.registry.names()) frames.push(this.subscribeFrame(pattern));
    if (frames.length > 0) this.outbox.requestFirst(Buffer.concat(frames));
  }

  private subscribeFrame(pattern: string): Buffer {
    const held = this.held.filter((request) => request.pattern === pattern);
    this.held = this.held.filter((request) => request.pattern !== pattern);
    const number = this.requests.add({
      kind: Kind.subscribe,
      pattern,
      answered: (payload) => held.forEach((request) => request.answered(payload)),
      failed: (error) => {
        if (held.length === 0) this.owner.refused(pattern, error);
        held.forEach((request) => request.failed(error));
      },
    });
    this.awaited.add(number);
    return encodeFrame(Kind.subscribe, this.source, number, pattern);
  }

  /** All patterns are in force. */
  private up(): void {
    this.phase = 'up';
    this.outbox.open();
    this.changes.tell();
    const { source, resumed, doubtful } = this;
    this.doubtful = 0;
    this.lifecycle.tell('connect', { source, resumed, doubtful });
    if (resumed && !this.isPromised) this.owner.lost(makeLost(NOBODY, 0, 2));
    for (const request of this.held.splice(0)) this.ask(request);
    if (this.goodbye !== undefined) this.sayGoodbye();
  }

  private disconnected(end: End): void {
    const wasUp = this.phase !== 'down';
    this.phase = 'down';
    this.session = undefined;
    this.awaited.clear();
    this.owner.settled();
    const written = this.outbox.lastWritten();
    this.outbox.disconnect();
    this.hasSuccessor = end.hasSuccessor;
    if (end.confirmed !== undefined) this.confirmed = Math.max(this.confirmed, end.confirmed);
    // Its answer to the client's own goodbye comes behind everything.
    else if (end.orderly) this.confirmed = written;
    this.doubtful += Math.max(0, written - Math.max(this.confirmed, this.lastDoubtful));
    this.lastDoubtful = Math.max(this.lastDoubtful, written);
    const open = this.requests.takeAll();
    if (this.over === undefined) this.holdOrFail(open, end, this.confirmed, written);
    else open.forEach((request) => request.failed(this.over!));
    if (wasUp) {
      const { confirmed } = this;
      this.lifecycle.tell('disconnect', { reason: end.error, confirmed, written, orderly: end.orderly });
    }
  }

  /** Patterns are asked for again; whoever waits for another answer is told. */
  private holdOrFail(open: Request[], end: End, confirmed: number, written: number): void {
    const doubt = written > confirmed ? `; events ${confirmed + 1} to ${written} may be lost` : '';
    for (const request of open) {
      if (request.kind === Kind.subscribe) this.held.push(request);
      else request.failed(new NetclusterError('CONNECTION_LOST', `${end.error.message}${doubt}`, { cause: end.error }));
    }
  }

  private close(): void {
    const requested = this.goodbye !== undefined || this.over!.cause === undefined;
    const error = requested ? undefined : this.over;
    for (const request of [...this.requests.takeAll(), ...this.held.splice(0)]) request.failed(this.over!);
    this.owner.closed(error);
    if (error !== undefined && this.lifecycle.listenerCount('close') === 0) this.lifecycle.failed(error);
    this.lifecycle.tell('close', error);
    this.changes.tell();
    this.goodbye?.resolve();
  }

  /** Whether there is a connection, with all patterns in force. */
  get isUp(): boolean {
    return this.phase === 'up';
  }

  /** Asks the broker, now or once there is a connection. */
  ask(request: Request, name = '', payload?: Buffer): void {
    if (this.over !== undefined) {
      request.failed(this.over);
    } else if (this.phase !== 'up') {
      this.held.push(request);
    } else {
      this.outbox.request(encodeFrame(request.kind, this.source, this.requests.add(request), request.pattern ?? name, payload));
    }
  }

  /** Asks for a pattern of the registry. */
  subscribe(request: Request & { pattern: string }): void {
    if (this.phase === 'resuming') {
      this.held.push(request);
      this.outbox.requestFirst(this.subscribeFrame(request.pattern));
    } else {
      this.ask(request);
    }
  }

  /** Gives up a pattern that is not in the registry any more. */
  unsubscribe(pattern: string): void {
    this.held = this.held.filter((request) => request.pattern !== pattern || void request.answered(Buffer.alloc(0)));
    if (this.phase === 'down' || this.over !== undefined) return;
    const number = this.requests.token();
    const frame = encodeFrame(Kind.unsubscribe, this.source, number, pattern);
    if (this.phase === 'up') this.outbox.request(frame);
    else this.outbox.requestFirst(frame);
  }

  answered(kind: number, number: number, payload: Buffer): void {
    if (kind === Kind.pong) this.confirmed = Math.max(this.confirmed, confirmedOf(payload));
    this.requests.take(number)?.answered(payload);
    this.arrived(number);
  }

  /** The broker will end soon. */
  draining(text: string): void {
    this.lifecycle.failed(new NetclusterError('DRAINING', text));
  }

  /** Access rules did not allow events, or no longer allow a pattern. */
  forbidden(text: string): void {
    this.lifecycle.failed(new NetclusterError('FORBIDDEN', text));
  }

  refused(number: number, code: number, text: string): void {
    const request = this.requests.take(number);
    const what = request?.pattern === undefined ? 'the broker refused a request' : `the broker refused the pattern ${request.pattern}`;
    const error = new NetclusterError(REFUSALS[code] ?? 'PATTERN_REFUSED', `${what}: ${text}`);
    if (request === undefined) this.lifecycle.failed(error);
    else request.failed(error);
    this.arrived(number);
  }

  private arrived(number: number): void {
    if (this.awaited.delete(number) && this.awaited.size === 0 && this.phase === 'resuming') this.up();
  }

  event(route: Route, slab: Slab, at: number): void {
    this.owner.event(route, slab, at);
  }

  settled(): void {
    this.owner.settled();
  }

  lost(source: Source, count: number, reason: number): void {
    this.owner.lost(makeLost(source, count, reason));
  }

  pinged(token: bigint): void {
    this.outbox.request(encodeFrame(Kind.pong, this.source, token, '', u64(this.outbox.sequence)));
  }

  wrote(): void {
    this.outbox.wrote();
  }

  wantsMore(): boolean {
    if (this.goodbye !== undefined) return true;
    return this.requests.size > 0 ? this.owner.mayRead() : this.owner.wantsMore();
  }

  /** Reads on after it was told to wait. */
  readOn(): void {
    this.session?.readOn();
  }

  /** Whether an open connection keeps the process. */
  setRef(isRef: boolean): void {
    this.isRef = isRef;
    this.session?.setRef(isRef);
  }

  /** Ends the client once everything is at its listeners' queues. */
  async disconnect(): Promise<void> {
    if (this.over === undefined) {
      this.over = new NetclusterError('DISCONNECTED', 'this client is disconnected: connect anew to go on');
      this.changes.tell();
      const { disconnectTimeout } = this.settings;
      const timer = setTimeout(() => this.giveUp(disconnectTimeout), disconnectTimeout);
      this.leaving = new Promise<void>((resolve, reject) => (this.goodbye = { resolve, reject })).finally(() => clearTimeout(timer));
      if (this.phase === 'up') this.sayGoodbye();
      else if (this.phase === 'down') this.giveUp(0);
      this.readOn();
    }
    await this.leaving;
  }

  private leaving: Promise<void> = Promise.resolve();

  private sayGoodbye(): void {
    const token = this.requests.token();
    this.outbox.request(encodeFrame(Kind.bye, this.source, token));
    this.session!.leaving(token);
  }

  private giveUp(after: number): void {
    const unsent = this.outbox.sequence - this.outbox.lastWritten();
    if (after > 0 || unsent > 0) {
      const why = after > 0 ? `the broker has not said goodbye within ${after} ms` : 'there is no connection';
      this.goodbye!.reject(new NetclusterError('TIMEOUT', `${why}; events that were not sent: ${unsent}`));
    }
    this.stop.abort();
    this.session?.fail(new NetclusterError('DISCONNECTED', 'disconnected as requested'));
  }

  /** Ends the client at once; what was not written is dropped. */
  destroy(): void {
    this.over ??= new NetclusterError('DISCONNECTED', 'this client was destroyed: connect anew to go on');
    this.changes.tell();
    this.stop.abort();
    this.session?.fail(this.over);
  }
}
