// Connections that break and come back.
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect } from '../index.mjs';
import { broker, client, lifecycle, soon, until } from './lib/support.mjs';

test('a broker that is killed and started again: listeners are back, and are told that events may be missing', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  const life = [];
  listener.on('a.*', (message) => heard.push(message.data?.toString()));
  for (const event of ['connect', 'disconnect', 'lost']) listener.lifecycle.on(event, (value) => life.push([event, value]));
  await listener.flush();
  emitter.emit('a.1', Buffer.from('before'));
  await emitter.flush();
  await until('the first came', () => heard.length === 1);
  const gone = lifecycle(listener, 'disconnect');
  process.kill(bus.pid, 'SIGKILL');
  const { orderly, reason } = await gone;
  assert.equal(orderly, false);
  assert.equal(reason.code, 'CONNECTION_LOST');
  const back = lifecycle(listener, 'connect');
  const inForce = listener.ready('a.*').then(() => listener.isConnected);
  await bus.ended;
  const again = await broker(t, { path: bus.path });
  assert.equal((await back).resumed, true);
  assert.equal(await soon('the pattern is in force again', inForce), true);
  await listener.flush();
  await emitter.flush();
  assert.equal((await listener.status()).pid, again.pid);
  emitter.emit('a.2', Buffer.from('after'));
  await until('the second came', () => heard.length === 2);
  assert.deepEqual(heard, ['before', 'after']);
  assert.deepEqual(life.map(([event]) => event), ['disconnect', 'connect', 'lost']);
  assert.deepEqual(life[2][1], { source: undefined, count: undefined, reason: 'disconnected' });
});

test('what is emitted while there is no broker goes to the next one, with its sequence and another source', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  listener.on('n', (message) => heard.push(message));
  listener.lifecycle.on('lost', () => undefined);
  await listener.flush();
  emitter.emit('n', Buffer.from('0'));
  await emitter.flush();
  const [old, gone] = [emitter.source, Promise.all([lifecycle(emitter, 'disconnect'), lifecycle(listener, 'disconnect')])];
  process.kill(bus.pid, 'SIGKILL');
  const [{ confirmed, written }] = await gone;
  assert.deepEqual([confirmed, written], [1, 1]);
  for (let at = 1; at <= 10_000; at++) emitter.emit('n', Buffer.from(String(at)));
  await bus.ended;
  await broker(t, { path: bus.path });
  await until('all came', () => heard.length === 10_001);
  assert.deepEqual(heard.map((message) => Number(message.payload)), Array.from({ length: 10_001 }, (_, at) => at));
  assert.deepEqual(heard.map((message) => message.sequence), Array.from({ length: 10_001 }, (_, at) => at + 1));
  assert.notDeepEqual(heard[1].source, old);
  assert.deepEqual(heard[1].source, emitter.source);
});

test('an orderly restart under load loses nothing and doubles nothing', async (t) => {
  let bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const TOTAL = 60_000;
  const SIZES = [100, 5000, 100, 1000];
  let next = 1;
  listener.lifecycle.on('lost', () => undefined);
  listener.on('n', (message) => {
    assert.equal(message.sequence, next);
    next++;
  });
  const errors = [];
  listener.lifecycle.on('error', (error) => errors.push(error));
  emitter.lifecycle.on('error', (error) => errors.push(error));
  await listener.flush();
  const emitting = (async () => {
    for (let at = 0; at < TOTAL; at++) {
      if (!emitter.emit('n', Buffer.alloc(SIZES[at % SIZES.length], at))) await emitter.drained();
    }
  })();
  for (let restart = 1; restart <= 3; restart++) {
    await until('some went', () => next > (restart * TOTAL) / 5);
    await bus.stop();
    bus = await broker(t, { path: bus.path });
  }
  await soon('all is emitted', emitting);
  await until('all came', () => next > TOTAL || errors.length > 0);
  assert.deepEqual(errors, []);
  assert.equal(next, TOTAL + 1);
});

test('what the next broker does not take is told of, and the rest arrives', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  listener.on('n', (message) => heard.push([message.sequence, message.size]));
  listener.lifecycle.on('lost', () => undefined);
  await listener.flush();
  const gone = Promise.all([lifecycle(emitter, 'disconnect'), lifecycle(listener, 'disconnect')]);
  process.kill(bus.pid, 'SIGKILL');
  await gone;
  for (const size of [10, 100_000, 65_536, 65_537]) emitter.emit('n', Buffer.alloc(size));
  const failed = lifecycle(emitter, 'error');
  await bus.ended;
  await broker(t, { path: bus.path, args: ['--max-payload', '64KiB'] });
  assert.match((await failed).message, /2 events .* limit of 65536 bytes/);
  await until('the rest came', () => heard.length === 2);
  assert.deepEqual(heard, [[1, 10], [3, 65_536]]);
});

test('patterns that change while there is no broker are in force afterwards', async (t) => {
  const bus = await broker(t);
  const both = await client(t, bus, { echo: true });
  const heard = [];
  const dropped = () => assert.fail('it was removed');
  both.on('dropped', dropped);
  both.lifecycle.on('lost', () => undefined);
  await both.flush();
  const gone = lifecycle(both, 'disconnect');
  process.kill(bus.pid, 'SIGKILL');
  await gone;
  both.off('dropped', dropped);
  both.on('added', (message) => heard.push(message.event));
  const flushed = both.flush();
  await bus.ended;
  await broker(t, { path: bus.path });
  await soon('the flush waits for the next broker', flushed);
  both.emit('dropped');
  both.emit('added');
  await until('it came', () => heard.length === 1);
  const { clients } = await both.status();
  assert.equal(clients[0].listeners, 1);
});

test('without reconnecting the end of the connection is the end of the client', async (t) => {
  const bus = await broker(t);
  const only = await connect(bus.path, { reconnect: false });
  const subscription = only.subscribe('a');
  await subscription.ready;
  const closed = lifecycle(only, 'close');
  process.kill(bus.pid, 'SIGKILL');
  assert.equal((await closed).code, 'DISCONNECTED');
  assert.throws(() => only.emit('a'), { code: 'DISCONNECTED' });
  await assert.rejects(soon('the subscription ends', subscription.next()), { code: 'DISCONNECTED' });
});

test('reconnecting gives up after as many tries as it may make', async (t) => {
  const bus = await broker(t);
  const only = await client(t, bus, { reconnect: { first: 1, attempts: 3 } });
  const closed = lifecycle(only, 'close');
  process.kill(bus.pid, 'SIGKILL');
  assert.match((await closed).message, /no broker answers.*connect anew/);
});

test('disconnecting while there is no broker says what was not sent', async (t) => {
  const bus = await broker(t);
  const [one, two] = [await client(t, bus), await client(t, bus)];
  const gone = Promise.all([lifecycle(one, 'disconnect'), lifecycle(two, 'disconnect')]);
  process.kill(bus.pid, 'SIGKILL');
  await gone;
  one.emit('a');
  await assert.rejects(soon('it ends', one.disconnect()), /events that were not sent: 1/);
  await soon('it ends', two.disconnect());
});

test('a client that waits for its broker gets it', async (t) => {
  const bus = await broker(t);
  await bus.stop();
  const waiting = connect(bus.path, { brokerWait: 30_000 });
  await broker(t, { path: bus.path });
  const late = await soon('it connects', waiting);
  await late.disconnect();
});

// What broke: the client came back after its ordinary pause, and told of a loss that there was none.
test('a broker that is succeeded: clients follow at once, lose nothing, double nothing, and are told so', { skip: process.platform !== 'linux' }, async (t) => {
  let bus = await broker(t);
  const reconnect = { first: 60_000, longest: 60_000 };
  const [emitter, listener] = [await client(t, bus, { reconnect }), await client(t, bus, { reconnect })];
  const TOTAL = 60_000;
  const life = [];
  for (const one of [emitter, listener]) {
    one.lifecycle.on('error', (error) => life.push(['error', error]));
    one.lifecycle.on('connect', ({ resumed, doubtful }) => life.push(['connect', resumed, doubtful]));
  }
  listener.lifecycle.on('lost', (lost) => life.push(['lost', lost]));
  emitter.lifecycle.on('lost', () => undefined);
  let next = 1;
  listener.on('n', (message) => {
    assert.equal(message.sequence, next);
    next++;
  });
  await listener.flush();
  const emitting = (async () => {
    for (let at = 0; at < TOTAL; at++) {
      if (!emitter.emit('n', Buffer.alloc(500, at))) await emitter.drained();
    }
  })();
  for (let takeover = 1; takeover <= 3; takeover++) {
    await until('some went', () => next > (takeover * TOTAL) / 5);
    const old = bus;
    bus = await broker(t, { path: bus.path, args: ['--takeover'] });
    await soon('the old one has ended', old.ended);
    await until('both are back', () => life.length === 2 * takeover);
  }
  await soon('all is emitted', emitting);
  await until('all came', () => next > TOTAL);
  assert.deepEqual(life, Array.from({ length: 6 }, () => ['connect', true, 0]));
});
