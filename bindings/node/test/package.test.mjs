// The package as it is installed: types, both kinds of modules, what is in it, its size.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { Program } from './lib/programs.mjs';
import { broker, directory } from './lib/support.mjs';

const PACKAGE = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
const npm = (root, ...args) => execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

test('the compiler accepts what it should and refuses what it should', () => {
  execFileSync(process.execPath, [join(PACKAGE, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(PACKAGE, 'test', 'tsconfig.json')], { stdio: 'pipe' });
});

test('import and require give the same things', async () => {
  const required = createRequire(import.meta.url)('../dist/index.js');
  const imported = await import('../index.mjs');
  const { default: whole, ...names } = imported;
  assert.equal(whole, required);
  assert.deepEqual(Object.keys(names).sort(), Object.keys(required).sort());
  for (const [name, value] of Object.entries(names)) assert.equal(value, required[name], name);
});

test('it needs nothing at run time', () => {
  assert.equal(manifest.dependencies, undefined);
  assert.equal(manifest.gypfile, undefined);
  const lock = readFileSync(join(PACKAGE, 'package-lock.json'), 'utf8');
  assert.ok(!lock.includes('"resolved"'), 'the lock file names no registry');
});

test('packed, installed into an empty project and run, as ESM, by require, and compiled', async (t) => {
  const root = directory(t);
  const [packed] = JSON.parse(npm(PACKAGE, 'pack', '--json', '--ignore-scripts', '--pack-destination', root));
  const files = packed.files.map((file) => file.path);
  for (const file of ['README.md', 'LICENSE-MIT', 'LICENSE-APACHE', 'index.mjs', 'index.d.mts', 'dist/index.js', 'dist/index.d.ts', 'config.json']) {
    assert.ok(files.includes(file), `${file} is packed`);
  }
  assert.ok(!files.some((file) => /^(src|test|bench|node_modules)\//.test(file)), 'nothing else is packed');
  assert.ok(packed.size < 200_000, `${packed.size} bytes`);

  const project = join(root, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  npm(project, 'install', '--no-audit', '--no-fund', '--omit=optional', '--prefer-offline', join(root, packed.filename));
  const { path } = await broker(t);
  const body = `
    const both = await connect(${JSON.stringify(path)}, { echo: true });
    both.once('log.*', async (message) => {
      console.log(message.event, message.data.status);
      await both.disconnect();
    });
    await both.flush();
    both.emit('log.web', { status: 200 });`;
  writeFileSync(join(project, 'esm.mjs'), `import { connect } from 'netcluster';\n${body}`);
  writeFileSync(join(project, 'cjs.cjs'), `const { connect } = require('netcluster');\n(async () => {${body}})();`);
  for (const program of ['esm.mjs', 'cjs.cjs']) {
    const run = new Program(t, project, [process.execPath, program]);
    await run.says(/^log\.web 200$/);
    await run.ended;
    assert.equal(run.child.exitCode, 0);
  }

  const compile = (name, text, options) => {
    writeFileSync(join(project, name), text);
    const tsc = join(PACKAGE, 'node_modules', 'typescript', 'bin', 'tsc');
    const types = ['--types', 'node', '--typeRoots', join(PACKAGE, 'node_modules', '@types')];
    execFileSync(process.execPath, [tsc, '--noEmit', '--strict', '--target', 'es2022', ...types, ...options, name], { cwd: project, stdio: 'pipe' });
  };
  const typed = `import netcluster, { connect, type Message } from 'netcluster';\nexport const one: Promise<unknown> = connect();\nexport const two = (m: Message<number>): string => m.data.toFixed(netcluster ? 1 : 2);\n`;
  compile('typed.mts', typed, ['--module', 'node16', '--moduleResolution', 'node16']);
  compile('bundled.ts', typed, ['--module', 'esnext', '--moduleResolution', 'bundler']);
  compile('required.cts', "import { connect } from 'netcluster';\nexport const one: Promise<unknown> = connect();\n", ['--module', 'node16', '--moduleResolution', 'node16']);
});
