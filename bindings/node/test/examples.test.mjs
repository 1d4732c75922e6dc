// The examples, run as programs.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { Program, project } from './lib/programs.mjs';
import { broker, soon } from './lib/support.mjs';

async function run(t, name) {
  const root = project(t, 'examples');
  await broker(t, { path: join(root, 'default.sock') });
  const program = new Program(t, root, [process.execPath, name]);
  await soon(`${name} ends`, program.ended);
  assert.equal(program.errors, '');
  assert.equal(program.child.exitCode, 0);
  return program.lines;
}

test('worker threads share a sum', async (t) => {
  assert.deepEqual(await run(t, 'workers.mjs'), ['sum 500500 of 4 workers']);
});

test('workers of a cluster hear each other', async (t) => {
  const expected = [];
  for (const one of [1, 2, 3]) for (const two of [1, 2, 3]) if (one !== two) expected.push(`${one} heard of ${two}`);
  assert.deepEqual(await run(t, 'cluster.mjs'), expected);
});

test('receiver and sender', async (t) => {
  const root = project(t, 'examples');
  await broker(t, { path: join(root, 'default.sock') });
  const receiver = new Program(t, root, [process.execPath, 'receiver.mjs']);
  new Program(t, root, [process.execPath, 'sender.mjs']);
  await receiver.says(/^TESTE$/);
});
