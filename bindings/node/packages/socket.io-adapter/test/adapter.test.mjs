// Two real servers, on a real broker, with real clients.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'node:test';
import { Server } from 'socket.io';
import { io as connectSocket } from 'socket.io-client';
import adapter from '../dist/index.js';
import { broker, client, soon, until } from '../../../test/lib/support.mjs';

async function server(t, bus) {
  const http = createServer();
  const io = new Server(http, { adapter: adapter.createAdapter(await client(t, bus)) });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => io.close());
  return { io, url: `http://127.0.0.1:${http.address().port}` };
}

async function socket(t, url) {
  const made = connectSocket(url, { transports: ['websocket'] });
  t.after(() => made.close());
  await soon('the socket connects', once(made, 'connect'));
  return made;
}

async function pair(t) {
  const bus = await broker(t);
  const servers = [await server(t, bus), await server(t, bus)];
  await until('the servers know each other', async () => {
    const counts = await Promise.all(servers.map(({ io }) => io.of('/').adapter.serverCount()));
    return counts.every((count) => count === 2);
  });
  const sockets = [await socket(t, servers[0].url), await socket(t, servers[1].url)];
  return { servers, sockets };
}

test('what one server emits reaches the sockets of the other, binary data as it is', async (t) => {
  const { servers, sockets } = await pair(t);
  const heard = Promise.all(sockets.map((it) => once(it, 'hello')));
  servers[0].io.emit('hello', { name: 'λ', data: Buffer.from([0, 1, 255]) });
  for (const [value] of await soon('both hear it', heard)) {
    assert.equal(value.name, 'λ');
    assert.deepEqual([...value.data], [0, 1, 255]);
  }
});

test('rooms, joins, lists and disconnections go across servers', async (t) => {
  const { servers: [one, two], sockets: [a, b] } = await pair(t);
  const ids = (await soon('sockets are listed', one.io.fetchSockets())).map((it) => it.id);
  assert.deepEqual(ids.sort(), [a.id, b.id].sort());
  one.io.in(b.id).socketsJoin('room');
  await until('it joined', async () => (await two.io.in('room').fetchSockets()).length === 1);
  a.on('to room', () => assert.fail('it is not in the room'));
  const heard = once(b, 'to room');
  one.io.to('room').emit('to room', 1);
  assert.deepEqual(await soon('it hears', heard), [1]);
  const gone = once(b, 'disconnect');
  one.io.in('room').disconnectSockets(true);
  await soon('it is disconnected', gone);
});

test('acknowledgements and words between servers', async (t) => {
  const { servers: [one, two], sockets } = await pair(t);
  for (const it of sockets) it.on('sum', (x, y, answer) => answer(x + y));
  const answers = await soon('both answer', one.io.timeout(10_000).emitWithAck('sum', 1, 2));
  assert.deepEqual(answers, [3, 3]);
  two.io.on('who', (answer) => answer('two'));
  const names = await soon('the other server answers', one.io.serverSideEmitWithAck('who'));
  assert.deepEqual(names, ['two']);
});

test('namespaces are apart, whatever their names', async (t) => {
  const bus = await broker(t);
  const servers = [await server(t, bus), await server(t, bus)];
  const [first, second] = ['/a.*/#', '/b'].map((name) => servers.map(({ io }) => io.of(name)));
  await until('the servers know each other', async () => (await first[0].adapter.serverCount()) === 2 && (await second[0].adapter.serverCount()) === 2);
  first[1].on('said', (value) => assert.equal(value, 'first'));
  const heard = once(second[1], 'said');
  first[0].serverSideEmit('said', 'first');
  second[0].serverSideEmit('said', 'second');
  assert.deepEqual(await soon('it is heard', heard), ['second']);
});
