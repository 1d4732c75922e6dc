// Slow listeners, full buffers, and what is lost when it may be.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { LossNotice } from '../index.mjs';
import { broker, client, lifecycle, soon, until } from './lib/support.mjs';

test('emit says false when it should wait, then drain, and all of it arrives', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  let seen = 0;
  listener.on('n', () => seen++);
  await listener.flush();
  process.kill(bus.pid, 'SIGSTOP');
  let emitted = 0;
  while (emitter.emit('n', Buffer.alloc(1000))) emitted++;
  emitted++;
  assert.equal(emitter.emit('n', Buffer.alloc(1000)), false);
  emitted++;
  const drained = lifecycle(emitter, 'drain');
  const waited = emitter.drained();
  process.kill(bus.pid, 'SIGCONT');
  await drained;
  await soon('drained() resolves', waited);
  assert.equal(emitter.emit('n', Buffer.alloc(1000)), true);
  emitted++;
  await until('all came', () => seen === emitted);
});

test('beyond the bound emit throws, nothing is lost of what it took, and it goes on later', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus, { maxBuffer: 1 << 20 }), await client(t, bus)];
  let seen = 0;
  listener.on('n', () => seen++);
  await listener.flush();
  process.kill(bus.pid, 'SIGSTOP');
  let emitted = 0;
  assert.throws(
    () => { for (;;) { emitter.emit('n', Buffer.alloc(1000)); emitted++; } },
    (error) => error.code === 'BACKPRESSURE' && /drained\(\)/.test(error.message),
  );
  assert.ok(emitted > 1000 && emitted < 2000, `${emitted} of 1 KB in 1 MiB and the socket`);
  process.kill(bus.pid, 'SIGCONT');
  await emitter.drained();
  emitter.emit('n', Buffer.alloc(1000));
  await until('all came', () => seen === emitted + 1);
  await emitter.flush();
});

test('a subscription that is not taken holds its emitter back and loses nothing', async (t) => {
  const bus = await broker(t, { args: ['--stall-timeout', '60s', '--max-queue', '1MiB'] });
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const subscription = listener.subscribe('n');
  await subscription.ready;
  const TOTAL = 30_000;
  let emitted = 0;
  const emitting = (async () => {
    for (let at = 0; at < TOTAL; at++) {
      if (!emitter.emit('n', Buffer.alloc(1000))) await emitter.drained();
      emitted++;
    }
  })();
  let before = -1;
  // Until it stands still: 30 MB do not fit into all the buffers on the way.
  while (before !== emitted) {
    before = emitted;
    await pause(200);
  }
  assert.ok(emitted < TOTAL, `${emitted} were emitted into nothing that reads`);
  await soon('questions are answered meanwhile', listener.status());
  let next = 1;
  for await (const message of subscription) {
    assert.equal(message.sequence, next);
    if (next++ === TOTAL) break;
  }
  await soon('all is emitted', emitting);
});

test('latest loses the oldest events and says so in their place', async (t) => {
  const bus = await broker(t, { args: ['--max-queue', '64KiB'] });
  const [emitter, listener] = [await client(t, bus), await client(t, bus, { queue: 'latest' })];
  const subscription = listener.subscribe('n', { losses: true });
  await subscription.ready;
  const TOTAL = 60_000;
  for (let at = 0; at < TOTAL; at++) {
    if (!emitter.emit('n', Buffer.alloc(1000))) await emitter.drained();
  }
  await emitter.flush();
  let [next, lost] = [1, 0];
  for await (const item of subscription) {
    if (item instanceof LossNotice) {
      assert.equal(item.lost.reason, 'overflow');
      assert.deepEqual(item.lost.source, emitter.source);
      lost += item.lost.count;
      next += item.lost.count;
    } else {
      assert.equal(item.sequence, next++);
    }
    if (next === TOTAL + 1) break;
  }
  assert.ok(lost > 0);
});

test('a listener that does not read is disconnected, told why, and comes back', async (t) => {
  const bus = await broker(t, { args: ['--stall-timeout', '300ms', '--max-queue', '64KiB'] });
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const subscription = listener.subscribe('n');
  listener.lifecycle.on('lost', () => undefined);
  const reasons = [];
  listener.lifecycle.on('disconnect', ({ reason }) => reasons.push(reason));
  listener.lifecycle.on('error', (error) => reasons.push(error));
  await subscription.ready;
  const emitting = (async () => {
    for (let at = 0; at < 30_000; at++) {
      if (!emitter.emit('n', Buffer.alloc(1000))) await emitter.drained();
    }
  })();
  await soon('the emitter is let go', emitting);
  let taken = 0;
  while (reasons.length === 0) {
    await Promise.race([subscription.next(), pause(50)]);
    taken++;
  }
  await until('the reason is told', () => reasons.some((error) => error.reason === 'stalled'));
  assert.ok(taken > 0);
  await listener.flush();
  await subscription.return();
});

test('an aborted subscription throws the reason and is gone at the broker', async (t) => {
  const bus = await broker(t);
  const listener = await client(t, bus);
  const stop = new AbortController();
  const iterating = (async () => {
    for await (const _ of listener.subscribe('a.**', { signal: stop.signal })) assert.fail('nothing comes');
  })();
  await listener.flush();
  stop.abort();
  await assert.rejects(iterating, { name: 'AbortError' });
  assert.deepEqual(listener.eventNames(), []);
  assert.throws(() => listener.subscribe('a', { signal: stop.signal }), { name: 'AbortError' });
  assert.deepEqual(listener.eventNames(), []);
});

test('leaving the loop ends the subscription; disconnecting ends the loop', async (t) => {
  const bus = await broker(t);
  const both = await client(t, bus, { echo: true });
  const subscription = both.subscribe('a');
  await subscription.ready;
  both.emit('a');
  for await (const message of subscription) {
    assert.equal(message.event, 'a');
    break;
  }
  assert.deepEqual(both.eventNames(), []);
  const other = both.subscribe('b');
  const iterating = (async () => { for await (const _ of other) assert.fail('nothing comes'); })();
  await both.disconnect();
  await soon('the loop ends', iterating);
});

test('large events pass, in pieces on the way', async (t) => {
  const bus = await broker(t, { args: ['--max-payload', '64MiB'] });
  const [emitter, listener] = [await client(t, bus, { maxBuffer: 256 << 20 }), await client(t, bus)];
  const subscription = listener.subscribe('large');
  await subscription.ready;
  const sizes = [65_500, 65_536, 139_264, 200_000, 5 << 20, 33_333_333, 1];
  for (const size of sizes) {
    const data = Buffer.alloc(size, 1);
    data[size - 1] = 9;
    emitter.emit('large', data);
  }
  for (const size of sizes) {
    const { value } = await soon('it comes', subscription.next());
    assert.equal(value.size, size);
    assert.equal(value.payload[size - 1], 9);
    assert.equal(value.payload.indexOf(9), size - 1);
  }
});

test('who waits in vain for room or a pattern leaves nothing behind, and is told of the end', async (t) => {
  const bus = await broker(t);
  const emitter = await client(t, bus, { disconnectTimeout: 200 });
  const ready = emitter.on('a', () => undefined).ready('a');
  await ready;
  const warnings = [];
  const warned = (warning) => warnings.push(warning);
  process.on('warning', warned);
  process.kill(bus.pid, 'SIGSTOP');
  try {
    while (emitter.emit('n', Buffer.alloc(64 << 10)));
    emitter.on('b', () => undefined);
    const waiting = [];
    for (let at = 0; at < 100; at++) waiting.push(emitter.drained(), emitter.ready('b'));
    const outcomes = Promise.allSettled(waiting);
    await pause(0);
    for (const event of ['drain', 'close', 'connect', 'error']) assert.equal(emitter.lifecycle.listenerCount(event), 0, event);
    await assert.rejects(emitter.disconnect(), { code: 'TIMEOUT' });
    for (const { reason } of await outcomes) assert.equal(reason?.code, 'DISCONNECTED');
  } finally {
    process.kill(bus.pid, 'SIGCONT');
  }
  await pause(0);
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
});
