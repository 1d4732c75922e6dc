// Events between clients of a real broker.
import assert from 'node:assert/strict';
import test from 'node:test';
import { NetclusterError, connect } from '../index.mjs';
import { broker, client, soon, until } from './lib/support.mjs';

test('a listener gets what another client emits, with its source and sequence', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  listener.on('a.*', (message) => heard.push(message));
  await listener.flush();
  emitter.emit('b.1', Buffer.from('not heard'));
  emitter.emit('a.1', Buffer.from('one'));
  emitter.emit('a.2');
  await emitter.flush();
  await until('both came', () => heard.length === 2);
  assert.deepEqual(heard.map((message) => message.event), ['a.1', 'a.2']);
  assert.deepEqual(heard.map((message) => message.payload.toString()), ['one', '']);
  assert.deepEqual(heard.map((message) => message.sequence), [2, 3]);
  assert.deepEqual(heard[0].source, emitter.source);
});

test('what is emitted is what is got: bytes, text, JSON, nothing', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const values = [
    ['bytes', Buffer.from([1, 2, 3])],
    ['bytes', Buffer.alloc(100_000, 7)],
    ['text', ''],
    ['text', 'TESTE'],
    ['text', 'größe λ 𝄞'],
    ['text', 'x'.repeat(25)],
    ['text', 'ä'.repeat(3000)],
    ['text', 'ж'.repeat(50_000)],
    ['json', { a: [1, 2, { b: null }], c: 'ü' }],
    ['json', null],
    ['json', false],
    ['json', 1.5],
    ['json', 'x'.repeat(70_000).split('')],
  ];
  const heard = listener.subscribe('**');
  await heard.ready;
  for (const [, value] of values) emitter.emit('value', value);
  for (const [encoding, value] of values) {
    const { value: message } = await soon('a value comes', heard.next());
    assert.equal(message.encoding, encoding);
    assert.deepEqual(message.data, value);
  }
});

test('views, arrays and memory are emitted as their bytes', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = listener.subscribe('bytes');
  await heard.ready;
  const memory = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer;
  for (const data of [new Uint8Array(memory, 2, 3), new Uint16Array(memory, 2, 1), new DataView(memory, 4), memory]) {
    emitter.emit('bytes', data);
  }
  const got = [];
  for await (const message of heard) if (got.push([...message.payload]) === 4) break;
  assert.deepEqual(got, [[3, 4, 5], [3, 4], [5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]]);
});

test('listeners are called in order, once each, and as often as they were added', async (t) => {
  const bus = await broker(t);
  const listener = await client(t, bus, { echo: true });
  const calls = [];
  const twice = () => calls.push('twice');
  listener.on('a', () => calls.push('first'));
  listener.on('a', twice).on('a', twice);
  listener.on('**', () => calls.push('any'));
  listener.once('*', () => calls.push('once'));
  listener.prependListener('a', () => calls.push('before'));
  assert.deepEqual(listener.eventNames(), ['a', '**', '*']);
  assert.equal(listener.listenerCount('a'), 4);
  await listener.flush();
  listener.emit('a');
  await until('all are called', () => calls.length === 6);
  assert.deepEqual(calls.splice(0), ['before', 'first', 'twice', 'twice', 'any', 'once']);
  listener.off('a', twice);
  listener.emit('a');
  await until('all are called', () => calls.length === 4);
  assert.deepEqual(calls.splice(0), ['before', 'first', 'twice', 'any']);
  assert.deepEqual(listener.eventNames(), ['a', '**']);
  listener.removeAllListeners();
  assert.deepEqual(listener.eventNames(), []);
  assert.deepEqual(await listener.audience('a'), { clients: 0, brokers: 0 });
});

test('one listener for many names, and a listener that is removed by another one', async (t) => {
  const bus = await broker(t);
  const both = await client(t, bus, { echo: true });
  const heard = [];
  const second = () => heard.push('second');
  both.on('go', () => both.off('go', second));
  both.on('go', second);
  both.on('n.**', (message) => heard.push(message.event));
  await both.flush();
  both.emit('go');
  const names = Array.from({ length: 5000 }, (_, at) => `n.${at}.λ`);
  for (const name of [...names, ...names]) both.emit(name);
  await until('all came', () => heard.length >= 10_000);
  assert.deepEqual(heard.filter((name) => name !== 'second'), [...names, ...names]);
});

test('batches have every event in order, of several names', async (t) => {
  const bus = await broker(t);
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  let batches = 0;
  listener.onBatch('n.*', (batch) => {
    batches++;
    for (let at = 0; at < batch.length; at++) {
      const view = batch.buffer.subarray(batch.start(at), batch.end(at));
      assert.deepEqual(view, batch.payload(at));
      heard.push(`${batch.event(at)}=${batch.payload(at)}`);
    }
    assert.equal([...batch].length, batch.length);
  });
  await listener.flush();
  const expected = [];
  for (let at = 0; at < 20_000; at++) {
    const name = `n.${at % 3 === 0 ? 'x' : 'y'}`;
    expected.push(`${name}=${at}`);
    if (!emitter.emit(name, Buffer.from(String(at)))) await emitter.drained();
  }
  await until('all came', () => heard.length === expected.length);
  assert.deepEqual(heard, expected);
  assert.ok(batches < heard.length);
});

test('channels are apart', async (t) => {
  const bus = await broker(t);
  const [emitter, other] = [await client(t, bus, { channel: 'a' }), await client(t, bus, { channel: 'b' })];
  other.on('**', () => assert.fail('another channel'));
  await other.flush();
  emitter.emit('x');
  await emitter.flush();
  await other.flush();
});

test('what cannot be emitted throws, and nothing is sent', async (t) => {
  const bus = await broker(t, { args: ['--max-payload', '64KiB'] });
  const [emitter, listener] = [await client(t, bus), await client(t, bus)];
  const heard = [];
  listener.on('**', (message) => heard.push(message.event));
  await listener.flush();
  const circle = {};
  circle.self = circle;
  const fails = (code, event, data) =>
    assert.throws(() => emitter.emit(event, data), (error) => error instanceof NetclusterError && error.code === code, code);
  fails('JSON', 'x', circle);
  fails('JSON', 'x', 1n);
  fails('JSON', 'x', () => undefined);
  fails('JSON', 'x', Symbol('s'));
  fails('NAME', '', 'x');
  fails('NAME', 'a.*', 'x');
  fails('NAME', 'a.**.b', 'x');
  fails('NAME', 'x'.repeat(256), 'x');
  fails('NAME', 'a\ud800', 'x');
  fails('PAYLOAD_TOO_LARGE', 'x', Buffer.alloc((64 << 10) + 1));
  fails('PAYLOAD_TOO_LARGE', 'x', 'x'.repeat((64 << 10) + 1));
  for (const pattern of ['', 'a.>', 'a*', '#', '**.**.**.**.**', 'x'.repeat(256)]) {
    assert.throws(() => listener.on(pattern, () => undefined), { code: 'PATTERN' }, pattern);
  }
  assert.throws(() => listener.on('a', 'no function'), { name: 'TypeError', message: 'a listener is a function, not a string' });
  assert.throws(() => emitter.emit(7, 'x'), { name: 'TypeError', message: 'an event name is a string, not a number' });
  assert.throws(() => listener.on(null, () => undefined), { name: 'TypeError', message: 'a pattern is a string, not null' });
  assert.throws(() => emitter.emit('x', () => undefined), /as JSON: it is a function$/);
  emitter.emit('last', Buffer.alloc(64 << 10));
  await until('the last came', () => heard.length > 0);
  assert.deepEqual(heard, ['last']);
  assert.equal(emitter.isClosed, false);
});

test('a listener that throws or rejects is told of, and the others are called', async (t) => {
  const bus = await broker(t);
  const both = await client(t, bus, { echo: true });
  const errors = [];
  let calls = 0;
  both.lifecycle.on('error', (error) => errors.push(error));
  both.on('a', () => { throw new Error('sync'); });
  both.on('a', async () => { throw new Error('async'); });
  both.onBatch('a', () => { throw new Error('batch'); });
  both.on('a', () => calls++);
  await both.flush();
  both.emit('a');
  await until('all are told', () => errors.length === 3 && calls === 1);
  assert.deepEqual(errors.map((error) => error.cause.message).sort(), ['async', 'batch', 'sync']);
  assert.ok(errors.every((error) => error.code === 'LISTENER_THREW'));
});

test('an error that nobody listens to is a warning of the process', async (t) => {
  const bus = await broker(t);
  const both = await client(t, bus, { echo: true });
  const warned = new Promise((resolve) => process.once('warning', resolve));
  both.on('error', () => { throw new Error('boom'); });
  await both.flush();
  both.emit('error', 'an event of the bus like any other');
  assert.match((await soon('the warning', warned)).message, /listener of error threw: boom/);
});

test('after disconnect every call says so', async (t) => {
  const bus = await broker(t);
  const gone = await connect(bus.path);
  gone.emit('a');
  await gone.disconnect();
  await gone.disconnect();
  assert.throws(() => gone.emit('a'), { code: 'DISCONNECTED' });
  assert.throws(() => gone.on('a', () => undefined), { code: 'DISCONNECTED' });
  for (const call of [gone.flush(), gone.status(), gone.ready('a'), gone.drained(), gone.clusterReady(1)]) {
    await assert.rejects(call, { code: 'DISCONNECTED' });
  }
  assert.equal(gone.isClosed, true);
});

test('disconnect brings everything out, and await using does it', async (t) => {
  const bus = await broker(t);
  const listener = await client(t, bus);
  let seen = 0;
  listener.on('n', () => seen++);
  await listener.flush();
  const emitter = await connect(bus.path);
  for (let at = 0; at < 100_000; at++) emitter.emit('n', Buffer.alloc(16));
  await emitter[Symbol.asyncDispose]();
  await until('all came', () => seen === 100_000);
});

test('with no broker the error says how to start one', async (t) => {
  await assert.rejects(connect('/nowhere/bus.sock'), (error) => {
    assert.equal(error.code, 'BROKER_NOT_RUNNING');
    assert.match(error.message, /\/nowhere\/bus\.sock.*netcluster serve.*startBroker/);
    return true;
  });
  await assert.rejects(connect('/nowhere/bus.sock', { nonsense: 1 }), TypeError);
  await assert.rejects(connect(7), TypeError);
});

test('status, audience and cluster answer', async (t) => {
  const bus = await broker(t);
  const one = await client(t, bus, { name: 'thermometer' });
  one.on('a', () => undefined);
  await one.flush();
  const status = await one.status();
  assert.equal(status.pid, bus.pid);
  assert.ok(status.clients.some((it) => it.name === 'thermometer'));
  const two = await client(t, bus);
  assert.deepEqual(await two.audience('a'), { clients: 1, brokers: 0 });
  assert.deepEqual(await two.clusterReady(1000), []);
});

test('control asks the broker, refusals say why, and who is kicked or drained is told', async (t) => {
  const bus = await broker(t);
  const one = await client(t, bus);
  const two = await client(t, bus);
  const told = [];
  two.lifecycle.on('error', (error) => told.push(error.code));
  const disconnected = new Promise((resolve) => two.lifecycle.once('disconnect', resolve));
  await assert.rejects(one.control({ do: 'kick', client: 99999 }), { code: 'REFUSED', message: /there is no client 99999/ });
  await assert.rejects(one.control({ do: 'x'.repeat(5000) }), { code: 'PAYLOAD_TOO_LARGE' });
  assert.deepEqual(await one.control({ do: 'log-level' }), { level: 'error' });
  assert.deepEqual(await one.control({ do: 'kick', client: two.source.client, reason: 'enough' }), { kicked: 1 });
  const { reason } = await disconnected;
  assert.equal(reason.reason, 'kicked');
  assert.match(reason.message, /enough/);
  await new Promise((resolve) => two.lifecycle.once('connect', resolve));
  const ended = new Promise((resolve) => two.lifecycle.once('disconnect', resolve));
  await one.control({ do: 'drain' });
  assert.equal((await ended).reason.code, 'BROKER_SHUT_DOWN');
  assert.ok(told.includes('DRAINING'));
});
