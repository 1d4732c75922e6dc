/**
 * The socket to a broker: `net.Socket` with what the protocol needs of it.
 *
 * - It reads into memory of ours.
 * - It reads on to the end after a write failed: the reason may be there.
 * - It knows how much of what it was given is with the system. What a Unix socket does not
 *   take at once it takes as a whole later, or not at all, if that is no more than a chunk;
 *   so what is left after a write is all there is to know. Where the system does not say
 *   (Windows), everything counts as taken: it may have been.
 */
import { Socket as NetSocket } from 'node:net';
import type { Chunk } from './chunk';
import { CHUNK_BYTES } from './chunk';

/** How long a socket whose other end takes nothing any more is read, in ms. */
const READ_ON_MS = 5000;

/** Owner of a socket. */
export interface SocketEvents {
  /** It is connected. */
  opened(): void;
  /** Place for the next read. */
  room(): Buffer;
  /** So many bytes were read; whether to go on reading. */
  read(bytes: number): boolean;
  /** The chunk that was not taken at once is taken. */
  wrote(): void;
  /** It is over, by this error or by its other end. Nothing follows. */
  ended(error: NodeJS.ErrnoException | undefined): void;
}

/** The part of libuv's handle that says how much it has not written. */
interface Handle {
  writeQueueSize?: number;
}

/** A connection to a broker's socket. */
export class Socket extends NetSocket {
  private failure: NodeJS.ErrnoException | undefined;
  private isOver = false;
  private timer: NodeJS.Timeout | undefined;
  /** Number of the last write, and of the one that was not taken at once; 0: none. */
  private serial = 0;
  private waiting = 0;

  constructor(private readonly events: SocketEvents) {
    super({
      allowHalfOpen: true,
      onread: {
        buffer: () => events.room(),
        callback: (bytes: number) => events.read(bytes),
      },
    } as ConstructorParameters<typeof NetSocket>[0]);
    this.once('connect', () => events.opened());
    this.once('end', () => this.finish(undefined));
    this.once('close', () => this.finish(undefined));
    this.on('error', (error: NodeJS.ErrnoException) => this.finish(error));
  }

  /** Writes what is left of a chunk; whether all of it was taken at once. */
  send(chunk: Chunk): boolean {
    while (this.failure === undefined && !this.errored && !this.isOver && !this.destroyed) {
      const from = chunk.written;
      const to = Math.min(chunk.length, from + CHUNK_BYTES);
      const serial = ++this.serial;
      this.write(chunk.bytes.subarray(from, to), (error) => {
        if (error || this.isOver || this.waiting !== serial) return;
        this.waiting = 0;
        chunk.written = to;
        if (to === chunk.length || this.send(chunk)) this.events.wrote();
      });
      // A write that fails at once took nothing.
      if (this.errored) return false;
      if (this.writableLength > 0) {
        this.waiting = serial;
        chunk.written = to - this.leftToWrite(to - from);
        return false;
      }
      chunk.written = to;
      if (to === chunk.length) return true;
    }
    return false;
  }

  /** Bytes of the write that was just begun, of so many, that the system has not taken. */
  private leftToWrite(bytes: number): number {
    if (process.platform === 'win32') return 0;
    const handle = (this as unknown as { _handle?: Handle | null })._handle;
    return Math.min(handle?.writeQueueSize ?? 0, bytes);
  }

  /** Reads on where it was told to wait. */
  readOn(): void {
    this.resume();
  }

  /** A failed write does not end it: what the other end said last is still read. */
  override destroy(error?: Error): this {
    const errno = error as NodeJS.ErrnoException | undefined;
    if (errno?.syscall === 'write' && !this.isOver && !this.readableEnded) {
      this.failure ??= errno;
      this.timer ??= setTimeout(() => super.destroy(this.failure), READ_ON_MS);
      return this;
    }
    return super.destroy(error);
  }

  /** Ends it without a word. */
  close(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    super.destroy();
  }

  private finish(error: NodeJS.ErrnoException | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.timer);
    const reason = error ?? this.failure;
    super.destroy();
    this.events.ended(reason);
  }
}
