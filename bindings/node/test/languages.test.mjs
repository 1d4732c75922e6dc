// The example of docs/languages.md, run as it stands there.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { Program, project } from './lib/programs.mjs';
import { broker } from './lib/support.mjs';

const DOCUMENT = resolve(import.meta.dirname, '..', '..', '..', 'docs', 'languages.md');

test('the example prints what those of other languages do', async (t) => {
  const [, code] = readFileSync(DOCUMENT, 'utf8').match(/```js\n([^]*?)```/);
  const bus = await broker(t);
  const root = project(t);
  writeFileSync(join(root, 'example.mjs'), code);
  const example = new Program(t, root, [process.execPath, 'example.mjs'], { env: { NETCLUSTER_SOCKET: bus.path } });
  await example.ended;
  assert.deepEqual(example.lines, ['sensor.kitchen text 21.5', 'sensor.attic json [19.5,20.5]'], example.errors);
});
