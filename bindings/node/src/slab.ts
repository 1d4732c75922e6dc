/**
 * Memory that the socket's bytes are read into and messages are looked at in.
 *
 * Frames start at multiples of 8 in it, as they do in the stream. A slab is filled once and
 * never again: a message may be kept, and read, as long as one likes. It keeps its whole slab.
 */

if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) {
  throw new Error('netcluster needs a little endian machine');
}

/** Memory with bytes of frames. */
export class Slab {
  readonly bytes: Buffer;
  readonly words: Uint32Array;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.words = new Uint32Array(this.bytes.buffer, 0, size >>> 2);
  }
}
