/** A broker as a child of this process. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { findBroker } from './binary';
import { connect } from './client';
import { NetclusterError } from './errors';
import type { LinkSettings } from './link';
import { checkAll, checkOneOf, checkType, checkWhole } from './options';
import { checkForm, defaultSocketPath, socketPath } from './paths';

/** Exit code of a broker where another one runs already. */
const RUNNING_EXIT_CODE = 5;
/** Characters of what a broker said last that an error tells. */
const SAID_CHARACTERS = 4096;

/** Options of {@link startBroker}. */
export interface BrokerOptions {
  /** Its socket; the default place unless it is given. */
  path?: string;
  /** More arguments of `netcluster serve`, as `['--link']`. */
  args?: string[];
  /** Its program; see {@link findBroker}. */
  binary?: string;
  /** What it logs goes to this process's standard error; by default warnings only. */
  log?: 'off' | 'error' | 'warn' | 'info' | 'debug';
  /** How long to wait until it answers, in ms; 10,000 by default. */
  timeout?: number;
}

const CHECKS = {
  path: checkType('string'),
  args: (value: unknown, name: string): void => {
    if (!Array.isArray(value) || !value.every((word) => typeof word === 'string')) {
      throw new TypeError(`\`${name}\` is an array of strings`);
    }
  },
  binary: checkType('string'),
  log: checkOneOf('off', 'error', 'warn', 'info', 'debug'),
  timeout: checkWhole,
};

/** A broker that this process started. It ends with it. */
export class Broker {
  /** Resolves when it has ended, with its exit code or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  private readonly stopAtExit = (): void => void this.child.kill();

  /** @internal */
  constructor(
    private readonly child: ChildProcess,
    /** Its socket. */
    readonly path: string,
    /** Its program. */
    readonly binary: string,
  ) {
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        process.off('exit', this.stopAtExit);
        resolve(signal ?? code ?? 0);
      });
    });
    process.on('exit', this.stopAtExit);
  }

  /** Its process id. */
  get pid(): number {
    return this.child.pid!;
  }

  /**
   * Opens its link to other machines while it runs; a text is the multicast address and port.
   *
   * @throws NetclusterError `LINK` with the broker's reason why not.
   */
  async openLink(link: LinkSettings | string = {}): Promise<void> {
    const client = await connect(this.path, { name: 'openLink', reconnect: false });
    try {
      await client.openLink(typeof link === 'string' ? { group: link } : link);
    } finally {
      client.destroy();
    }
  }

  /** Ends it: what is queued is still read by its clients. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.ended;
  }

  /** As {@link stop}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Lets this process end, and the broker with it, although it runs. */
  unref(): this {
    this.child.unref();
    for (const pipe of [this.child.stdin, this.child.stdout, this.child.stderr]) (pipe as unknown as Socket).unref();
    return this;
  }
}

/**
 * Starts a broker and waits until clients can connect.
 *
 * @throws NetclusterError if its program is not found (`NO_BINARY`), another broker runs at the
 * same socket (`BROKER_RUNNING`), or it ends for another reason (`BROKER`).
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  checkAll(options, 'options', CHECKS);
  const path = options.path === undefined ? defaultSocketPath() : socketPath(options.path);
  checkForm(path);
  const binary = options.binary ?? findBroker();
  if (process.platform !== 'win32') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const args = ['serve', '--socket', path, '--log', options.log ?? 'warn', '--print-ready', `--die-with-parent=${process.pid}`];
  // On Windows the end of its standard input tells it that this process has ended.
  const child = spawn(binary, [...args, ...(options.args ?? [])], { stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said = (said + data.toString()).slice(-SAID_CHARACTERS);
    if (options.log !== 'off') process.stderr.write(data);
  });
  await once(child, 'spawn').catch((cause: Error) => {
    throw new NetclusterError('NO_BINARY', `${binary} cannot be run: ${cause.message}`, { cause });
  });
  const broker = new Broker(child, path, binary);
  const timeout = options.timeout ?? 10_000;
  let timer: NodeJS.Timeout | undefined;
  const outcome = await Promise.race([
    once(child.stdout, 'data').then(() => 'ready' as const),
    // Behind what it said last.
    once(child, 'close').then(() => broker.ended),
    new Promise<'late'>((resolve) => (timer = setTimeout(resolve, timeout, 'late'))),
  ]);
  clearTimeout(timer);
  if (outcome === 'ready') return broker;
  if (outcome === 'late') {
    await broker.stop();
    throw new NetclusterError('TIMEOUT', `the broker was not ready at ${path} within ${timeout} ms: ${said.trim()}`);
  }
  const code = outcome === RUNNING_EXIT_CODE ? 'BROKER_RUNNING' : 'BROKER';
  throw new NetclusterError(code, `the broker ended (${outcome}): ${said.trim() || 'it said nothing'}`);
}
