// Events of random names, sizes and encodings, by callback and by batch, looked at at once and
// later. `SEED=7 node --test test/random.test.mjs` repeats a run.
import assert from 'node:assert/strict';
import test from 'node:test';
import { broker, client } from './lib/support.mjs';

const EVENTS = 10_000;
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));

function random(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
}

test(`random events arrive as they are (SEED=${SEED})`, async (t) => {
  const next = random(SEED);
  const bus = await broker(t);
  const [emitter, listener, batched] = [await client(t, bus), await client(t, bus), await client(t, bus)];
  const sent = [];
  const check = (event, encoding, payload, sequence) => {
    const { event: name, isText, size, fill } = sent[sequence - 1];
    assert.equal(event, name);
    assert.equal(encoding, isText ? 'text' : 'bytes');
    assert.equal(payload.length, size);
    for (let at = 0; at < size; at += Math.max(1, size >> 4)) assert.equal(payload[at], fill);
  };
  const kept = [];
  const faults = [];
  let [heard, inBatches] = [0, 0];
  for (const it of [listener, batched]) it.lifecycle.on('error', (error) => faults.push(error));
  listener.on('**', (message) => {
    check(message.event, message.encoding, message.payload, message.sequence);
    if (heard++ % 100 === 0) kept.push(message);
  });
  batched.onBatch('**', (batch) => {
    for (let at = 0; at < batch.length; at++) {
      const { encoding, sequence } = batch.message(at);
      check(batch.event(at), encoding, batch.payload(at), sequence);
    }
    inBatches += batch.length;
  });
  await Promise.all([listener.flush(), batched.flush()]);
  for (let number = 0; number < EVENTS; number++) {
    const kind = next(100);
    const size = kind < 60 ? next(40) : kind < 90 ? next(3000) : kind < 99 ? next(20_000) : next(300_000);
    const event = ['a', 'b.c', `größe.${next(50)}`, 'x'.repeat(1 + next(200))][next(4)];
    const isText = next(2) === 0;
    const fill = isText ? 97 + next(26) : next(256);
    sent.push({ event, isText, size, fill });
    const data = isText ? String.fromCharCode(fill).repeat(size) : Buffer.alloc(size, fill);
    if (!emitter.emit(event, data)) await emitter.drained();
    if (next(500) === 0) await new Promise(setImmediate);
  }
  await emitter.flush();
  await Promise.all([listener.flush(), batched.flush()]);
  for (const message of kept) check(message.event, message.encoding, message.payload, message.sequence);
  assert.deepEqual(faults, []);
  assert.deepEqual([heard, inBatches, sent.length], [EVENTS, EVENTS, EVENTS]);
});
