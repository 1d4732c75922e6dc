/**
 * Frames that wait to be written, encoded where they wait.
 *
 * ```text
 *   emit ─► chunk being filled ─► queue ─► socket (one chunk at a time)
 *                                  front ─┘ first, the subscriptions of a new connection
 * ```
 * A chunk goes to the socket when it is full, and at the end of the tick. Nothing is kept
 * beyond `maxBytes`: then `emit` throws. What was not written as a whole when a connection
 * ends goes by the next one, with its sequence and the new source.
 */
import { CHUNK_BYTES, Chunk, makeHead } from './chunk';
import type { Head } from './chunk';
import type { Source } from './control';
import { NOBODY } from './control';
import { NetclusterError } from './errors';
import { Encoding, HARD_MAX_PAYLOAD_BYTES, pad } from './limits';
import { checkEvent } from './names';

/** A chunk goes to the socket when it has so many bytes. */
const FULL_BYTES = 128 << 10;
/** `emit` returns false while more than this waits. */
const HIGH_WATER_BYTES = 1 << 20;
/** Requests are taken beyond the bound of events up to this. */
const REQUEST_ROOM_BYTES = 1 << 20;
/** Heads that are remembered; with more the cache starts anew. */
const MAX_HEADS = 4096;
/** Chunks that are kept to be used again. */
const MAX_SPARE = 8;
/** Strings up to this are copied by a loop, which calls nothing. */
const LOOP_CHARACTERS = 24;
/** Strings up to this are written without counting their bytes first. */
const DIRECT_CHARACTERS = 4096;
/** Buffers up to this are copied by a loop. */
const LOOP_BYTES = 8;

/** Way to the broker, as far as the outbox is concerned. */
export interface Writer {
  /** Hands over `chunk.bytes` from `chunk.written` to `chunk.length`; whether all was taken at once. */
  write(chunk: Chunk): boolean;
}

/** Frames of one client. */
export class Outbox {
  /** Sequence of the last event. */
  sequence = 0;
  /** Events may be this large. */
  maxPayload = HARD_MAX_PAYLOAD_BYTES;
  private lo = 0;
  private hi = 0;
  private source: Source = NOBODY;
  private chunk = new Chunk(CHUNK_BYTES);
  private queue: Chunk[] = [];
  private front: Chunk[] = [];
  private spare: Chunk[] = [];
  private queuedBytes = 0;
  private busy: Chunk | undefined;
  private writer: Writer | undefined;
  private isOpen = false;
  private isScheduled = false;
  private wantsDrain = false;
  private loopCharacters = LOOP_CHARACTERS;
  private directCharacters = DIRECT_CHARACTERS;
  private loopBytes = LOOP_BYTES;
  private lastEvent: string | undefined;
  private lastHead: Head | undefined;
  private readonly highWater: number;
  private readonly heads = new Map<string, Head>();

  /**
   * @param maxBytes most that waits
   * @param drained called when less than half of the high water waits, after `emit` said false
   */
  constructor(
    private readonly maxBytes: number,
    private readonly drained: () => void,
  ) {
    this.highWater = Math.min(HIGH_WATER_BYTES, maxBytes / 2);
  }

  /** Bytes that wait and that the socket has not taken. */
  get pending(): number {
    return this.queuedBytes + this.chunk.length;
  }

  /** Whether `emit` says that it should wait. */
  get isPressed(): boolean {
    return this.wantsDrain;
  }

  /** Emits text. */
  text(event: string, text: string, encoding: number = Encoding.text): boolean {
    const head = event === this.lastEvent ? this.lastHead! : this.head(event);
    const length = text.length;
    if (length <= this.loopCharacters) {
      let at = this.room(head.length + LOOP_CHARACTERS) + head.length;
      const { bytes, words } = this.chunk;
      const end = at + ((length + 7) & ~7);
      words[(end >>> 2) - 1] = 0;
      words[(end >>> 2) - 2] = 0;
      let index = 0;
      for (; index < length; index++) {
        const code = text.charCodeAt(index);
        if (code > 0x7f) break;
        bytes[at++] = code;
      }
      if (index === length) return this.commit(head, length, encoding);
    }
    if (length <= this.directCharacters) {
      const at = this.room(head.length + 3 * length + 8) + head.length;
      const { bytes } = this.chunk;
      const size = bytes.write(text, at, 3 * length);
      for (let end = at + size; (end & 7) !== 0; end++) bytes[end] = 0;
      return this.commit(head, size, encoding);
    }
    const size = Buffer.byteLength(text);
    const at = this.payloadRoom(head, size);
    this.chunk.bytes.write(text, at, size);
    return this.commit(head, size, encoding);
  }

  /** Emits bytes, which may be text or JSON already. */
  bytes(event: string, data: Uint8Array, encoding: number = Encoding.bytes): boolean {
    const head = event === this.lastEvent ? this.lastHead! : this.head(event);
    const size = data.length;
    if (size > this.loopBytes) {
      const at = this.payloadRoom(head, size);
      this.chunk.bytes.set(data, at);
    } else {
      let at = this.room(head.length + LOOP_BYTES) + head.length;
      const { bytes, words } = this.chunk;
      const end = at + ((size + 7) & ~7);
      words[(end >>> 2) - 1] = 0;
      words[(end >>> 2) - 2] = 0;
      for (let index = 0; index < size; index++) bytes[at++] = data[index]!;
    }
    return this.commit(head, size, encoding);
  }

  /** Place for a payload of this size, its padding zeroed. */
  private payloadRoom(head: Head, size: number): number {
    if (size > this.maxPayload) {
      throw new NetclusterError(
        'PAYLOAD_TOO_LARGE',
        `payload of ${size} bytes is over the broker's limit of ${this.maxPayload}: split it, or raise --max-payload on the broker`,
      );
    }
    const at = this.room(head.length + pad(size)) + head.length;
    const end = (at + pad(size)) >>> 2;
    this.chunk.words[end - 1] = 0;
    this.chunk.words[end - 2] = 0;
    return at;
  }

  /** Writes header and name in front of a payload that is there already. */
  private commit(head: Head, size: number, encoding: number): boolean {
    const chunk = this.chunk;
    const words = chunk.words;
    const padded = (size + 7) & ~7;
    let word = chunk.length >>> 2;
    const length = head.length + padded;
    const lo = (this.lo = (this.lo + 1) >>> 0);
    if (lo === 0) this.hi++;
    words[word] = length;
    words[word + 1] = head.second | ((padded - size) << 8) | (encoding << 12);
    words[word + 2] = this.source.node;
    words[word + 3] = this.source.client;
    words[word + 4] = lo;
    words[word + 5] = this.hi;
    word += 6;
    const name = head.name;
    for (let at = 0; at < name.length; at++) words[word + at] = name[at]!;
    chunk.length += length;
    this.sequence++;
    if (!this.isScheduled) this.schedule();
    return !this.wantsDrain;
  }

  private head(event: string): Head {
    let head = this.heads.get(event);
    if (head === undefined) {
      checkEvent(event);
      if (this.heads.size >= MAX_HEADS) this.heads.clear();
      this.heads.set(event, (head = makeHead(event)));
    }
    this.lastEvent = event;
    this.lastHead = head;
    return head;
  }

  /** Makes room for so many bytes in the chunk; gives the place. */
  private room(bytes: number): number {
    const { length } = this.chunk;
    if (length < FULL_BYTES && length + bytes <= this.chunk.bytes.length) return length;
    return this.roomElsewhere(bytes);
  }

  private roomElsewhere(bytes: number): number {
    if (this.isBeyond(bytes)) {
      // What is written leaves room at once where the socket takes it.
      this.flush();
      if (this.isBeyond(bytes)) {
        this.wantsDrain = true;
        throw new NetclusterError(
          'BACKPRESSURE',
          `${this.pending} bytes wait to be written: the broker, or a listener, is slower than this emitter; ` +
            'wait for `drained()` when `emit` returns false',
        );
      }
    }
    if (this.chunk.length > 0) this.turnOver(bytes);
    else if (bytes > this.chunk.bytes.length) this.chunk = this.takeSpare(bytes);
    return 0;
  }

  /** Whether another chunk, with a frame of so many bytes, could be more than may wait. */
  private isBeyond(bytes: number): boolean {
    return this.pending > 0 && this.pending + Math.max(bytes, CHUNK_BYTES) > this.maxBytes;
  }

  /** Puts the chunk into the queue, takes another, writes. */
  private turnOver(bytes: number): void {
    this.enqueue(bytes);
    this.pump();
    if (this.queuedBytes > this.highWater) this.wantsDrain = true;
  }

  private enqueue(bytes: number): void {
    const full = this.chunk;
    full.isQueued = true;
    this.queue.push(full);
    this.queuedBytes += full.length;
    this.chunk = this.takeSpare(bytes);
  }

  private takeSpare(bytes: number): Chunk {
    if (bytes > CHUNK_BYTES) return new Chunk(bytes);
    return this.spare.pop() ?? new Chunk(CHUNK_BYTES);
  }

  private release(chunk: Chunk): void {
    chunk.clear();
    if (chunk.bytes.length === CHUNK_BYTES && this.spare.length < MAX_SPARE) this.spare.push(chunk);
  }

  /** Appends a frame that is no event, behind everything emitted so far. */
  request(frame: Buffer): void {
    if (this.pending + frame.length > this.maxBytes + REQUEST_ROOM_BYTES) {
      throw new NetclusterError('BACKPRESSURE', 'too many requests wait to be written');
    }
    if (this.chunk.length >= FULL_BYTES) this.turnOver(frame.length);
    this.chunk.append(frame);
    this.schedule();
  }

  /** Frames that go before everything else, also while events are held. */
  requestFirst(frames: Buffer): void {
    const chunk = new Chunk(frames.length);
    chunk.append(frames);
    this.front.push(chunk);
    this.pump();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    process.nextTick(flushOf, this);
  }

  /** Writes what can be written. */
  flush(): void {
    this.isScheduled = false;
    if (this.chunk.length > 0 && this.isOpen && this.busy === undefined) {
      this.turnOver(0);
    }
  }

  /** Hands chunks to the socket as long as it takes them at once. */
  private pump(): void {
    while (this.busy === undefined && this.writer !== undefined) {
      const chunk = this.front.length > 0 ? this.front.shift() : this.isOpen ? this.queue.shift() : undefined;
      if (chunk === undefined) return;
      this.busy = chunk;
      if (!this.writer.write(chunk)) return;
      this.finish(chunk);
    }
  }

  private finish(chunk: Chunk): void {
    this.busy = undefined;
    if (chunk.isQueued) this.queuedBytes -= chunk.length;
    this.release(chunk);
  }

  /** The socket has taken the chunk that it had not taken at once. */
  wrote(): void {
    if (this.busy !== undefined) this.finish(this.busy);
    this.goOn();
  }

  private goOn(): void {
    this.pump();
    this.flush();
    if (this.wantsDrain && this.pending < this.highWater / 2) {
      this.wantsDrain = false;
      this.drained();
    }
  }

  /** Whether everything is with the system. */
  get isEmpty(): boolean {
    return this.busy === undefined && this.pending === 0 && this.front.length === 0;
  }

  /**
   * There is a connection, on which events wait until {@link open}. Gives the number of events that
   * waited and are larger than this broker takes: they are gone.
   */
  connect(writer: Writer, source: Source, maxPayload: number): number {
    this.writer = writer;
    this.maxPayload = maxPayload;
    this.loopCharacters = Math.min(LOOP_CHARACTERS, maxPayload);
    this.directCharacters = Math.min(DIRECT_CHARACTERS, Math.floor(maxPayload / 3));
    this.loopBytes = Math.min(LOOP_BYTES, maxPayload);
    return this.carryOver(source);
  }

  /** Events may go. */
  open(): void {
    this.isOpen = true;
    this.goOn();
  }

  /** The connection is gone. */
  disconnect(): void {
    this.writer = undefined;
    this.isOpen = false;
  }

  /** Keeps the events that were not written, as those of another source. */
  private carryOver(source: Source): number {
    let refused = 0;
    const old = [...(this.busy === undefined ? [] : [this.busy]), ...this.queue, this.chunk];
    this.source = source;
    this.busy = undefined;
    this.queue = [];
    this.front = [];
    this.queuedBytes = 0;
    this.chunk = this.takeSpare(0);
    for (const chunk of old) {
      for (const [start, end] of chunk.unwrittenEvents()) {
        if (chunk.payloadBytes(start) > this.maxPayload) {
          refused++;
          continue;
        }
        chunk.words[(start >>> 2) + 2] = source.node;
        chunk.words[(start >>> 2) + 3] = source.client;
        const into = this.roomFor(end - start);
        into.append(chunk.bytes.subarray(start, end));
      }
    }
    for (const chunk of old) this.release(chunk);
    return refused;
  }

  private roomFor(bytes: number): Chunk {
    const full = this.chunk.length >= FULL_BYTES || this.chunk.length + bytes > this.chunk.bytes.length;
    if (full && this.chunk.length > 0) this.enqueue(bytes);
    else if (full) this.chunk = this.takeSpare(bytes);
    return this.chunk;
  }

  /** Sequence of the last event that the system has, or a part of it. */
  lastWritten(): number {
    return this.sequence - this.unwritten();
  }

  private unwritten(): number {
    let events = 0;
    for (const chunk of [...(this.busy === undefined ? [] : [this.busy]), ...this.queue, this.chunk]) {
      for (const _ of chunk.unwrittenEvents()) events++;
    }
    return events;
  }
}

function flushOf(outbox: Outbox): void {
  outbox.flush();
}
