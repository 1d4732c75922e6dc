// Programs that the tests run: with the package as `netcluster` and a bus of their own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { directory, until } from './support.mjs';

const PACKAGE = resolve(import.meta.dirname, '..', '..');

/** A directory with these programs, in which `netcluster` is this package. */
export function project(test, from) {
  const root = directory(test);
  if (from !== undefined) cpSync(join(PACKAGE, from), root, { recursive: true });
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  symlinkSync(PACKAGE, join(root, 'node_modules', 'netcluster'));
  return root;
}

/** A program that runs, and the lines that it prints. */
export class Program {
  lines = [];
  errors = '';

  constructor(test, root, command, { env = {} } = {}) {
    this.child = spawn(command[0], command.slice(1), {
      cwd: root,
      env: { ...process.env, NETCLUSTER_SOCKET: join(root, 'default.sock'), ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    createInterface({ input: this.child.stdout }).on('line', (line) => this.lines.push(line));
    this.child.stderr.on('data', (data) => (this.errors += data));
    this.ended = once(this.child, 'exit');
    test.after(async () => {
      if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill();
      await this.ended;
    });
  }

  /** Waits for a line. */
  async says(expression) {
    await until(`${this.child.spawnargs.join(' ')} says ${expression}; it said ${this.lines.join('\n')} ${this.errors}`, () => {
      if (this.child.exitCode) throw new Error(`${this.child.spawnargs.join(' ')} failed: ${this.errors}`);
      return this.lines.some((line) => expression.test(line));
    });
    return this.lines.find((line) => expression.test(line));
  }
}
