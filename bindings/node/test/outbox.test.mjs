// What waits to be written, without a socket.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';

const require = createRequire(import.meta.url);
const { Outbox } = require('../dist/outbox.js');

const ME = { node: 1, client: 1 };

/** A socket that takes what it is told to; it keeps what it has taken. */
class Slow {
  taken = [];
  chunk;

  constructor(outbox) {
    this.outbox = outbox;
  }

  write(chunk) {
    assert.equal(this.chunk, undefined, 'one chunk at a time');
    this.chunk = chunk;
    return false;
  }

  /** Takes so many bytes of the chunk, at most all. */
  take(bytes = Infinity) {
    const { chunk } = this;
    const end = Math.min(chunk.length, chunk.written + bytes);
    this.taken.push(Buffer.from(chunk.bytes.subarray(chunk.written, end)));
    chunk.written = end;
    if (end < chunk.length) return;
    this.chunk = undefined;
    this.outbox.wrote();
  }

  /** Sequences and sources of the whole frames that it took. */
  frames() {
    const bytes = Buffer.concat(this.taken);
    const frames = [];
    for (let at = 0; at + 8 <= bytes.length && at + bytes.readUInt32LE(at) <= bytes.length; at += bytes.readUInt32LE(at)) {
      frames.push([bytes.readUInt32LE(at + 16), bytes.readUInt32LE(at + 12)]);
    }
    return frames;
  }
}

const numbers = (from, to, client) => Array.from({ length: to - from + 1 }, (_, at) => [from + at, client]);

// What broke: a chunk that was being written as events were let go was filled anew.
test('a chunk is not touched before the socket has taken it', () => {
  const outbox = new Outbox(16 << 20, () => undefined);
  const slow = new Slow(outbox);
  for (let at = 0; at < 100; at++) outbox.bytes('n', Buffer.alloc(5000));
  outbox.connect(slow, ME, 1 << 20);
  outbox.open();
  slow.take(100_000);
  for (let at = 0; at < 100; at++) outbox.bytes('n', Buffer.alloc(5000));
  outbox.flush();
  while (slow.chunk !== undefined) slow.take(70_000);
  assert.deepEqual(slow.frames(), numbers(1, 200, 1));
  assert.ok(outbox.isEmpty);
});

test('frames that were not written as a whole go by the next connection, with its source', () => {
  for (const taken of [0, 10, 5031, 5032, 5033, 50_000, 136_000, 400_000]) {
    const outbox = new Outbox(16 << 20, () => undefined);
    const first = new Slow(outbox);
    outbox.connect(first, ME, 1 << 20);
    outbox.open();
    for (let at = 0; at < 90; at++) outbox.bytes('n', Buffer.alloc(5000));
    outbox.flush();
    for (let left = taken; left > 0 && first.chunk !== undefined; ) {
      const part = Math.min(left, first.chunk.length - first.chunk.written);
      first.take(part);
      left -= part;
    }
    const whole = first.frames();
    assert.equal(outbox.lastWritten(), whole.length);
    outbox.disconnect();
    outbox.bytes('n', Buffer.alloc(5000));
    const second = new Slow(outbox);
    outbox.connect(second, { node: 1, client: 2 }, 1 << 20);
    outbox.open();
    while (second.chunk !== undefined) second.take();
    assert.deepEqual(second.frames(), numbers(whole.length + 1, 91, 2), `${taken} bytes were taken`);
  }
});

test('drain is told once there is room, and not before', () => {
  let drained = 0;
  const outbox = new Outbox(4 << 20, () => drained++);
  const slow = new Slow(outbox);
  outbox.connect(slow, ME, 1 << 20);
  outbox.open();
  while (outbox.bytes('n', Buffer.alloc(5000)));
  assert.ok(outbox.isPressed);
  while (drained === 0) {
    assert.ok(outbox.pending > 0);
    slow.take();
  }
  assert.ok(outbox.pending < 1 << 19);
  assert.equal(outbox.bytes('n', Buffer.alloc(5000)), true);
});

test('beyond its bound it takes nothing more, and what it took stays whole', () => {
  const outbox = new Outbox(1 << 20, () => undefined);
  const slow = new Slow(outbox);
  outbox.connect(slow, ME, 1 << 20);
  outbox.open();
  let accepted = 0;
  assert.throws(() => { for (;;) { outbox.bytes('n', Buffer.alloc(5000)); accepted++; } }, { code: 'BACKPRESSURE' });
  assert.ok(outbox.pending <= 1 << 20);
  while (slow.chunk !== undefined) slow.take();
  assert.equal(outbox.bytes('n', Buffer.alloc(5000)), true);
  outbox.flush();
  while (slow.chunk !== undefined) slow.take();
  assert.deepEqual(slow.frames(), numbers(1, accepted + 1, 1));
});
