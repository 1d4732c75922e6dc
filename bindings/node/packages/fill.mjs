// Makes what is published, in `packages/out`:
//
//   node packages/fill.mjs broker linux-x64 ../../target/release/netcluster
//       the package of the broker's program for one kind of machine
//   node packages/fill.mjs main
//       the package `netcluster`, which wants those packages where they are for its machine
//
// Then `npm publish packages/out/NAME` for each, the brokers first. All have one version.
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const OUT = process.env.NETCLUSTER_PACKAGES_OUT ?? join(ROOT, 'packages', 'out');
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];

/** Kinds of machines, as Node.js names them: process.platform and process.arch. */
const TARGETS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64', 'win32-x64'];

const main = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

function fresh(name) {
  const directory = join(OUT, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const file of LICENCES) cpSync(join(ROOT, '..', '..', file), join(directory, file));
  return directory;
}

function write(directory, manifest) {
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  console.log(directory);
}

function broker(target, program) {
  if (!TARGETS.includes(target)) throw new Error(`the kind of machine is one of ${TARGETS.join(', ')}, not ${target}`);
  if (program === undefined) throw new Error('which program?');
  const [os, cpu] = target.split('-');
  const name = os === 'win32' ? 'netcluster.exe' : 'netcluster';
  const directory = fresh(`broker-${target}`);
  mkdirSync(join(directory, 'bin'));
  cpSync(program, join(directory, 'bin', name));
  chmodSync(join(directory, 'bin', name), 0o755);
  writeFileSync(join(directory, 'README.md'), `The program \`netcluster\` for ${target}, for the package [netcluster](https://www.npmjs.com/package/netcluster).\n`);
  write(directory, {
    name: `@netcluster/broker-${target}`,
    version: main.version,
    description: `The broker of netcluster for ${target}`,
    license: main.license,
    os: [os],
    cpu: [cpu],
    files: ['bin', ...LICENCES],
    preferUnplugged: true,
  });
}

function package_() {
  const directory = fresh('netcluster');
  for (const file of [...main.files, 'README.md']) {
    if (!LICENCES.includes(file)) cpSync(join(ROOT, file), join(directory, file), { recursive: true });
  }
  const { devDependencies, scripts, ...manifest } = main;
  const optionalDependencies = Object.fromEntries(TARGETS.map((target) => [`@netcluster/broker-${target}`, main.version]));
  write(directory, { ...manifest, optionalDependencies });
}

const [what, ...args] = process.argv.slice(2);
if (what === 'broker') broker(...args);
else if (what === 'main') package_();
else throw new Error('say `broker TARGET PROGRAM` or `main`');
