// The vectors of bindings/conformance, which are made from PROTOCOL.md.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';

const require = createRequire(import.meta.url);
const limits = require('../dist/limits.js');
const control = require('../dist/control.js');
const { brokerReason } = require('../dist/errors.js');
const { Inbound, headerFlaw } = require('../dist/inbound.js');
const { Message } = require('../dist/message.js');
const names = require('../dist/names.js');
const { Outbox } = require('../dist/outbox.js');
const { Registry } = require('../dist/registry.js');
const { Routes } = require('../dist/routes.js');
const { Trie } = require('../dist/trie.js');

const vectors = JSON.parse(readFileSync(new URL('../../conformance/vectors.json', import.meta.url), 'utf8'));
const bytesOf = (hex) => Buffer.from(hex, 'hex');

test('numbers and limits', () => {
  assert.equal(limits.PROTOCOL_VERSION, vectors.protocol_version);
  for (const [name, value] of Object.entries(vectors.limits)) {
    if (limits[name] !== undefined) assert.equal(limits[name], value, name);
  }
  assert.deepEqual(
    Object.fromEntries(vectors.kinds.map(({ name, number }) => [name, number])),
    { ...limits.Kind },
  );
  for (const { name, number } of vectors.encodings) assert.equal(limits.Encoding[name], number);
  for (const { name, number } of vectors.errors) assert.equal(brokerReason(number), name);
  for (const { name, number } of vectors.loss_reasons) assert.equal(control.lossReason(number), name);
});

/** What is read of these bytes, in pieces of this size. */
function read(bytes, piece, maxPayload = 1 << 30) {
  const got = [];
  const receiver = {
    event: (route, slab, at) => got.push(new Message(route.event, slab, at)),
    control: (frame) => got.push(frame),
    settled() {},
  };
  const registry = new Registry({ subscribed() {}, unsubscribed() {} });
  const inbound = new Inbound(receiver, new Routes(registry), maxPayload);
  for (let at = 0; at < bytes.length; at += piece) {
    const part = bytes.subarray(at, at + piece);
    inbound.room().set(part);
    inbound.read(part.length);
  }
  return got;
}

test('frames are read as what they mean, however they are cut', () => {
  for (const frame of vectors.frames) {
    const bytes = bytesOf(frame.bytes);
    for (const piece of [1, 7, 24, bytes.length]) {
      const [got, ...more] = read(bytes, piece);
      assert.deepEqual(more, []);
      if (frame.kind === 'event') {
        assert.equal(got.event, frame.name);
        assert.equal(got.encoding, frame.encoding);
        assert.deepEqual(got.source, frame.source);
      } else {
        assert.equal(got.kind, limits.Kind[frame.kind]);
        assert.deepEqual({ node: got.sourceNode, client: got.sourceClient }, frame.source);
      }
      assert.equal(got.payload.toString('hex'), frame.payload);
      assert.ok(Math.abs(got.sequence - Number(frame.sequence)) <= Number(frame.sequence) / 2 ** 52);
    }
  }
});

test('all frames behind each other, cut anywhere', () => {
  const frames = vectors.frames.map((frame) => bytesOf(frame.bytes));
  const whole = Buffer.concat(Array.from({ length: 200 }, () => frames).flat());
  for (const piece of [61, 4096, 5000, 8192]) {
    const got = read(whole, piece);
    assert.equal(got.length, 200 * frames.length);
    got.forEach((frame, at) => assert.equal(frame.payload.toString('hex'), vectors.frames[at % frames.length].payload));
  }
});

test('frames are written as the document has them', () => {
  for (const { kind, source, sequence, name, payload, encoding, bytes } of vectors.frames) {
    if (BigInt(sequence) > BigInt(Number.MAX_SAFE_INTEGER)) continue;
    if (kind !== 'event') {
      const frame = control.encodeFrame(limits.Kind[kind], source, Number(sequence), name, bytesOf(payload));
      assert.equal(frame.toString('hex'), bytes);
      continue;
    }
    let written = '';
    const outbox = new Outbox(1 << 20, () => undefined);
    outbox.connect({ write: (chunk) => ((written += chunk.bytes.toString('hex', 0, chunk.length)), true) }, source, 1 << 20);
    outbox.open();
    // Those before it have other numbers.
    for (let number = 1; number < Number(sequence); number++) outbox.bytes('before', Buffer.alloc(0));
    outbox.flush();
    written = '';
    const text = bytesOf(payload).toString();
    if (encoding === 'bytes') outbox.bytes(name, bytesOf(payload));
    else outbox.text(name, text, limits.Encoding[encoding]);
    outbox.flush();
    assert.equal(written, bytes);
  }
});

test('hello and welcome', () => {
  const hello = vectors.frames.find(({ kind }) => kind === 'hello');
  const { echo, latest, max_queue, previous, client_name } = hello.fields;
  const payload = control.encodeHello({ echo, latest, maxQueue: Number(max_queue), previous, clientName: client_name });
  assert.equal(payload.toString('hex'), hello.payload);
  for (const { payload, fields } of vectors.frames.filter(({ kind }) => kind === 'welcome')) {
    const welcome = control.decodeWelcome(bytesOf(payload));
    assert.equal(String(welcome.maxPayload), String(fields.max_payload));
    assert.equal(String(welcome.run), String(fields.run));
  }
});

test('broken headers are refused by their names', () => {
  for (const { bytes, error, max_payload } of vectors.broken) {
    const header = bytesOf(bytes);
    assert.equal(headerFlaw(header.readUInt32LE(0), header.readUInt32LE(4), max_payload)?.replaceAll(' ', '-'), error, bytes);
    for (const piece of [1, header.length]) assert.throws(() => read(header, piece, max_payload), { code: 'PROTOCOL' });
  }
});

test('patterns match what they should', () => {
  const all = new Trie();
  for (const { pattern, name, matches } of vectors.matches) {
    const trie = new Trie();
    trie.add(pattern);
    all.add(pattern);
    assert.equal(trie.matches(name).has(pattern), matches, `${pattern} ${name}`);
    trie.remove(pattern);
    assert.equal(trie.matches(name).size, 0);
  }
  for (const { pattern, name, matches } of vectors.matches) assert.equal(all.matches(name).has(pattern), matches);
  const patterns = [...new Set(vectors.matches.map(({ pattern }) => pattern))];
  for (const gone of patterns) {
    all.remove(gone);
    for (const { pattern, name, matches } of vectors.matches) {
      const isThere = patterns.indexOf(pattern) > patterns.indexOf(gone);
      assert.equal(all.matches(name).has(pattern), matches && isThere);
    }
  }
});

test('names that are allowed', () => {
  const check = { event: names.checkEvent, channel: names.checkChannel, pattern: names.checkPattern };
  for (const { of, name, good } of vectors.names) {
    if (good) check[of](name);
    else assert.throws(() => check[of](name), { code: of === 'pattern' ? 'PATTERN' : 'NAME' }, `${of} ${name}`);
  }
});
