/** `pipedclient()` of the original: a client that connects by a path and has values in envelopes. */
import { connect } from '../client';
import type { Client } from '../client';
import { NetclusterError } from '../errors';
import type { Message } from '../message';
import { SERVER_WAIT_MS, emitValue, envelope, throwLater } from './envelope';
import type { Envelope, EnvelopeListener } from './envelope';

interface Added {
  event: string;
  listener: EnvelopeListener;
  wrapped: (message: Message) => unknown;
  once: boolean;
}

/**
 * The client of the original. Listeners may be added before it is connected; events may not be
 * emitted. An error is thrown where nothing catches it, unless `onerror` takes it.
 */
export class PipedClient {
  /** Everything that is received is printed, too. */
  dumptoconsole = false;
  /** Takes errors; without it they end the process. */
  onerror: ((error: Error) => void) | undefined;
  private client: Client | undefined;
  private isDisconnected = false;
  private added: Added[] = [];

  /**
   * Connects to a broker, by its path or the name of its channel: a path has a slash or
   * backslash, anything else is a channel at the default broker. Waits for a broker that is
   * about to start.
   */
  connect(path: string, connected?: () => void): this {
    const isPath = /[\\/]/.test(path);
    const options = { brokerWait: SERVER_WAIT_MS, ...(isPath ? {} : { channel: path }) };
    this.isDisconnected = false;
    connect(isPath ? path : undefined, options).then(
      (client) => this.begin(client, connected),
      (error: Error) => this.failed(error),
    );
    return this;
  }

  private begin(client: Client, connected?: () => void): void {
    if (this.isDisconnected) {
      client.destroy();
      return;
    }
    this.client = client;
    client.lifecycle.on('error', (error) => this.failed(error));
    client.lifecycle.on('close', (error) => error && this.failed(error));
    for (const { event, wrapped } of this.added) client.on(event, wrapped);
    connected?.();
  }

  private failed(error: Error): void {
    // What a listener threw is thrown on, as an EventEmitter does.
    const cause = error instanceof NetclusterError && error.code === 'LISTENER_THREW' ? (error.cause as Error) : error;
    if (this.onerror === undefined) throwLater(cause);
    else this.onerror(cause);
  }

  /** Ends the connection once everything emitted is on its way. */
  disconnect(): void {
    this.isDisconnected = true;
    const client = this.client;
    this.client = undefined;
    client?.disconnect().catch((error: Error) => this.failed(error));
  }

  /** Emits a value to all other clients. */
  emit(event: string, data?: unknown): this {
    if (this.client === undefined) {
      throw new NetclusterError('DISCONNECTED', 'this client is not connected: emit in the callback of connect, or later');
    }
    emitValue(this.client, event, data);
    return this;
  }

  /** Adds a listener; it gets the envelope. */
  on(event: string, listener: EnvelopeListener): this {
    return this.add(event, listener, false);
  }

  /** As {@link on}. */
  addListener(event: string, listener: EnvelopeListener): this {
    return this.add(event, listener, false);
  }

  /** Adds a listener that is called once. */
  once(event: string, listener: EnvelopeListener): this {
    return this.add(event, listener, true);
  }

  private add(event: string, listener: EnvelopeListener, once: boolean): this {
    const wrapped = (message: Message): unknown => {
      if (once) this.removeListener(event, listener);
      const received: Envelope = envelope(message);
      if (this.dumptoconsole) console.log(JSON.stringify(received));
      return listener(received);
    };
    this.client?.on(event, wrapped);
    this.added.push({ event, listener, wrapped, once });
    return this;
  }

  /** Removes a listener. */
  removeListener(event: string, listener: EnvelopeListener): this {
    const at = this.added.findLastIndex((it) => it.event === event && it.listener === listener);
    if (at >= 0) {
      const [removed] = this.added.splice(at, 1);
      this.client?.off(event, removed!.wrapped);
    }
    return this;
  }

  /** As {@link removeListener}. */
  off(event: string, listener: EnvelopeListener): this {
    return this.removeListener(event, listener);
  }
}

/** Makes a client of the original. */
export function pipedclient(): PipedClient {
  return new PipedClient();
}
