/** One connection to a broker, from its hello to its end. */
import type { Chunk } from './chunk';
import { decodeWelcome, encodeFrame, encodeHello, NOBODY, readU64 } from './control';
import type { Hello, Source, Welcome } from './control';
import { BrokerCode, closedByBroker, NetclusterError } from './errors';
import { Inbound } from './inbound';
import type { ControlFrame, Receiver } from './inbound';
import { Kind } from './limits';
import type { Writer } from './outbox';
import type { Route, Routes } from './routes';
import type { Slab } from './slab';
import { Socket } from './socket';
import type { SocketEvents } from './socket';

/** Flag of a bye: another broker listens at the socket already. */
const SUCCESSOR = 1;

/** How a connection ended. */
export interface End {
  readonly error: NetclusterError;
  /** The broker said goodbye: it took everything that was written. */
  readonly orderly: boolean;
  /** There was a welcome. */
  readonly welcomed: boolean;
  /** The last own event that the broker said it read; undefined if it did not say. */
  readonly confirmed: number | undefined;
  /** Another broker listens at the socket already. */
  readonly hasSuccessor: boolean;
}

/** Owner of a connection, told of what comes in its order. */
export interface SessionOwner {
  welcomed(session: Session, source: Source, welcome: Welcome): void;
  event(route: Route, slab: Slab, at: number): void;
  settled(): void;
  /** An ack, or an answer with this payload. */
  answered(kind: number, number: number, payload: Buffer): void;
  /** A request was refused. */
  refused(number: number, code: number, text: string): void;
  draining(text: string): void;
  forbidden(text: string): void;
  lost(source: Source, count: number, reason: number): void;
  /** The broker asks for a sign of life. */
  pinged(token: bigint): void;
  wrote(): void;
  /** Whether to read on. */
  wantsMore(): boolean;
}

/** A connection. */
export class Session implements SocketEvents, Receiver, Writer {
  /** Resolves when it is over; never rejects. */
  readonly over: Promise<End>;
  private readonly socket: Socket;
  private readonly inbound: Inbound;
  private source: Source | undefined;
  private error: NetclusterError | undefined;
  private byeToken = 0;
  private isOrderly = false;
  private confirmed: number | undefined;
  private hasSuccessor = false;
  private end!: (end: End) => void;
  private isEnded = false;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly owner: SessionOwner,
    private readonly path: string,
    private readonly channel: string,
    private readonly hello: Hello,
    routes: Routes,
    maxPayload: number,
    connectTimeout: number,
  ) {
    this.over = new Promise((resolve) => (this.end = resolve));
    this.inbound = new Inbound(this, routes, maxPayload);
    this.timer = setTimeout(() => {
      this.fail(new NetclusterError('TIMEOUT', `no welcome from ${path} within ${connectTimeout} ms: is the broker overloaded?`));
    }, connectTimeout);
    this.socket = new Socket(this);
    this.socket.connect(path);
  }

  /** The broker's socket. */
  get place(): string {
    return this.path;
  }

  opened(): void {
    this.socket.write(encodeFrame(Kind.hello, NOBODY, 0, this.channel, encodeHello(this.hello)));
  }

  room(): Buffer {
    return this.inbound.room();
  }

  read(bytes: number): boolean {
    try {
      this.inbound.read(bytes);
    } catch (error) {
      if (!(error instanceof NetclusterError)) throw error;
      this.fail(error);
    }
    return this.isEnded || this.owner.wantsMore();
  }

  write(chunk: Chunk): boolean {
    return this.socket.send(chunk);
  }

  wrote(): void {
    this.owner.wrote();
  }

  event(route: Route, slab: Slab, at: number): void {
    if (this.source === undefined) throw broken('an event before the welcome');
    this.owner.event(route, slab, at);
  }

  settled(): void {
    this.owner.settled();
  }

  control(frame: ControlFrame): void {
    const { kind, sequence, payload } = frame;
    if (kind === Kind.error) {
      this.failed(sequence, payload);
      return;
    }
    if (kind === Kind.welcome) {
      this.welcome({ node: frame.sourceNode, client: frame.sourceClient }, payload);
      return;
    }
    if (kind === Kind.bye) {
      this.bye(sequence, payload);
      return;
    }
    if (this.source === undefined) throw broken(`kind ${kind} before the welcome`);
    switch (kind) {
      case Kind.ack:
      case Kind.pong:
      case Kind.stats:
      case Kind.cluster:
      case Kind.audience:
      case Kind.control:
        this.owner.answered(kind, sequence, payload);
        return;
      case Kind.lost:
        this.owner.lost(
          { node: frame.sourceNode, client: frame.sourceClient },
          sequence,
          payload.length >= 4 ? payload.readUInt32LE(0) : 0,
        );
        return;
      case Kind.ping:
        this.owner.pinged(frame.token);
        return;
      default:
        throw broken(`kind ${kind}, which no broker sends to this client`);
    }
  }

  private welcome(source: Source, payload: Buffer): void {
    if (this.source !== undefined) throw broken('a second welcome');
    const welcome = decodeWelcome(payload);
    if (welcome === undefined) throw broken('a welcome without the magic number, or too short');
    if ('version' in welcome) {
      throw new NetclusterError('VERSION', `the broker speaks version ${welcome.version} of the protocol, this client version 1`);
    }
    if (source.node === 0 || source.client === 0) throw broken('a welcome to nobody');
    clearTimeout(this.timer);
    this.source = source;
    this.inbound.limit(welcome.maxPayload);
    this.owner.welcomed(this, source, welcome);
  }

  private failed(number: number, payload: Buffer): void {
    const code = payload.length >= 4 ? payload.readUInt32LE(0) : 0;
    const text = payload.toString('utf8', Math.min(8, payload.length));
    if (number !== 0) this.owner.refused(number, code, text);
    else if (code === BrokerCode.draining) this.owner.draining(text);
    else if (code === BrokerCode.forbidden) this.owner.forbidden(text);
    else this.fail(closedByBroker(code, text));
  }

  /** The broker says nothing behind it, and took everything that was written before. */
  private bye(token: number, payload: Buffer): void {
    this.isOrderly = true;
    if (payload.length >= 8) this.confirmed = readU64(payload, 0);
    this.hasSuccessor = payload.length >= 12 && (payload.readUInt32LE(8) & SUCCESSOR) !== 0;
    if (token !== 0 && token === this.byeToken) this.fail(new NetclusterError('DISCONNECTED', 'disconnected as requested'));
    else this.fail(new NetclusterError('BROKER_SHUT_DOWN', 'the broker shut down'));
  }

  /** Notes that a bye with this token is among what is written. */
  leaving(token: number): void {
    this.byeToken = token;
  }

  /** Reads on after it was told to wait. */
  readOn(): void {
    this.socket.readOn();
  }

  /** Lets the process end although it is open, or not. */
  setRef(isRef: boolean): void {
    if (isRef) this.socket.ref();
    else this.socket.unref();
  }

  /** Ends it for this reason. */
  fail(error: NetclusterError): void {
    this.error ??= error;
    this.inbound.stopped = true;
    this.socket.close();
    this.finish();
  }

  ended(error: NodeJS.ErrnoException | undefined): void {
    this.error ??= this.source === undefined ? connectError(this.path, error) : lostError(error);
    this.inbound.stopped = true;
    this.finish();
  }

  private finish(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.timer);
    const { confirmed, hasSuccessor } = this;
    const welcomed = this.source !== undefined;
    this.end({ error: this.error!, orderly: this.isOrderly, welcomed, confirmed, hasSuccessor });
  }
}

/** Reads the `confirmed` of a pong. */
export function confirmedOf(payload: Buffer): number {
  return payload.length >= 8 ? readU64(payload, 0) : 0;
}

function broken(what: string): NetclusterError {
  return new NetclusterError('PROTOCOL', `the other end broke the protocol (is it a netcluster broker?): ${what}`);
}

function lostError(cause: NodeJS.ErrnoException | undefined): NetclusterError {
  const why = cause === undefined ? 'it was closed' : cause.message;
  return new NetclusterError('CONNECTION_LOST', `the connection to the broker was lost: ${why}`, cause && { cause });
}

/** How to start a broker, for who has none. */
export const START_ADVICE = 'start one with `netcluster serve` (or `startBroker()` of this package), or give the path of its socket';

function connectError(path: string, cause: NodeJS.ErrnoException | undefined): NetclusterError {
  switch (cause?.code) {
    case undefined:
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ECONNRESET':
    case 'ECONNABORTED':
    case 'EPIPE':
      return new NetclusterError('BROKER_NOT_RUNNING', `no broker answers at ${path}: ${START_ADVICE}`, cause && { cause });
    case 'EACCES':
    case 'EPERM':
      return new NetclusterError(
        'PERMISSION_DENIED',
        `no permission to connect to ${path}: join the socket's group, or start the broker with --socket-mode or --socket-group`,
        { cause },
      );
    default:
      return new NetclusterError('CONNECT', `cannot connect to ${path}: ${cause!.message}`, { cause });
  }
}
