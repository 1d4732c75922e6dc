/**
 * Frames that are not events: encoding of what a client sends, decoding of what a broker
 * sends. Events have a path of their own, see `outbox.ts` and `inbound.ts`.
 */
import { HEADER_BYTES, MAGIC, PROTOCOL_VERSION, pad } from './limits';

/** Emitter of an event: a broker and a client's number there. */
export interface Source {
  readonly node: number;
  readonly client: number;
}

/** The source that nobody has. */
export const NOBODY: Source = { node: 0, client: 0 };

const EMPTY = Buffer.alloc(0);

/** Makes a whole frame. */
export function encodeFrame(
  kind: number,
  source: Source,
  sequence: number | bigint,
  name: string = '',
  payload: Buffer = EMPTY,
): Buffer {
  const nameBytes = Buffer.byteLength(name);
  const payloadAt = HEADER_BYTES + pad(nameBytes);
  const frame = Buffer.alloc(payloadAt + pad(payload.length));
  frame.writeUInt32LE(frame.length, 0);
  frame[4] = kind;
  frame[5] = pad(payload.length) - payload.length;
  frame.writeUInt16LE(nameBytes, 6);
  frame.writeUInt32LE(source.node, 8);
  frame.writeUInt32LE(source.client, 12);
  writeU64(frame, sequence, 16);
  frame.write(name, HEADER_BYTES);
  frame.set(payload, payloadAt);
  return frame;
}

function writeU64(buffer: Buffer, value: number | bigint, at: number): void {
  if (typeof value === 'bigint') {
    buffer.writeBigUInt64LE(value, at);
    return;
  }
  buffer.writeUInt32LE(value >>> 0, at);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** Reads a number of 64 bits; beyond 2^53 the nearest that there is. */
export function readU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 2 ** 32;
}

/** Number of 64 bits as a payload. */
export function u64(value: number): Buffer {
  const payload = Buffer.alloc(8);
  writeU64(payload, value, 0);
  return payload;
}

/** What a hello says besides the channel. */
export interface Hello {
  echo: boolean;
  latest: boolean;
  maxQueue: number;
  previous: Source;
  clientName: string;
}

/** Payload of a hello. */
export function encodeHello(hello: Hello): Buffer {
  const payload = Buffer.alloc(24 + Buffer.byteLength(hello.clientName));
  payload.writeUInt32LE(MAGIC, 0);
  payload.writeUInt16LE(PROTOCOL_VERSION, 4);
  payload.writeUInt16LE((hello.echo ? 1 : 0) | (hello.latest ? 2 : 0), 6);
  writeU64(payload, hello.maxQueue, 8);
  payload.writeUInt32LE(hello.previous.node, 16);
  payload.writeUInt32LE(hello.previous.client, 20);
  payload.write(hello.clientName, 24);
  return payload;
}

/** What a welcome says besides the source. */
export interface Welcome {
  maxPayload: number;
  run: bigint;
  /** Why the broker ended the connection before, 0 if it did not. */
  reason: number;
  text: string;
  /** Nothing was missed since the connection before; what is not kept is told as lost. */
  held: boolean;
}

/** Reads the payload of a welcome; of another version only its number. */
export function decodeWelcome(payload: Buffer): Welcome | { version: number } | undefined {
  if (payload.length < 6 || payload.readUInt32LE(0) !== MAGIC) return undefined;
  const version = payload.readUInt16LE(4);
  if (version !== PROTOCOL_VERSION) return { version };
  if (payload.length < 32) return undefined;
  return {
    maxPayload: readU64(payload, 8),
    run: payload.readBigUInt64LE(16),
    reason: payload.readUInt32LE(24),
    text: payload.toString('utf8', 32),
    held: (payload.readUInt16LE(6) & HELD) !== 0,
  };
}

/** Flag of a welcome. */
const HELD = 1;

const LOSS_REASONS = [
  'unknown',
  'overflow',
  'disconnected',
  'link',
  'peer',
  'slow',
  'large',
] as const;

/** Reasons why events are missing. */
export type LossReason = (typeof LOSS_REASONS)[number];

/** The reason with a number; `unknown` for one that is newer than this. */
export function lossReason(number: number): LossReason {
  return LOSS_REASONS[number] ?? 'unknown';
}
