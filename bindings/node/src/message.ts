/** An event as a listener gets it. */
import { isUtf8 } from 'node:buffer';
import { inspect } from 'node:util';
import type { Source } from './control';
import { readU64 } from './control';
import { NetclusterError } from './errors';
import { Encoding, HEADER_BYTES } from './limits';
import type { Slab } from './slab';

/** How the emitter encoded the payload. */
export type EncodingName = 'bytes' | 'text' | 'json';

const ENCODINGS: readonly EncodingName[] = ['bytes', 'text', 'json'];

/** Stands for a value that was not decoded yet. */
const NOT_YET = Symbol('not decoded');

/**
 * An event. Everything is read when it is asked for; a message may be kept and read later.
 * It keeps the memory that was read from the socket with it, some 64 KiB.
 */
export class Message<Data = any, Event extends string = string> {
  /** Name of the event. */
  readonly event: Event;
  private readonly slab: Slab;
  private readonly at: number;
  private value: unknown = NOT_YET;

  /** @internal */
  constructor(event: Event, slab: Slab, at: number) {
    this.event = event;
    this.slab = slab;
    this.at = at;
  }

  /**
   * What was emitted: a Buffer for bytes, a string for text, the parsed value for JSON.
   *
   * @throws NetclusterError `ENCODING` if the payload is not what its emitter said it is;
   * {@link payload} has it then.
   */
  get data(): Data {
    const encoding = (this.slab.words[(this.at >>> 2) + 1]! >>> 12) & 3;
    if (encoding === Encoding.bytes) return this.payload as Data;
    if (encoding === Encoding.text) return this.text as Data;
    if (this.value === NOT_YET) this.value = this.json();
    return this.value as Data;
  }

  /**
   * Bytes that were emitted, whatever they mean: a view of the memory that was read, which it
   * keeps. `Buffer.from(payload)` copies what is kept for long.
   */
  get payload(): Buffer {
    const start = payloadStart(this.slab, this.at);
    const end = payloadEnd(this.slab, this.at);
    return payloadOf(this.slab, start, end);
  }

  /** Bytes of the payload. */
  get size(): number {
    return payloadEnd(this.slab, this.at) - payloadStart(this.slab, this.at);
  }

  /**
   * The payload as text.
   *
   * @throws NetclusterError `ENCODING` if it is no UTF-8.
   */
  get text(): string {
    const start = payloadStart(this.slab, this.at);
    const end = payloadEnd(this.slab, this.at);
    const text = this.slab.bytes.toString('utf8', start, end);
    if (text.includes('\ufffd') && !isUtf8(this.slab.bytes.subarray(start, end))) {
      throw new NetclusterError('ENCODING', `the payload of ${this.event} is no UTF-8`);
    }
    return text;
  }

  /**
   * The payload, parsed as JSON.
   *
   * @throws NetclusterError `ENCODING` if it is none.
   */
  json(): Data {
    const text = this.text;
    try {
      return JSON.parse(text) as Data;
    } catch (cause) {
      throw new NetclusterError('ENCODING', `the payload of ${this.event} is no JSON: ${String(cause)}`, {
        cause,
      });
    }
  }

  /** How the emitter encoded it. */
  get encoding(): EncodingName {
    return ENCODINGS[(this.slab.words[(this.at >>> 2) + 1]! >>> 12) & 3]!;
  }

  /** Who emitted it. */
  get source(): Source {
    const word = this.at >>> 2;
    return { node: this.slab.words[word + 2]!, client: this.slab.words[word + 3]! };
  }

  /** Its number among its emitter's events, from 1 on. */
  get sequence(): number {
    return readU64(this.slab.bytes, this.at + 16);
  }

  /** Event and data, as `JSON.stringify` shows them. */
  toJSON(): { event: Event; data: Data } {
    return { event: this.event, data: this.data };
  }

  /** @internal */
  [inspect.custom](_depth: number, options: object): string {
    let data: unknown;
    try {
      data = this.data;
    } catch {
      data = this.payload;
    }
    return `Message ${inspect({ event: this.event, data }, options)}`;
  }
}

/** Start of the payload of the frame at this place. */
export function payloadStart(slab: Slab, at: number): number {
  const name = slab.words[(at >>> 2) + 1]! >>> 16;
  return at + HEADER_BYTES + ((name + 7) & ~7);
}

/** End of the payload of the frame at this place. */
export function payloadEnd(slab: Slab, at: number): number {
  const word = at >>> 2;
  return at + slab.words[word]! - ((slab.words[word + 1]! >>> 8) & 7);
}

type MakesBuffers = new (memory: ArrayBufferLike, start: number, length: number) => Buffer;

/** Class of Buffers, made without the checks of `Buffer.from`; undefined where it cannot be had. */
const ViewBuffer = ((): MakesBuffers | undefined => {
  const species = (Buffer as unknown as { [Symbol.species]?: MakesBuffers })[Symbol.species];
  return typeof species === 'function' && Buffer.isBuffer(Reflect.construct(species, [new ArrayBuffer(8), 0, 8])) ? species : undefined;
})();

/** A payload as a view of its slab. */
export function payloadOf(slab: Slab, start: number, end: number): Buffer {
  if (ViewBuffer === undefined) return slab.bytes.subarray(start, end);
  return new ViewBuffer(slab.bytes.buffer, start, end - start);
}
