/** What the clients of the original have in common: how they connect, fail and end. */
import { connect } from '../client';
import type { Client } from '../client';
import { NetclusterError } from '../errors';
import type { ConnectOptions } from '../options';
import { SERVER_WAIT_MS, throwLater } from './envelope';
import type { EnvelopeListener } from './envelope';

/**
 * A client of the original, whose listeners have names of this type. An error is thrown where
 * nothing catches it, unless `onerror` takes it.
 */
export abstract class Peer<Name> {
  /** Everything that is received is printed, too. */
  dumptoconsole = false;
  /** Takes errors; without it they end the process. */
  onerror: ((error: Error) => void) | undefined;
  protected client: Client | undefined;
  private isDisconnected = false;

  /** Listens anew, by a client that is connected. */
  protected abstract resume(client: Client): void;

  /** Connects, and waits for a broker that is about to start. */
  protected open(path: string | undefined, options: ConnectOptions, connected: (() => void) | undefined): this {
    this.isDisconnected = false;
    connect(path, { brokerWait: SERVER_WAIT_MS, ...options }).then(
      (client) => this.begin(client, connected),
      (error: Error) => this.failed(error),
    );
    return this;
  }

  private begin(client: Client, connected: (() => void) | undefined): void {
    if (this.isDisconnected) {
      client.destroy();
      return;
    }
    this.client = client;
    client.lifecycle.on('error', (error) => this.failed(error));
    client.lifecycle.on('close', (error) => error && this.failed(error));
    this.resume(client);
    connected?.();
  }

  private failed(error: Error): void {
    // What a listener threw is thrown on, as an EventEmitter does.
    const cause = error instanceof NetclusterError && error.code === 'LISTENER_THREW' ? (error.cause as Error) : error;
    if (this.onerror === undefined) throwLater(cause);
    else this.onerror(cause);
  }

  /** Ends the connection once everything emitted is on its way; listeners stay, for the next one. */
  disconnect(): void {
    this.isDisconnected = true;
    const client = this.client;
    this.client = undefined;
    client?.disconnect().catch((error: Error) => this.failed(error));
  }

  /** Adds a listener, which gets the envelope. */
  protected abstract add(name: Name, listener: EnvelopeListener, once: boolean): this;

  /** Removes a listener. */
  abstract removeListener(name: Name, listener: EnvelopeListener): this;

  /** Adds a listener to events of this name; it gets the envelope. */
  on(name: Name, listener: EnvelopeListener): this {
    return this.add(name, listener, false);
  }

  /** As {@link on}. */
  addListener(name: Name, listener: EnvelopeListener): this {
    return this.add(name, listener, false);
  }

  /** Adds a listener that is called once. */
  once(name: Name, listener: EnvelopeListener): this {
    return this.add(name, listener, true);
  }

  /** As {@link removeListener}. */
  off(name: Name, listener: EnvelopeListener): this {
    return this.removeListener(name, listener);
  }
}
