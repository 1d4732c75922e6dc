/** Memory that frames are written into before they go to the socket. */
import { HEADER_BYTES, Kind, pad } from './limits';

/**
 * Bytes of a chunk. When a Unix socket takes bytes again it has room for at least as many,
 * so that what it did not take of a chunk at first it takes as a whole, or not at all: see
 * `socket.ts`.
 */
export const CHUNK_BYTES = 136 << 10;

/** Whole frames, of which the first `written` bytes are known to be with the system. */
export class Chunk {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  length = 0;
  written = 0;
  /** Counted among what waits. */
  isQueued = false;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.words = new Uint32Array(this.bytes.buffer, 0, size >>> 2);
  }

  /** Makes it empty, to be filled anew. */
  clear(): void {
    this.length = 0;
    this.written = 0;
    this.isQueued = false;
  }

  /** Appends a whole frame for which there is room. */
  append(frame: Buffer): void {
    this.bytes.set(frame, this.length);
    this.length += frame.length;
  }

  /** Bytes of the payload of the frame at this place. */
  payloadBytes(at: number): number {
    const second = this.words[(at >>> 2) + 1]!;
    return this.words[at >>> 2]! - HEADER_BYTES - pad(second >>> 16) - ((second >>> 8) & 7);
  }

  /** Places of the events that were not written as a whole. */
  *unwrittenEvents(): Generator<[start: number, end: number]> {
    let at = 0;
    while (at < this.length) {
      const end = at + this.words[at >>> 2]!;
      const isEvent = (this.words[(at >>> 2) + 1]! & 0xff) === Kind.event;
      if (isEvent && end > this.written) yield [at, end];
      at = end;
    }
  }
}

/** The frame of an event but for what changes: its name in words, ready to be copied. */
export interface Head {
  /** Words of the name with its padding. */
  readonly name: Uint32Array;
  /** Bytes of header, name and padding. */
  readonly length: number;
  /** The second word of the header for bytes without padding. */
  readonly second: number;
}

/** Makes the head of an event. */
export function makeHead(event: string): Head {
  const bytes = Buffer.byteLength(event);
  const name = new Uint32Array(pad(bytes) >>> 2);
  Buffer.from(name.buffer).write(event);
  return { name, length: HEADER_BYTES + name.length * 4, second: Kind.event | (bytes << 16) };
}
