/** Limits and numbers of the local protocol, as PROTOCOL.md states them. */

/** Version in hello and welcome. */
export const PROTOCOL_VERSION = 1;
/** The bytes `4e 43 42 31` as a little endian number. */
export const MAGIC = 0x3142434e;
/** Bytes of a frame's header. */
export const HEADER_BYTES = 24;
/** Longest event, channel and client name, and pattern. */
export const MAX_NAME_BYTES = 255;
/** Most `**` tokens in one pattern. */
export const MAX_DEEP_WILDCARDS = 4;
/** Largest payload of all kinds but `event`, and what a broker answers in `stats` and `control`. */
export const MAX_CONTROL_PAYLOAD_BYTES = 4096;
/** Largest payload of a broker's `stats` and `control`. */
export const MAX_STATS_BYTES = 8 << 20;
/** Largest payload of an event that any broker can be configured to take. */
export const HARD_MAX_PAYLOAD_BYTES = 1 << 30;

/** Kinds of frames. */
export const Kind = {
  event: 0x01,
  hello: 0x10,
  welcome: 0x11,
  subscribe: 0x12,
  unsubscribe: 0x13,
  ack: 0x14,
  error: 0x15,
  ping: 0x16,
  pong: 0x17,
  lost: 0x18,
  bye: 0x19,
  stats: 0x1a,
  cluster: 0x1b,
  audience: 0x1c,
  shared: 0x1d,
  control: 0x1e,
  channel: 0x20,
} as const;

const KINDS: ReadonlySet<number> = new Set(Object.values(Kind));

/** Whether a number is that of a kind. */
export function isKind(number: number): boolean {
  return KINDS.has(number);
}

/** Encodings of a payload, bits 4 and 5 of an event's flags. */
export const Encoding = { bytes: 0, text: 1, json: 2 } as const;

/** Rounds up to a multiple of 8. */
export function pad(bytes: number): number {
  return (bytes + 7) & ~7;
}
