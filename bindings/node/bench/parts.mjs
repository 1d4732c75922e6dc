// What the parts cost, without a socket: `node bench/parts.mjs`. Nanoseconds of CPU per event, the
// best of several rounds.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Outbox } = require('../dist/outbox.js');
const { Inbound } = require('../dist/inbound.js');
const { Registry } = require('../dist/registry.js');
const { Routes } = require('../dist/routes.js');
const { BatchSink, ListenerSink } = require('../dist/sinks.js');
const { Message } = require('../dist/message.js');

const ROUNDS = 7;
const source = { node: 42, client: 7 };

function best(events, run) {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.cpuUsage();
    run(events);
    const { user, system } = process.cpuUsage(began);
    least = Math.min(least, user + system);
  }
  return (least * 1e3) / events;
}

function outbox(take = () => true) {
  const made = new Outbox(16 << 20, () => undefined);
  made.connect({ write: take }, source, 1 << 20);
  made.open();
  return made;
}

const rows = [];
const only = process.argv[2] ?? '';
const measure = (name, events, run) => name.includes(only) && rows.push([name, best(events, run).toFixed(1)]);

for (const size of [0, 16, 64, 96, 128, 1024]) {
  const box = outbox();
  const data = Buffer.alloc(size, 'x');
  measure(`encode ${size} B bytes`, 500_000, (events) => {
    for (let at = 0; at < events; at++) box.bytes('bench', data);
  });
}
for (const size of [16, 32, 48, 64, 256]) {
  const box = outbox();
  const text = 'x'.repeat(size);
  measure(`encode ${size} characters`, 500_000, (events) => {
    for (let at = 0; at < events; at++) box.text('bench', text);
  });
}
{
  const box = outbox();
  const names = Array.from({ length: 1000 }, (_, at) => `sensor.${at}`);
  const data = Buffer.alloc(16);
  measure('encode 16 B, 1,000 names in turn', 500_000, (events) => {
    for (let at = 0; at < events; at++) box.bytes(names[at % 1000], data);
  });
}

function stream(size, names) {
  const chunks = [];
  const box = outbox((chunk) => {
    chunks.push(Buffer.from(chunk.bytes.subarray(0, chunk.length)));
    return true;
  });
  const data = Buffer.alloc(size, 'x');
  while (chunks.length < 4) box.bytes(names[box.sequence % names.length], data);
  return chunks;
}

function receive(name, size, listener, { names = ['bench'], batches = false } = {}) {
  const registry = new Registry({ subscribed() {}, unsubscribed() {} });
  const owner = { threw: (error) => { throw error; } };
  const sink = batches ? new BatchSink('**', listener, owner) : new ListenerSink(listener, false, owner);
  registry.add('**', sink);
  let filled = false;
  const receiver = {
    event: batches
      ? (route, slab, at) => { if (sink.push(route, slab, at)) filled = true; }
      : (route, slab, at) => route.only.take(new Message(route.event, slab, at)),
    control() {},
    settled() {
      if (filled) sink.deliver();
      filled = false;
    },
  };
  const inbound = new Inbound(receiver, new Routes(registry), 1 << 30);
  const chunks = stream(size, names);
  const perChunk = Math.round(chunks[0].length / (32 + size + (size % 8 ? 8 - (size % 8) : 0)));
  measure(name, perChunk * 4 * 100 * (size > 10000 ? 10 : 1), (events) => {
    for (let rest = events, at = 0; rest > 0; at++) {
      const chunk = chunks[at % 4];
      let from = 0;
      while (from < chunk.length) {
        const room = inbound.room();
        const bytes = Math.min(room.length, chunk.length - from);
        room.set(chunk.subarray(from, from + bytes));
        inbound.read(bytes);
        from += bytes;
      }
      rest -= perChunk;
    }
  });
}

let sum = 0;
receive('dispatch 16 B, not looked at', 16, () => { sum++; });
receive('dispatch 16 B, payload', 16, (message) => { sum += message.payload[0]; });
receive('dispatch 64 B, payload', 64, (message) => { sum += message.payload[0]; });
receive('dispatch 1 KB, payload', 1024, (message) => { sum += message.payload[0]; });
receive('dispatch 64 KB, payload', 65536, (message) => { sum += message.payload[0]; });
receive('dispatch 16 B, text', 16, (message) => { sum += message.text.length; });
receive('dispatch 16 B, 1,000 names in turn', 16, () => { sum++; }, { names: Array.from({ length: 1000 }, (_, at) => `s.${at}`) });
for (const size of [16, 64, 1024]) {
  receive(`dispatch ${size} B, batches`, size, (batch) => {
    for (let at = 0; at < batch.length; at++) sum += batch.buffer[batch.start(at)];
  }, { batches: true });
}

console.log('| part | ns |\n|---|---:|');
for (const [name, ns] of rows) console.log(`| ${name} | ${ns} |`);
if (sum === 0 && only === '') throw new Error('nothing was received');
