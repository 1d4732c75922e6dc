// Where the broker's program is found, and the packages that have it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { brokerPackage, findBroker, startBroker } from '../index.mjs';
import { Program } from './lib/programs.mjs';
import { directory } from './lib/support.mjs';

const PACKAGE = resolve(import.meta.dirname, '..');

function withEnvironment(values, run) {
  const before = { ...process.env };
  Object.assign(process.env, values);
  try {
    return run();
  } finally {
    for (const name of Object.keys(values)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

test('NETCLUSTER_BIN comes first, then PATH; without any the error says what to do', (t) => {
  const root = directory(t);
  const programs = ['one', 'two'].map((name) => {
    mkdirSync(join(root, name));
    const path = join(root, name, 'netcluster');
    writeFileSync(path, '#!/bin/sh\n');
    chmodSync(path, 0o755);
    return path;
  });
  const PATH = `${join(root, 'nowhere')}:${join(root, 'two')}`;
  assert.equal(withEnvironment({ NETCLUSTER_BIN: programs[0], PATH }, findBroker), programs[0]);
  assert.equal(withEnvironment({ NETCLUSTER_BIN: '', PATH }, findBroker), programs[1]);
  assert.throws(() => withEnvironment({ NETCLUSTER_BIN: join(root, 'gone'), PATH }, findBroker), /NETCLUSTER_BIN names .*gone/);
  assert.throws(() => withEnvironment({ NETCLUSTER_BIN: '', PATH: root }, findBroker), (error) => {
    assert.equal(error.code, 'NO_BINARY');
    assert.match(error.message, /cargo install netcluster.*npm install @netcluster\/broker-.*NETCLUSTER_BIN/);
    return true;
  });
});

test('a program that is no broker, or ends, is an error that says what it said', async (t) => {
  const root = directory(t);
  const path = join(root, 'netcluster');
  writeFileSync(path, '#!/bin/sh\necho no such thing >&2\nexit 7\n');
  chmodSync(path, 0o755);
  await assert.rejects(startBroker({ path: join(root, 'a.sock'), binary: path, log: 'off' }), (error) => {
    assert.equal(error.code, 'BROKER');
    assert.match(error.message, /ended \(7\): no such thing/);
    return true;
  });
  await assert.rejects(startBroker({ path: join(root, 'a.sock'), binary: join(root, 'gone') }), { code: 'NO_BINARY' });
});

test('a broker ends with the process that started it, however that ends', async (t) => {
  const root = directory(t);
  const socket = join(root, 'bus.sock');
  writeFileSync(
    join(root, 'start.mjs'),
    `import { startBroker } from ${JSON.stringify(join(PACKAGE, 'index.mjs'))};
     const broker = await startBroker({ path: ${JSON.stringify(socket)} });
     console.log(broker.pid);
     setTimeout(() => process.kill(process.pid, 'SIGKILL'), 10);`,
  );
  const program = new Program(t, root, [process.execPath, 'start.mjs']);
  const pid = Number(await program.says(/^\d+$/));
  await program.ended;
  const isThere = () => {
    try {
      // A child that nobody waits for any more stays a zombie where process 1 does not wait either.
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return false;
    }
  };
  while (isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('the packages for this machine: filled, installed, found and run', async (t) => {
  const root = directory(t);
  const env = { ...process.env, NETCLUSTER_PACKAGES_OUT: join(root, 'out') };
  const target = `${process.platform}-${process.arch}`;
  const fill = (...args) => execFileSync(process.execPath, [join(PACKAGE, 'packages', 'fill.mjs'), ...args], { env, encoding: 'utf8' }).trim();
  const directories = [fill('broker', target, findBroker()), fill('main')];
  assert.throws(() => fill('broker', 'amiga-68k', findBroker()));
  const npm = (where, ...args) => execFileSync('npm', args, { cwd: where, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const packed = directories.map((from) => join(root, JSON.parse(npm(from, 'pack', '--json', '--pack-destination', root))[0].filename));
  const main = JSON.parse(readFileSync(join(directories[1], 'package.json'), 'utf8'));
  assert.equal(main.optionalDependencies[brokerPackage()], main.version);
  const project = join(root, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  npm(project, 'install', '--no-audit', '--no-fund', '--omit=optional', ...packed);
  writeFileSync(
    join(project, 'run.mjs'),
    `import { connect, findBroker, startBroker } from 'netcluster';
     console.log(findBroker());
     await using broker = await startBroker({ path: ${JSON.stringify(join(root, 'bus.sock'))} });
     await using client = await connect(broker.path);
     console.log('pid', (await client.status()).pid === broker.pid);`.replaceAll('await using', 'const'),
  );
  const program = new Program(t, project, [process.execPath, 'run.mjs'], { env: { NETCLUSTER_BIN: '', PATH: '' } });
  await program.says(new RegExp(`node_modules/${brokerPackage()}/bin/netcluster$`));
  await program.says(/^pid true$/);
});
