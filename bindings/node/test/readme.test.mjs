// The programs of README.md, as they stand there.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Program, project } from './lib/programs.mjs';
import { broker, soon } from './lib/support.mjs';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, text]) => text);

test('the listener and the emitter at its start, and the broker as a child', async (t) => {
  const [listener, emitter, child] = blocks;
  const root = project(t);
  await broker(t, { path: join(root, 'default.sock') });
  writeFileSync(join(root, 'listener.mjs'), `${listener}console.log('listening');\n`);
  writeFileSync(join(root, 'emitter.mjs'), `import { connect } from 'netcluster';\n${emitter}`);
  const listening = new Program(t, root, [process.execPath, 'listener.mjs']);
  await listening.says(/^listening$/);
  const emitting = new Program(t, root, [process.execPath, 'emitter.mjs']);
  await listening.says(/^log\.web \{ status: 200 \}$/);
  await soon('the emitter ends', emitting.ended);
  assert.equal(emitting.errors, '');

  const place = join(root, 'child.sock');
  const own = child.replace(/'\/run[^']*'/, JSON.stringify(place)).replace(/^await broker\.openLink.*$/m, '');
  writeFileSync(join(root, 'child.mjs'), `${own}console.log(broker.path);\nawait broker.stop();\n`);
  const starting = new Program(t, root, [process.execPath, 'child.mjs']);
  await soon('it ends', starting.ended);
  assert.deepEqual([starting.lines, starting.errors], [[place], '']);
});
