// One process of a load: `node roles.mjs SYSTEM ROLE JSON`. A listener prints `ready`, then one
// line with what it counted; an emitter emits when it is told to by a line.
import { once } from 'node:events';
import { systems } from './systems.mjs';

const [system, role, json] = process.argv.slice(2);
const load = JSON.parse(json);
const bus = await systems[system](load);

process.stdin.resume();
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

if (role === 'listen') {
  // The clock starts behind the first tenth: by then the code is compiled.
  const warm = Math.ceil(load.events / 10);
  let seen = 0;
  let bytes = 0;
  let before = 0;
  let first = 0n;
  const count = (size, events = 1) => {
    seen += events;
    bytes += size;
    if (first === 0n && seen >= warm) {
      first = process.hrtime.bigint();
      before = seen;
    }
    if (seen >= load.events) {
      const seconds = Number(process.hrtime.bigint() - first) / 1e9;
      say({ seen: seen - before, bytes, seconds });
    }
  };
  await bus.listen(count, load);
  say('ready');
  await once(process.stdin, 'end');
  process.exit(0);
} else if (role === 'emit') {
  say('ready');
  await once(process.stdin, 'data');
  const began = process.hrtime.bigint();
  await bus.emit(load);
  say({ seconds: Number(process.hrtime.bigint() - began) / 1e9 });
  await once(process.stdin, 'end');
  process.exit(0);
} else if (role === 'answer') {
  await bus.answer();
  say('ready');
  await once(process.stdin, 'end');
  process.exit(0);
} else {
  say('ready');
  await once(process.stdin, 'data');
  const times = await bus.trip(load);
  times.sort((one, two) => one - two);
  say({ p50: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] });
  process.exit(0);
}
