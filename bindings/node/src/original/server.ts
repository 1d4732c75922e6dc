/**
 * `NCServer` of the original's last version: it starts the native broker and stays its parent.
 *
 * Where all channels go to other machines (`propagatetonet`), the broker itself is linked. Where
 * only some do, a second broker is, and their events are passed on to it and back. Events go from
 * channel to channel (`propagatetochannels`) by this process. The broker's `forward-to` would copy
 * on from channel to channel and refuses circles, which the original's configurations have: there
 * an event goes one step. Its `network` is true for channels without a rule, here it is false.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Broker } from '../broker';
import { startBroker } from '../broker';
import { defaultSocketPath, runtimeDirectory } from '../paths';
import { Bridge } from './bridge';
import type { BridgeRule } from './bridge';
import { checkConfig, linkAddress, targetsOf } from './config';
import type { ServerConfig } from './config';
import { Control } from './control';
import { throwLater } from './envelope';

/** Socket of the second broker, which is linked where the first is not. */
function netSocketPath(): string {
  return process.platform === 'win32' ? '\\\\.\\pipe\\netcluster-ncserver-net' : join(runtimeDirectory(), 'ncserver-net.sock');
}

/** A server. */
export class NCServer {
  /** Its configuration; set it before {@link start}. */
  config: ServerConfig = {};
  /** Takes errors; without it they end the process. */
  onerror: ((error: Error) => void) | undefined;
  private local: Broker | undefined;
  private net: Broker | undefined;
  private bridge: Bridge | undefined;
  private control: Control | undefined;
  private isLinked = false;
  private wantsNet = false;
  /** What is done is done one by one, in the order of the calls. */
  private work: Promise<void> = Promise.resolve();

  /** Starts the broker at its default place. */
  start(started?: () => void): this {
    return this.queue(async () => {
      checkConfig(this.config);
      this.wantsNet = this.config.connecttonet === true;
      const path = defaultSocketPath();
      if (process.platform !== 'win32') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      this.local = await startBroker({ path });
      await this.apply();
    }, started);
  }

  /** Opens the link to other machines while the server runs. */
  connectudp(connected?: () => void): this {
    return this.queue(async () => {
      this.wantsNet = true;
      await this.apply();
    }, connected);
  }

  /** Goes on with another configuration. */
  reload(config: ServerConfig, reloaded?: () => void): this {
    return this.queue(async () => {
      checkConfig(config);
      this.config = config;
      this.wantsNet = config.connecttonet === true;
      await this.apply();
    }, reloaded);
  }

  /** Ends the server and its broker. */
  stop(stopped?: () => void): this {
    return this.queue(async () => {
      await this.bridge?.end();
      await this.control?.end();
      await this.net?.stop();
      await this.local?.stop();
      this.bridge = this.control = this.net = this.local = undefined;
      this.isLinked = false;
    }, stopped);
  }

  private queue(work: () => Promise<void>, done: (() => void) | undefined): this {
    this.work = this.work.then(work).then(
      () => done?.(),
      (error: Error) => this.failed(error),
    );
    return this;
  }

  private readonly failed = (error: Error): void => {
    if (this.onerror === undefined) throwLater(error);
    else this.onerror(error);
  };

  /** Makes brokers, rules and control what the configuration says. */
  private async apply(): Promise<void> {
    if (this.local === undefined) throw new TypeError('start the server first');
    await this.bridge?.end();
    await this.control?.end();
    this.bridge = this.control = undefined;
    const channels = Object.values(this.config.channels ?? {});
    const isWhole = this.wantsNet && channels.every((channel) => channel.propagatetonet === true);
    const isApart = this.wantsNet && !isWhole && channels.some((channel) => channel.propagatetonet === true);
    await this.setLink(isWhole);
    await this.setNet(isApart);
    this.bridge = await Bridge.begin(this.rules(this.local.path), this.failed);
    if (this.config.startcontrol === true) this.control = await Control.begin(this, this.local.path);
  }

  private async setLink(isWanted: boolean): Promise<void> {
    if (isWanted === this.isLinked) return;
    if (isWanted) {
      await this.local!.openLink(linkAddress(this.config));
    } else {
      // A link is closed with its broker; an orderly restart loses nothing on the machine.
      const { path } = this.local!;
      await this.local!.stop();
      this.local = await startBroker({ path });
    }
    this.isLinked = isWanted;
  }

  private async setNet(isWanted: boolean): Promise<void> {
    if (!isWanted) {
      await this.net?.stop();
      this.net = undefined;
    } else {
      this.net ??= await startBroker({ path: netSocketPath(), args: ['--link', linkAddress(this.config)] });
    }
  }

  private rules(local: string): BridgeRule[] {
    const channels = this.config.channels ?? {};
    const rules: BridgeRule[] = [];
    for (const [name, channel] of Object.entries(channels)) {
      const to = targetsOf(name, channels);
      const look = this.look(name, channel.dumptoconsole === true, this.config.dumpnet === true && this.wantsNet);
      if (to.length > 0 || look !== undefined) rules.push({ from: name, to, source: local, target: local, look });
      if (this.net !== undefined && channel.propagatetonet === true) {
        const net = this.net.path;
        rules.push({ from: name, to: [name], source: local, target: net });
        const seen = this.config.dumpnet === true ? this.look(name, true, true) : undefined;
        rules.push({ from: name, to: [name, ...to], source: net, target: local, look: seen });
      }
    }
    return rules;
  }

  private look(channel: string, isDumped: boolean, isNetDumped: boolean): BridgeRule['look'] {
    if (!isDumped && !isNetDumped) return undefined;
    return (message, { node }) => {
      if (isDumped || message.source.node !== node) console.log(`${channel}: ${JSON.stringify(message)}`);
    };
  }
}
