// Brokers that lie, stall, or send bytes one by one.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { connect } from '../index.mjs';
import { client, liar, lifecycle, soon, until } from './lib/support.mjs';

const { encodeFrame } = createRequire(import.meta.url)('../dist/control.js');
const { Kind } = createRequire(import.meta.url)('../dist/limits.js');

const ME = { node: 42, client: 7 };
const OTHER = { node: 42, client: 8 };

function welcome(version = 1, magic = 0x3142434e, maxPayload = 1 << 21) {
  const payload = Buffer.alloc(32);
  payload.writeUInt32LE(magic, 0);
  payload.writeUInt16LE(version, 4);
  payload.writeBigUInt64LE(BigInt(maxPayload), 8);
  payload.writeBigUInt64LE(99n, 16);
  return encodeFrame(Kind.welcome, ME, 0, '', payload);
}

function fatal(code, text) {
  const payload = Buffer.alloc(8 + text.length);
  payload.writeUInt32LE(code, 0);
  payload.write(text, 8);
  return encodeFrame(Kind.error, ME, 0, '', payload);
}

const event = (sequence, name, payload) => encodeFrame(Kind.event, OTHER, sequence, name, Buffer.from(payload));

/** A frame with bytes of its header changed. */
function changed(frame, changes) {
  for (const [at, byte] of Object.entries(changes)) frame[at] = byte;
  return frame;
}

/** Answers hello with a welcome, acks what is subscribed. */
function broker(maxPayload) {
  return (socket) => {
    let isWelcomed = false;
    socket.on('data', (data) => {
      if (!isWelcomed) {
        isWelcomed = true;
        socket.write(welcome(1, undefined, maxPayload));
        return;
      }
      for (let at = 0; at + 24 <= data.length && data.readUInt32LE(at) >= 24; at += data.readUInt32LE(at)) {
        if (data[at + 4] === Kind.subscribe) socket.write(encodeFrame(Kind.ack, ME, data.readUInt32LE(at + 16)));
        if (data[at + 4] === Kind.ping) socket.write(encodeFrame(Kind.pong, ME, data.readUInt32LE(at + 16), '', Buffer.alloc(8)));
      }
    });
  };
}

for (const [what, talk, code, text] of [
  ['noise', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n and more'), 'PROTOCOL', /is it a netcluster broker/],
  ['another version', (socket) => socket.write(welcome(2)), 'VERSION', /speaks version 2/],
  ['no magic', (socket) => socket.write(welcome(1, 7)), 'PROTOCOL', /magic/],
  ['an event before the welcome', (socket) => socket.write(event(1, 'a', 'x')), 'PROTOCOL', /before the welcome/],
  ['an ack before the welcome', (socket) => socket.write(encodeFrame(Kind.ack, ME, 1)), 'PROTOCOL', /before the welcome/],
  ['a busy broker that did not read the hello', (socket) => socket.end(fatal(9, 'too many')), 'CLOSED_BY_BROKER', /busy.*too many/],
  ['an unknown error', (socket) => socket.end(fatal(77, 'new')), 'CLOSED_BY_BROKER', /unknown.*new/],
  ['an end without a word', (socket) => socket.end(), 'BROKER_NOT_RUNNING', /netcluster serve/],
]) {
  test(`connecting to ${what} fails and says why`, async (t) => {
    const path = await liar(t, talk);
    await assert.rejects(soon('it fails', connect(path)), (error) => {
      assert.equal(error.code, code);
      assert.match(error.message, text);
      return true;
    });
  });
}

test('a broker that says nothing is given up', async (t) => {
  const path = await liar(t, () => undefined);
  await assert.rejects(connect(path, { connectTimeout: 50 }), { code: 'TIMEOUT' });
});

for (const [what, frame] of [
  ['misaligned', changed(event(1, 'a', 'x'), { 0: 41 })],
  ['unknown kind', changed(event(1, 'a', 'x'), { 4: 0x77 })],
  ['unknown flags', changed(event(1, 'a', 'x'), { 5: 0x0f })],
  ['unknown flags', changed(event(1, 'a', 'x'), { 5: 0x37 })],
  ['unknown flags', changed(encodeFrame(Kind.ack, ME, 1), { 5: 0x10 })],
  ['name too long', changed(event(1, 'a', 'x'), { 6: 0, 7: 1 })],
  ['too short', changed(event(1, 'a', 'x'), { 0: 24 })],
  ['payload too large', changed(encodeFrame(Kind.lost, OTHER, 1, '', Buffer.alloc(8)), { 1: 0x20 })],
  ['event without a name', encodeFrame(Kind.event, OTHER, 1)],
  ['second welcome', welcome()],
  ['no broker sends', encodeFrame(Kind.subscribe, ME, 1, 'a')],
  ['no broker sends', encodeFrame(Kind.shared, ME, 0, '', Buffer.alloc(16))],
]) {
  test(`a broker that breaks the protocol (${what}) ends the client, which says so`, async (t) => {
    const path = await liar(t, (socket) => {
      broker()(socket);
      socket.on('data', (data) => data.includes('now') && socket.write(frame));
    });
    const only = await client(t, path);
    const closed = lifecycle(only, 'close');
    only.emit('now');
    const error = await closed;
    assert.equal(error.code, 'DISCONNECTED');
    assert.equal(error.cause.code, 'PROTOCOL');
    assert.match(error.message, new RegExp(what));
  });
}

test('frames that come byte by byte are the same frames', async (t) => {
  const path = await liar(t, (socket) => {
    broker()(socket);
    socket.on('data', async (data) => {
      if (!data.includes('now')) return;
      const all = Buffer.concat([event(1, 'a.λ', 'one'), event(2, 'a.b', ''), event(3, 'a.λ', 'x'.repeat(500))]);
      for (const byte of all) {
        socket.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
    });
  });
  const only = await client(t, path);
  const heard = [];
  only.on('a.*', (message) => heard.push([message.event, message.payload.toString()]));
  await only.flush();
  only.emit('now');
  await until('all came', () => heard.length === 3);
  assert.deepEqual(heard, [['a.λ', 'one'], ['a.b', ''], ['a.λ', 'x'.repeat(500)]]);
});

test('what is announced and does not come takes no memory', async (t) => {
  const frame = event(1, 'a', 'x');
  frame.writeUInt32LE(1 << 30, 0);
  const path = await liar(t, (socket) => {
    broker(1 << 30)(socket);
    socket.on('data', (data) => data.includes('now') && socket.write(Buffer.concat([event(0, 'first', ''), frame])));
  });
  const only = await client(t, path);
  const came = new Promise((resolve) => only.on('first', resolve));
  const before = process.memoryUsage().arrayBuffers;
  await only.flush();
  only.emit('now');
  await soon('the first event', came);
  await new Promise(setImmediate);
  assert.ok(process.memoryUsage().arrayBuffers - before < 16 << 20);
  assert.ok(only.isConnected);
});

test('why a broker ended the connection is told although writing failed first', async (t) => {
  const path = await liar(t, (socket) => {
    broker()(socket);
    socket.on('data', (data) => {
      if (!data.includes('now')) return;
      // Its own end stays open until what it says is written: as a broker does that is done.
      socket.end(fatal(8, 'too slow'), () => socket.destroy());
    });
  });
  const only = await client(t, path, { reconnect: { attempts: 0 } });
  const gone = lifecycle(only, 'disconnect');
  only.emit('now');
  let isOver = false;
  const emitting = (async () => {
    while (!isOver) {
      try {
        only.emit('n', Buffer.alloc(100_000));
      } catch {
        // It is over, or its buffer is full.
      }
      await new Promise(setImmediate);
    }
  })();
  const { reason } = await gone;
  isOver = true;
  await emitting;
  assert.equal(reason.reason, 'stalled');
});

test('payloads that are not what they claim are errors of the accessor alone', async (t) => {
  const text = changed(event(1, 'text', [0xff, 0xfe, 0, 0, 0, 0, 0, 0]), { 5: 0x10 });
  const json = changed(event(2, 'json', '{"a":1,}'), { 5: 0x20 });
  const path = await liar(t, (socket) => {
    broker()(socket);
    socket.on('data', (data) => data.includes('now') && socket.write(Buffer.concat([text, json])));
  });
  const only = await client(t, path);
  const heard = [];
  only.on('**', (message) => heard.push(message));
  await only.flush();
  only.emit('now');
  await until('both came', () => heard.length === 2);
  assert.equal(heard[0].encoding, 'text');
  assert.throws(() => heard[0].data, { code: 'ENCODING' });
  assert.deepEqual([...heard[0].payload.subarray(0, 2)], [0xff, 0xfe]);
  assert.throws(() => heard[1].data, { code: 'ENCODING' });
  assert.equal(heard[1].text, '{"a":1,}');
});

test('a ping of the broker is answered in its place, with the last event', async (t) => {
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  const path = await liar(t, (socket) => {
    broker()(socket);
    socket.on('data', (data) => {
      for (let at = 0; at + 24 <= data.length && data.readUInt32LE(at) >= 24; at += data.readUInt32LE(at)) {
        if (data[at + 4] === Kind.event) socket.write(encodeFrame(Kind.ping, ME, 77));
        if (data[at + 4] === Kind.pong) answer([data.readUInt32LE(at + 16), data.readUInt32LE(at + 24)]);
      }
    });
  });
  const only = await client(t, path);
  only.emit('now');
  assert.deepEqual(await soon('the pong', answered), [77, 1]);
});

test('a flush whose events may be gone is refused', async (t) => {
  const path = await liar(t, (socket) => {
    let isWelcomed = false;
    socket.on('data', (data) => {
      if (!isWelcomed) socket.write(welcome());
      isWelcomed = true;
      // Read, and never answered.
      if (data.includes('read')) socket.destroy();
    });
  });
  const only = await client(t, path, { reconnect: false });
  only.emit('read');
  await assert.rejects(soon('the flush ends', only.flush()), (error) => {
    assert.equal(error.code, 'CONNECTION_LOST');
    assert.match(error.message, /events 1 to 1 may be lost/);
    return true;
  });
});

test('a pattern that the broker refuses is told of, and ends its subscription', async (t) => {
  const path = await liar(t, (socket) => {
    let isWelcomed = false;
    socket.on('data', (data) => {
      if (!isWelcomed) socket.write(welcome());
      else {
        const no = Buffer.alloc(10);
        no.writeUInt32LE(7, 0);
        no.write('no', 8);
        socket.write(encodeFrame(Kind.error, ME, data.readUInt32LE(16), '', no));
      }
      isWelcomed = true;
    });
  });
  const only = await client(t, path);
  const failed = lifecycle(only, 'error');
  const subscription = only.subscribe('too.many');
  assert.match((await failed).message, /refused the pattern too\.many: no/);
  await assert.rejects(subscription.ready, { code: 'PATTERN_REFUSED' });
  await assert.rejects(soon('it ends', subscription.next()), { code: 'PATTERN_REFUSED' });
  assert.deepEqual(only.eventNames(), []);
});

test('what access rules do not allow is an error, and the connection goes on', async (t) => {
  const refusal = (number, text) => {
    const no = Buffer.alloc(8 + text.length);
    no.writeUInt32LE(14, 0);
    no.write(text, 8);
    return encodeFrame(Kind.error, ME, number, '', no);
  };
  const path = await liar(t, (socket) => {
    let isWelcomed = false;
    socket.on('data', (data) => {
      if (!isWelcomed) socket.write(welcome());
      else socket.write(refusal(data.readUInt32LE(16), 'not here'));
      if (isWelcomed) socket.write(refusal(0, 'events were not delivered'));
      isWelcomed = true;
    });
  });
  const only = await client(t, path);
  const told = [];
  only.lifecycle.on('error', (error) => told.push(error));
  const subscription = only.subscribe('secret');
  await assert.rejects(subscription.ready, { code: 'FORBIDDEN', message: /secret: not here/ });
  await until('both are told', () => told.length === 2);
  assert.deepEqual(told.map((error) => error.code), ['FORBIDDEN', 'FORBIDDEN']);
  assert.ok(told.some((error) => error.message === 'events were not delivered'));
});

// What broke: a goodbye before the welcome was called a breach of the protocol, and the client gave up.
test('who is turned away by a broker that has a successor goes to that one, at the first connection too', async (t) => {
  const goodbye = Buffer.alloc(16);
  goodbye.writeUInt32LE(1, 8);
  let connections = 0;
  const path = await liar(t, (socket) => {
    const isLast = ++connections === 3;
    socket.once('data', () => (isLast ? socket.write(welcome()) : socket.end(encodeFrame(Kind.bye, ME, 0, '', goodbye))));
  });
  const made = await client(t, path, { brokerWait: 0 });
  assert.equal(connections, 3);
  assert.equal(made.isConnected, true);
});
