/**
 * `pipedserver()` of the original: it starts the native broker at a path and stays its parent.
 * With a `config` and `start()`, as the version after it had them, it is an {@link NCServer}.
 */
import type { Broker } from '../broker';
import { startBroker } from '../broker';
import { connect } from '../client';
import type { Client } from '../client';
import { linkAddress } from './config';
import { throwLater } from './envelope';
import { NCServer } from './server';

/** A server. */
export class PipedServer extends NCServer {
  private piped: Promise<Broker> | undefined;
  private dumper: Promise<Client> | undefined;
  private isDumped = false;

  /** Starts a broker at this path, which is that of a Windows pipe or of a socket. */
  initlocalserver(path: string, started?: () => void): this {
    if (this.piped !== undefined) throw new Error('this server has its broker: stop it first');
    const piped = startBroker({ path });
    this.piped = piped;
    piped.catch(() => {
      // It may be tried again, and there is nothing to stop.
      if (this.piped === piped) this.piped = undefined;
    });
    this.dump();
    return this.told(piped, started);
  }

  /** Links the broker with those of other machines, by multicast at this port and address. */
  override connectudp(port?: number | (() => void), addr?: string, connected?: () => void): this {
    if (typeof port !== 'number') return super.connectudp(port);
    if (this.piped === undefined) throw new TypeError('call initlocalserver first');
    const address = linkAddress({ port, ...(addr !== undefined && { addr }) });
    return this.told(
      this.piped.then((broker) => broker.openLink(address)),
      connected,
    );
  }

  /** Everything that is emitted in the channel `default` is printed. */
  get dumptoconsole(): boolean {
    return this.isDumped;
  }

  set dumptoconsole(isDumped: boolean) {
    this.isDumped = isDumped;
    this.dump();
  }

  private dump(): void {
    if (!this.isDumped || this.piped === undefined || this.dumper !== undefined) return;
    this.dumper = this.piped.then(async (broker) => {
      const client = await connect(broker.path, { name: 'pipedserver' });
      return client.on('**', (message) => this.isDumped && console.log(JSON.stringify(message)));
    });
    this.told(this.dumper, undefined);
  }

  override stop(stopped?: () => void): this {
    return super.stop(() => {
      const ended = (async () => {
        (await this.dumper)?.destroy();
        await (await this.piped)?.stop();
        this.piped = this.dumper = undefined;
      })();
      this.told(ended, stopped);
    });
  }

  private told(work: Promise<unknown>, done: (() => void) | undefined): this {
    work.then(
      () => done?.(),
      (error: Error) => {
        if (this.onerror === undefined) throwLater(error);
        else this.onerror(error);
      },
    );
    return this;
  }
}

/** Makes a server of the original. */
export function pipedserver(): PipedServer {
  return new PipedServer();
}
