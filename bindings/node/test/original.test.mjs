// The original's published programs, as they were published (but for the `});` too many at the
// end of its senders), and the rest of its interface.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { NCAgent, NCServer, connect, pipedclient, pipedserver } from '../index.mjs';
import { Program, project } from './lib/programs.mjs';
import { broker, client, directory, soon, until } from './lib/support.mjs';

/** A network that only the program has, in which multicast stays. */
const OWN_NETWORK = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo && exec "$0" "$@"'];
const hasNetworks = spawnSync(OWN_NETWORK[0], [...OWN_NETWORK.slice(1), 'true']).status === 0;

/** Makes NETCLUSTER_SOCKET a place of this test's own. */
function ownPlace(t) {
  const before = process.env.NETCLUSTER_SOCKET;
  const place = join(directory(t), 'default.sock');
  process.env.NETCLUSTER_SOCKET = place;
  t.after(() => {
    if (before === undefined) delete process.env.NETCLUSTER_SOCKET;
    else process.env.NETCLUSTER_SOCKET = before;
  });
  return place;
}

test('the three programs of the original run as they are', async (t) => {
  if (!hasNetworks) console.log('SKIPPED: the link of the original server: no network of its own (unshare)');
  const root = project(t, 'test/original');
  const sender = new Program(t, root, [process.execPath, 'sender.js']);
  const receiver = new Program(t, root, [process.execPath, 'receiver.js']);
  const server = new Program(t, root, [...(hasNetworks ? OWN_NETWORK : []), process.execPath, 'server.js']);
  assert.equal(await receiver.says(/A called/), 'A called:{"event":"log","data":"TESTE"}');
  await until('it is received again', () => receiver.lines.length >= 2);
  const observer = await client(t, join(root, 'default.sock'));
  if (hasNetworks) await until('the link is open', async () => (await observer.status()).link !== null);
  assert.equal(sender.errors + receiver.errors, '');
  assert.ok(!server.errors.includes('Error'), server.errors);
});

test('two servers that are linked exchange what is emitted', async (t) => {
  if (!hasNetworks) {
    console.log('SKIPPED: the link between two original servers: no network of its own (unshare)');
    return;
  }
  const root = project(t);
  const [one, two] = [join(root, 'one.sock'), join(root, 'two.sock')];
  writeFileSync(
    join(root, 'servers.js'),
    `const { pipedserver } = require('netcluster');
     for (const path of ${JSON.stringify([one, two])}) {
       const server = pipedserver();
       server.initlocalserver(path);
       server.connectudp(4454, '224.0.0.0', () => console.log('linked'));
     }`,
  );
  const servers = new Program(t, root, [...OWN_NETWORK, process.execPath, 'servers.js']);
  await until('both are linked', () => servers.lines.length === 2);
  const listener = pipedclient();
  const heard = new Promise((resolve) => listener.on('log', resolve));
  await new Promise((resolve) => listener.connect(one, resolve));
  const observer = await client(t, one);
  await until('they know each other', async () => (await observer.clusterReady(1000)).length === 0 && (await observer.audience('log')).clients === 1);
  const emitter = pipedclient();
  await new Promise((resolve) => emitter.connect(two, resolve));
  const repeated = setInterval(() => emitter.emit('log', { from: 'two' }), 50);
  assert.deepEqual(await soon('it is heard', heard), { event: 'log', data: { from: 'two' } });
  clearInterval(repeated);
  listener.disconnect();
  emitter.disconnect();
});

test('a channel that goes to other machines beside one that does not', async (t) => {
  if (!hasNetworks) {
    console.log('SKIPPED: channels of original servers that are linked: no network of its own (unshare)');
    return;
  }
  const root = project(t);
  const places = ['one', 'two'].map((name) => join(root, name, 'default.sock'));
  const config = { addr: '224.0.0.0', port: 4455, connecttonet: true, channels: { far: { propagatetonet: true }, near: {} } };
  writeFileSync(
    join(root, 'servers.js'),
    `const { NCServer } = require('netcluster');
     (async () => {
       for (const place of ${JSON.stringify(places)}) {
         process.env.NETCLUSTER_SOCKET = place;
         const server = new NCServer();
         server.config = ${JSON.stringify(config)};
         await new Promise((resolve) => server.start(resolve));
       }
       console.log('started');
     })();`,
  );
  const servers = new Program(t, root, [...OWN_NETWORK, process.execPath, 'servers.js']);
  await servers.says(/started/);
  const [far, near] = [await client(t, places[0], { channel: 'far' }), await client(t, places[0], { channel: 'near' })];
  near.on('**', () => assert.fail('this channel stays on its machine'));
  const heard = far.subscribe('x');
  await Promise.all([far.flush(), near.flush()]);
  const [farther, nearer] = [await client(t, places[1], { channel: 'far' }), await client(t, places[1], { channel: 'near' })];
  const repeated = setInterval(() => {
    nearer.emit('x', 1);
    farther.emit('x', 2);
  }, 50);
  const { value } = await soon('it is heard', heard.next());
  clearInterval(repeated);
  assert.equal(value.data, 2);
  await near.flush();
});

test('the agents of the last version run as they are, across the channels of its configuration', async (t) => {
  const root = project(t, 'test/original');
  const server = new Program(t, root, [process.execPath, join('node_modules', 'netcluster', 'dist', 'bin', 'ncserver.js'), join(root, 'config.json')]);
  await server.says(/ncserver runs/);
  const receiver = new Program(t, root, [process.execPath, 'agent-receiver.js']);
  new Program(t, root, [process.execPath, 'agent-sender.js']);
  assert.equal(await receiver.says(/A called/), 'A called:{"event":"log","data":"TESTE"}');
  await soon('the receiver disconnects and ends', receiver.ended);
  await server.says(/^A: \{"event":"log","data":"TESTE"\}$/);
});

test('ncclient asks the server', async (t) => {
  const root = project(t, 'test/original');
  const bin = join('node_modules', 'netcluster', 'dist', 'bin');
  const server = new Program(t, root, [process.execPath, join(bin, 'ncserver.js'), join(root, 'config.json')]);
  await server.says(/ncserver runs/);
  const other = await client(t, join(root, 'default.sock'), { channel: 'B', name: 'somebody' });
  const other2 = { channels: { control: {}, C: {} }, startcontrol: true };
  writeFileSync(join(root, 'other.json'), JSON.stringify(other2));
  const prompt = new Program(t, root, [process.execPath, join(bin, 'ncclient.js')]);
  prompt.child.stdin.write('showconfig()\n');
  await prompt.says(/224\.0\.0\.0/);
  prompt.child.stdin.write("showchannel('B')\n");
  await prompt.says(new RegExp(`'${other.source.client}'`));
  prompt.child.stdin.write(`showclient('B', '${other.source.client}')\n`);
  await prompt.says(/name: 'somebody'/);
  prompt.child.stdin.write(`reloadconfig(${JSON.stringify(join(root, 'nowhere.json'))})\n`);
  await until('a failure is told', () => /no such file/.test(prompt.errors));
  prompt.child.stdin.write(`reloadconfig(${JSON.stringify(join(root, 'other.json'))})\n`);
  await prompt.says(/reloaded/);
  prompt.lines.length = 0;
  await until('the other configuration is in force', () => {
    prompt.child.stdin.write('showconfig()\n');
    return prompt.lines.some((line) => /C: \{\}/.test(line));
  });
  prompt.child.stdin.write('.exit\n');
  await soon('the prompt ends', prompt.ended);
});

test('pipedclient: once, removeListener, disconnect, values of all kinds', async (t) => {
  const place = ownPlace(t);
  await broker(t, { path: place });
  const [one, two] = [pipedclient(), pipedclient()];
  const heard = [];
  const listener = (message) => heard.push(message);
  await new Promise((resolve) => one.connect(place, resolve));
  await new Promise((resolve) => two.connect(place, resolve));
  assert.throws(() => pipedclient().emit('early'), { code: 'DISCONNECTED' });
  two.on('value', listener);
  two.once('once', listener);
  two.on('end', listener);
  await until('it listens', async () => (await statusOf(place)) >= 3);
  const values = ['text', 7, null, [1, { a: true }], { größe: 'λ' }, undefined];
  for (const value of values) one.emit('value', value);
  one.emit('once', 1).emit('once', 2).emit('end', 'x');
  await until('all came', () => heard.some((message) => message.event === 'end'));
  assert.deepEqual(heard.map((message) => [message.event, message.data]), [
    ...values.map((value) => ['value', value]), ['once', 1], ['end', 'x'],
  ]);
  two.removeListener('value', listener).off('end', listener);
  await until('it listens no more', async () => (await statusOf(place)) === 0);
  one.disconnect();
  two.disconnect();
});

async function statusOf(place) {
  const asking = await connect(place, { name: 'asking' });
  const { clients } = await asking.status();
  await asking.disconnect();
  return clients.reduce((sum, it) => sum + it.listeners, 0);
}

test('NCAgent: expressions as names, own events heard here, broadcast', async (t) => {
  await broker(t, { path: ownPlace(t) });
  const [one, two] = [new NCAgent(), new NCAgent()];
  const heard = [];
  const hear = (who) => (message) => heard.push([who, message.event, message.data]);
  one.on('log', hear('own'));
  one.emit('log', 'before it is connected');
  two.on('s.nsor\\d+', hear('expression'));
  two.on(/LOG|x/i, hear('regexp'));
  const once = hear('once');
  two.once('.*', once);
  await new Promise((resolve) => one.connect(resolve));
  await new Promise((resolve) => two.connect('default', resolve));
  const observer = await client(t, process.env.NETCLUSTER_SOCKET);
  await until('the other one listens', async () => (await observer.audience('log')).clients >= 2);
  one.emit('sensor12', { t: 1 });
  one.emit('my-sensor12');
  one.emit('log', 'all');
  one.emit('log', 'here only', false);
  one.emit('x', 'last');
  await until('all came', () => heard.some(([, event]) => event === 'x'));
  assert.deepEqual(heard.filter(([who]) => who === 'own').map(([, , data]) => data), ['before it is connected', 'all', 'here only']);
  assert.deepEqual(heard.filter(([who]) => who !== 'own'), [
    ['expression', 'sensor12', { t: 1 }],
    ['once', 'sensor12', { t: 1 }],
    ['regexp', 'log', 'all'],
    ['regexp', 'x', 'last'],
  ]);
  one.disconnect();
  two.disconnect();
});

test('NCServer: start, reload and stop; channels apart without a rule', async (t) => {
  const place = ownPlace(t);
  const server = new NCServer();
  server.config = { channels: { A: { propagatetochannels: 'B' }, B: {}, BB: {} } };
  await new Promise((resolve) => server.start(resolve));
  const [a, b, bb] = [await client(t, place, { channel: 'A' }), await client(t, place, { channel: 'B' }), await client(t, place, { channel: 'BB' })];
  const heard = [];
  for (const [name, it] of Object.entries({ a, b, bb })) it.on('**', (message) => heard.push([name, message.event, message.data]));
  for (const it of [a, b, bb]) await it.flush();
  b.emit('from.b', 1);
  a.emit('from.a', { x: 'text' });
  await until('it is passed on', () => heard.length === 1);
  assert.deepEqual(heard.splice(0), [['b', 'from.a', { x: 'text' }]]);
  await new Promise((resolve) => server.reload({ channels: { A: {}, B: { propagatetochannels: '.*' }, BB: {} } }, resolve));
  a.emit('from.a', 2);
  b.emit('from.b', 3);
  await until('it is passed on', () => heard.length === 2);
  assert.deepEqual(heard.sort(), [['a', 'from.b', 3], ['bb', 'from.b', 3]]);
  for (const it of [a, b, bb]) await it.disconnect();
  await new Promise((resolve) => server.stop(resolve));
  await assert.rejects(connect(place), { code: 'BROKER_NOT_RUNNING' });
});

test('a configuration that is wrong is an error that says where', async (t) => {
  ownPlace(t);
  const server = new NCServer();
  server.config = { channels: { A: { propagatetonet: 'yes' } } };
  const error = await new Promise((resolve) => {
    server.onerror = resolve;
    server.start();
  });
  assert.match(error.message, /channels\.A\.propagatetonet is a boolean/);
});

test('pipedserver: a second one at the same path is an error that says who is there', async (t) => {
  const place = ownPlace(t);
  const first = pipedserver();
  await new Promise((resolve) => first.initlocalserver(place, resolve));
  assert.throws(() => first.initlocalserver(place), /stop it first/);
  const second = pipedserver();
  const error = await new Promise((resolve) => {
    second.onerror = resolve;
    second.initlocalserver(place);
  });
  assert.equal(error.code, 'BROKER_RUNNING');
  assert.match(error.message, /already running/);
  await new Promise((resolve) => first.stop(resolve));
});
