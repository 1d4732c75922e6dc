// The table of docs/benchmarks.md: `node bench/table.mjs [--repeats 3] [--seconds 1] [--only netcluster]`.
// Needs the broker (NETCLUSTER_BIN, or `netcluster` in PATH), nats-server in PATH, and
// `npm install --no-save nats@2.29.3 @nats-io/transport-node`; what is missing is left out.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    repeats: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1' },
    only: { type: 'string' },
    loads: { type: 'string' },
  },
});

/** How long anything may take, in ms. */
const PATIENCE_MS = 20_000;

/** Events that a load has at least, and about how many go in a second. */
const LOADS = {
  '16 B': { size: 16, listeners: 1, rate: 5e6 },
  '64 B': { size: 64, listeners: 1, rate: 3e6 },
  '1 KB': { size: 1024, listeners: 1, rate: 8e5 },
  '64 KB': { size: 65536, listeners: 1, rate: 15e3 },
  JSON: { size: 0, json: true, listeners: 1, rate: 5e5 },
  '1→4 64 B': { size: 64, listeners: 4, rate: 1.2e6 },
  '1→4 1 KB': { size: 1024, listeners: 4, rate: 4e5 },
  trip: { size: 64, trip: true, rate: 2e4 },
};

/** How many fewer events a system gets that is so much slower. */
const SYSTEMS = {
  netcluster: { label: 'netcluster, a callback per event', share: 1 },
  batches: { label: 'netcluster, batches', share: 1, of: 'netcluster', batches: true },
  nats: { label: 'nats 2.29', share: 0.15 },
  'nats-io': { label: '@nats-io/transport-node', share: 0.15 },
};

class Role {
  constructor(system, role, load) {
    this.child = spawn(process.execPath, [join(import.meta.dirname, 'roles.mjs'), system, role, JSON.stringify(load)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async next() {
    const late = new Promise((_, reject) => {
      this.timer = setTimeout(() => reject(new Error(`nothing within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
    });
    const { value, done } = await Promise.race([this.lines.next(), late]);
    clearTimeout(this.timer);
    if (done) throw new Error('a role ended early');
    return JSON.parse(value);
  }

  go() {
    this.child.stdin.write('\n');
  }

  async end() {
    if (this.child.exitCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.stdin.end();
    const late = setTimeout(() => this.child.kill('SIGKILL'), 3000);
    await ended;
    clearTimeout(late);
  }
}

async function run(system, load, place) {
  const events = Math.ceil(load.rate * Number(options.seconds) * SYSTEMS[system].share);
  const job = { ...load, events, place, batches: SYSTEMS[system].batches, warm: 20000 };
  const name = SYSTEMS[system].of ?? system;
  if (load.trip) {
    job.events = 20000;
    const roles = [new Role(name, 'answer', job), new Role(name, 'trip', job)];
    for (const role of roles) await role.next();
    roles[1].go();
    const times = await roles[1].next();
    await roles[0].end();
    return times;
  }
  const listeners = Array.from({ length: load.listeners }, () => new Role(name, 'listen', job));
  const emitter = new Role(name, 'emit', job);
  let results;
  try {
    for (const role of [...listeners, emitter]) await role.next();
    emitter.go();
    results = await Promise.all(listeners.map((listener) => listener.next()));
  } finally {
    await Promise.all([...listeners, emitter].map((role) => role.end()));
  }
  return results.reduce((sum, { seen, seconds }) => sum + seen / seconds, 0);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function startServers(directory) {
  const socket = join(directory, 'bench.sock');
  const broker = spawn(process.env.NETCLUSTER_BIN ?? 'netcluster', ['serve', '--socket', socket, '--log', 'warn'], { stdio: 'inherit' });
  const port = await freePort();
  const nats = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  nats.on('error', () => console.error('SKIPPED: nats-server is not there'));
  const place = { netcluster: socket, batches: socket, nats: `127.0.0.1:${port}`, 'nats-io': `127.0.0.1:${port}` };
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { place, end: () => [broker, nats].forEach((child) => child.kill()) };
}

const median = (values) => values.sort((one, two) => one - two)[values.length >> 1];
const thousands = (rate) => (rate >= 1e5 ? Math.round(rate / 1000).toLocaleString('en') : (rate / 1000).toFixed(1));

const directory = mkdtempSync(join(tmpdir(), 'netcluster-bench-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
process.once('SIGINT', () => process.exit(130));
const servers = await startServers(directory);
const wanted = options.only?.split(',') ?? Object.keys(SYSTEMS);
const loads = Object.entries(LOADS).filter(([name]) => options.loads === undefined || options.loads.split(',').includes(name));
const before = loadavg()[0];
try {
  const cells = new Map();
  for (let repeat = 0; repeat < Number(options.repeats); repeat++) {
    for (const [name, load] of loads) {
      for (const system of wanted) {
        if (SYSTEMS[system].batches && (load.json || load.trip)) continue;
        const key = `${system}/${name}`;
        try {
          const value = await run(system, load, servers.place[system]);
          cells.set(key, [...(cells.get(key) ?? []), value]);
          console.error(key, value);
        } catch (error) {
          console.error(`SKIPPED: ${key}: ${error.message}`);
        }
      }
    }
  }
  const cell = (system, name, load) => {
    const values = cells.get(`${system}/${name}`);
    if (values === undefined) return '–';
    if (load.trip) return `${median(values.map((one) => one.p50)).toFixed(0)} / ${median(values.map((one) => one.p99)).toFixed(0)}`;
    return thousands(median(values));
  };
  console.log(`| thousand events/s | ${loads.map(([name]) => name).join(' | ')} |`);
  console.log(`|---|${loads.map(() => '---:').join('|')}|`);
  for (const system of wanted) {
    console.log(`| ${SYSTEMS[system].label} | ${loads.map(([name, load]) => cell(system, name, load)).join(' | ')} |`);
  }
  console.log(`load average before: ${before.toFixed(1)}, Node ${process.version}`);
} finally {
  servers.end();
}
