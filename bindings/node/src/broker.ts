/** A broker as a child of this process. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findBroker } from './binary';
import { connect } from './client';
import type { Client } from './client';
import { NetclusterError } from './errors';
import { defaultSocketPath, socketPath } from './paths';

/** Pause between two looks whether the broker answers, in ms. */
const LOOK_MS = 10;

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
   * Opens its link to other machines, at a multicast address and port, while it runs.
   *
   * @throws NetclusterError `BROKER` if it cannot.
   */
  async openLink(address?: string): Promise<void> {
    const args = ['link', 'open', '--socket', this.path, ...(address === undefined ? [] : [address])];
    await promisify(execFile)(this.binary, args).catch((cause: Error & { stderr?: string }) => {
      throw new NetclusterError('BROKER', `the link cannot be opened: ${(cause.stderr ?? cause.message).trim()}`, { cause });
    });
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
    return this;
  }
}

/**
 * Starts a broker and waits until it answers.
 *
 * @throws NetclusterError if its program is not found (`NO_BINARY`) or it ends (`BROKER`), as when
 * another one runs at the same socket.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const path = options.path === undefined ? defaultSocketPath() : socketPath(options.path);
  const binary = options.binary ?? findBroker();
  if (process.platform !== 'win32') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const args = ['serve', '--socket', path, '--log', options.log ?? 'warn', ...(options.args ?? [])];
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.on('data', (data: Buffer) => {
    said = (said + data.toString()).slice(-4096);
    if (options.log !== 'off') process.stderr.write(data);
  });
  await once(child, 'spawn').catch((cause: Error) => {
    throw new NetclusterError('NO_BINARY', `${binary} cannot be run: ${cause.message}`, { cause });
  });
  (child.stderr as unknown as { unref?(): void }).unref?.();
  const broker = new Broker(child, path, binary);
  const deadline = performance.now() + (options.timeout ?? 10_000);
  let ended: number | NodeJS.Signals | undefined;
  void broker.ended.then((code) => (ended = code));
  while (!(await answers(path, child.pid!))) {
    if (ended !== undefined) throw new NetclusterError('BROKER', `the broker ended (${ended}): ${said.trim() || 'it said nothing'}`);
    if (performance.now() > deadline) {
      await broker.stop();
      throw new NetclusterError('TIMEOUT', `the broker did not answer at ${path} in time: ${said.trim()}`);
    }
    await pause(LOOK_MS);
  }
  return broker;
}

/** Whether the broker that answers there is this process. */
async function answers(path: string, pid: number): Promise<boolean> {
  let client: Client | undefined;
  try {
    client = await connect(path, { name: 'startBroker', reconnect: false });
    return (await client.status())['pid'] === pid;
  } catch {
    return false;
  } finally {
    client?.destroy();
  }
}
