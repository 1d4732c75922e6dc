/**
 * The stream from the broker, cut into frames in place.
 *
 * ```text
 *   slab  | done … | frame | frame | frame, cut |      free      |
 *                  start                        end ─► the next read goes here
 * ```
 * Invariant: `start` is a multiple of 8 and a frame starts there; what lies between it and
 * `end` has come and was not looked at. A frame that does not fit the slab moves to a new one.
 */
import { NetclusterError } from './errors';
import { HEADER_BYTES, Kind, MAX_CONTROL_PAYLOAD_BYTES, MAX_NAME_BYTES, MAX_STATS_BYTES, isKind, pad } from './limits';
import { Routes } from './routes';
import type { Route } from './routes';
import { Slab } from './slab';

/** Bytes of a slab. */
const SLAB_BYTES = 64 << 10;
/** Bytes of a slab for large frames, unless one alone needs more. */
const LARGE_SLAB_BYTES = 1 << 20;
/** The next read gets at least so much room, or a slab of its own. */
const READ_ROOM_BYTES = 8 << 10;
/** Room for a frame is made at once up to this, and by doubling as it comes beyond. */
const ROOM_AT_ONCE_BYTES = 4 << 20;

/** Frame that is no event, whose parts are copies. */
export interface ControlFrame {
  kind: number;
  sourceNode: number;
  sourceClient: number;
  sequence: number;
  /** The sequence as it came, of 64 bits. */
  token: bigint;
  payload: Buffer;
}

/** Receiver of what comes. */
export interface Receiver {
  /** Takes an event, whose frame lies at `at`. */
  event(route: Route, slab: Slab, at: number): void;
  /** Takes any other frame. */
  control(frame: ControlFrame): void;
  /** Everything that came with one read was told. */
  settled(): void;
}

/** Frames of one connection. */
export class Inbound {
  /** Set by the receiver: nothing more is told. */
  stopped = false;
  private slab = new Slab(SLAB_BYTES);
  private start = 0;
  private end = 0;
  private readonly receiver: Receiver;
  private readonly routes: Routes;
  private maxPayload: number;

  constructor(receiver: Receiver, routes: Routes, maxPayload: number) {
    this.receiver = receiver;
    this.routes = routes;
    this.maxPayload = maxPayload;
  }

  /** Takes no event that is larger than this, too. */
  limit(maxPayload: number): void {
    this.maxPayload = Math.min(this.maxPayload, maxPayload);
  }

  /** Place for the next read. */
  room(): Buffer {
    const { slab, start, end } = this;
    const left = end - start;
    const frame = left >= HEADER_BYTES ? this.wanted(left) : 0;
    const needed = Math.max(left + READ_ROOM_BYTES, frame);
    if (start + needed > slab.bytes.length) {
      // Where frames are large, several fit: less of them is moved.
      const several = Math.min(4 * frame, LARGE_SLAB_BYTES);
      const next = new Slab(Math.max(SLAB_BYTES, pad(needed), pad(several)));
      next.bytes.set(slab.bytes.subarray(start, end));
      this.slab = next;
      this.start = 0;
      this.end = left;
    }
    return this.slab.bytes.subarray(this.end);
  }

  /** Bytes that the frame at the start should have room for. */
  private wanted(left: number): number {
    const length = this.slab.words[this.start >>> 2]!;
    return length <= ROOM_AT_ONCE_BYTES ? length : Math.min(length, Math.max(ROOM_AT_ONCE_BYTES, 2 * left));
  }

  /**
   * Takes in that so many bytes were read into the room, and tells what they are.
   *
   * @throws NetclusterError `PROTOCOL` if they are no frames.
   */
  read(bytes: number): void {
    this.end += bytes;
    const { slab, end, receiver } = this;
    const words = slab.words;
    let start = this.start;
    while (end - start >= HEADER_BYTES && !this.stopped) {
      const word = start >>> 2;
      const length = words[word]!;
      const second = words[word + 1]!;
      const nameLength = second >>> 16;
      const head = HEADER_BYTES + ((nameLength + 7) & ~7) + ((second >>> 8) & 7);
      // An event without a flaw: kind 1, flags of padding and encoding only.
      if (
        (second & 0xc8ff) === Kind.event &&
        (second & 0x3000) !== 0x3000 &&
        (length & 7) === 0 &&
        nameLength <= MAX_NAME_BYTES &&
        nameLength > 0 &&
        length >= head &&
        length - head <= this.maxPayload
      ) {
        if (length > end - start) break;
        // Before it is told: a listener may throw or look at what was read.
        this.start = start + length;
        receiver.event(this.routes.find(slab, start, nameLength), slab, start);
      } else {
        checkHeader(length, second, this.maxPayload);
        if (length > end - start) break;
        this.start = start + length;
        receiver.control(this.controlFrame(start));
      }
      start += length;
    }
    receiver.settled();
  }

  private controlFrame(at: number): ControlFrame {
    const word = at >>> 2;
    const { words, bytes } = this.slab;
    const second = words[word + 1]!;
    const payloadAt = at + HEADER_BYTES + pad(second >>> 16);
    const end = at + words[word]! - ((second >>> 8) & 7);
    return {
      kind: second & 0xff,
      sourceNode: words[word + 2]!,
      sourceClient: words[word + 3]!,
      sequence: words[word + 4]! + words[word + 5]! * 2 ** 32,
      token: bytes.readBigUInt64LE(at + 16),
      payload: Buffer.from(bytes.subarray(payloadAt, end)),
    };
  }
}

/** What is wrong with a header, by the document's names. */
export type Flaw =
  | 'misaligned'
  | 'unknown kind'
  | 'unknown flags'
  | 'name too long'
  | 'too short'
  | 'payload too large';

/** The first flaw of a header whose first two words are these, if it has one. */
export function headerFlaw(length: number, second: number, maxPayload: number): Flaw | undefined {
  const kind = second & 0xff;
  const flags = (second >>> 8) & 0xff;
  const nameLength = second >>> 16;
  if ((length & 7) !== 0) return 'misaligned';
  if (!isKind(kind)) return 'unknown kind';
  if ((flags & (kind === Kind.event ? 0xc8 : 0xf8)) !== 0 || (flags & 0x30) === 0x30) return 'unknown flags';
  if (nameLength > MAX_NAME_BYTES) return 'name too long';
  const head = HEADER_BYTES + pad(nameLength) + (flags & 7);
  if (length < head) return 'too short';
  const limit =
    kind === Kind.event ? maxPayload : kind === Kind.stats ? MAX_STATS_BYTES : MAX_CONTROL_PAYLOAD_BYTES;
  return length - head > limit ? 'payload too large' : undefined;
}

function checkHeader(length: number, second: number, maxPayload: number): void {
  const flaw = headerFlaw(length, second, maxPayload);
  if (flaw !== undefined) {
    throw new NetclusterError('PROTOCOL', `the other end broke the protocol (is it a netcluster broker?): ${flaw}`);
  }
  if ((second & 0xff) === Kind.event) {
    throw new NetclusterError('PROTOCOL', 'the other end broke the protocol: an event without a name');
  }
}
