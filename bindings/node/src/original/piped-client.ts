/** `pipedclient()` of the original: a client that connects by a path and has values in envelopes. */
import type { Client } from '../client';
import { NetclusterError } from '../errors';
import type { Message } from '../message';
import { emitValue, envelope } from './envelope';
import type { Envelope, EnvelopeListener } from './envelope';
import { Peer } from './peer';

interface Added {
  event: string;
  listener: EnvelopeListener;
  wrapped: (message: Message) => unknown;
  once: boolean;
}

/**
 * The client of the original. Listeners may be added before it is connected; events may not be
 * emitted.
 */
export class PipedClient extends Peer<string> {
  private added: Added[] = [];

  /**
   * Connects to a broker, by its path or the name of its channel: a path has a slash or
   * backslash, anything else is a channel at the default broker. Waits for a broker that is
   * about to start.
   */
  connect(path: string, connected?: () => void): this {
    const isPath = /[\\/]/.test(path);
    return this.open(isPath ? path : undefined, isPath ? {} : { channel: path }, connected);
  }

  protected override resume(client: Client): void {
    for (const { event, wrapped } of this.added) client.on(event, wrapped);
  }

  /** Emits a value to all other clients. */
  emit(event: string, data?: unknown): this {
    if (this.client === undefined) {
      throw new NetclusterError('DISCONNECTED', 'this client is not connected: emit in the callback of connect, or later');
    }
    emitValue(this.client, event, data);
    return this;
  }

  protected override add(event: string, listener: EnvelopeListener, once: boolean): this {
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
  override removeListener(event: string, listener: EnvelopeListener): this {
    const at = this.added.findLastIndex((it) => it.event === event && it.listener === listener);
    if (at >= 0) {
      const [removed] = this.added.splice(at, 1);
      this.client?.off(event, removed!.wrapped);
    }
    return this;
  }
}

/** Makes a client of the original. */
export function pipedclient(): PipedClient {
  return new PipedClient();
}
