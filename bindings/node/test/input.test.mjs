// Wrong paths, options and types: each is refused by an error that says what is expected.
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, startBroker } from '../index.mjs';
import { broker, client } from './lib/support.mjs';

const refused = (call, name, message) => assert.rejects(call, { name, message }, String(message));

test('the path of a socket is checked before anybody is asked', async () => {
  for (const [path, kind] of [[null, 'null'], [7, 'a number'], [['a'], 'an array'], [true, 'a boolean'], [() => 1, 'a function']]) {
    await refused(connect(path, {}), 'TypeError', `the path of a socket is a string, not ${kind}; \`connect(path?, options?)\``);
  }
  await refused(connect(null), 'TypeError', /not null/);
  await refused(connect({}, {}), 'TypeError', /not an object/);
  // However long it is waited for a broker there: none can come.
  const wait = { brokerWait: 3_600_000 };
  await assert.rejects(connect('', wait), { code: 'CONNECT', message: /: the path is empty: give that of a broker's socket$/ });
  await assert.rejects(connect('/tmp/a\0b', wait), { code: 'CONNECT', message: /NUL/ });
  if (process.platform !== 'win32') {
    const long = `/tmp/${'x'.repeat(200)}`;
    await assert.rejects(connect(long, wait), { code: 'CONNECT', message: /: the path has 205 bytes, and that of a socket at most 10[37]: choose a shorter one$/ });
    await assert.rejects(startBroker({ path: long }), { code: 'CONNECT', message: /205 bytes/ });
  }
});

test('options of connect are checked by name, type and range', async () => {
  const path = '/nowhere/bus.sock';
  for (const [options, name, message] of [
    [null, 'TypeError', '`options` is an object, not null'],
    [['a'], 'TypeError', '`options` is an object, not an array'],
    ['channel', 'TypeError', '`options` is an object, not a string'],
    [{ chanel: 'a' }, 'TypeError', /^`options` has no option `chanel`, only channel, name, echo,/],
    [{ toString: 'a' }, 'TypeError', /no option `toString`/],
    [{ channel: 7 }, 'TypeError', 'a channel name is a string, not a number'],
    [{ channel: '' }, 'NetclusterError', 'a channel name has 1 to 255 bytes, not 0'],
    [{ name: {} }, 'TypeError', '`name` is a string, not an object'],
    [{ name: 'x'.repeat(256) }, 'NetclusterError', /at most 255 bytes/],
    [{ echo: 'yes' }, 'TypeError', '`echo` is a boolean, not a string'],
    [{ queue: 'lastest' }, 'TypeError', "`queue` is 'backpressure' or 'latest', not 'lastest'"],
    [{ queue: 1 }, 'TypeError', "`queue` is 'backpressure' or 'latest', not a number"],
    [{ maxQueue: '1' }, 'TypeError', '`maxQueue` is a number, not a string'],
    [{ maxBuffer: 1.5 }, 'RangeError', '`maxBuffer` is a whole number from 0 on, not 1.5'],
    [{ maxPayload: -1 }, 'RangeError', /`maxPayload` is a whole number/],
    [{ connectTimeout: NaN }, 'RangeError', /not NaN/],
    [{ connectTimeout: null }, 'TypeError', '`connectTimeout` is a number, not null'],
    [{ disconnectTimeout: '5s' }, 'TypeError', /disconnectTimeout/],
    [{ brokerWait: [] }, 'TypeError', '`brokerWait` is a number, not an array'],
    [{ reconnect: true }, 'TypeError', '`reconnect` is an object, not a boolean'],
    [{ reconnect: { frist: 1 } }, 'TypeError', '`reconnect` has no option `frist`, only first, longest, attempts'],
    [{ reconnect: { attempts: '3' } }, 'TypeError', '`attempts` is a number, not a string'],
  ]) {
    await refused(connect(path, options), name, message);
    if (typeof options === 'object' && options !== null && !Array.isArray(options)) await refused(connect(options), name, message);
  }
  const all = { channel: undefined, echo: undefined, reconnect: { attempts: Infinity } };
  await assert.rejects(connect(path, all), { code: 'BROKER_NOT_RUNNING' });
});

test('options of all else are checked, too', async (t) => {
  const one = await client(t, await broker(t));
  assert.throws(() => one.subscribe('a', null), { name: 'TypeError', message: '`options` is an object, not null' });
  assert.throws(() => one.subscribe('a', { loses: true }), { name: 'TypeError', message: /no option `loses`/ });
  assert.throws(() => one.subscribe('a', { losses: 1 }), { name: 'TypeError', message: '`losses` is a boolean, not a number' });
  assert.throws(() => one.subscribe('a', { signal: {} }), { name: 'TypeError', message: '`signal` is an AbortSignal, not an object' });
  await assert.rejects(one.ready(7), { name: 'TypeError', message: 'a pattern is a string, not a number' });
  await assert.rejects(one.openLink(null), { name: 'TypeError', message: '`settings` is an object, not null' });
  await assert.rejects(one.openLink({ group: 7 }), { name: 'TypeError', message: '`group` is a string, not a number' });
  await assert.rejects(one.openLink({ group: 'nonsense' }), { code: 'REFUSED', message: /`nonsense` is no multicast address and port/ });
  await assert.rejects(one.openLink({ gruops: 1 }), { code: 'REFUSED', message: /unknown field `gruops`/ });
  for (const [options, message] of [
    [null, '`options` is an object, not null'],
    [{ pth: 'a' }, /no option `pth`/],
    [{ path: 7 }, '`path` is a string, not a number'],
    [{ args: '--link' }, '`args` is an array of strings'],
    [{ args: [1] }, '`args` is an array of strings'],
    [{ log: 'loud' }, "`log` is 'off', 'error', 'warn', 'info' or 'debug', not 'loud'"],
    [{ timeout: '1s' }, '`timeout` is a number, not a string'],
  ]) {
    await refused(startBroker(options), 'TypeError', message);
  }
});
