/** Events passed on from one channel to others, on one broker or between two. */
import { connect } from '../client';
import type { Client } from '../client';
import type { Source } from '../control';
import type { Message } from '../message';

/** What a bridge does with the events of a channel. */
export interface BridgeRule {
  /** Channel whose events are passed on. */
  from: string;
  /** Channels that get them. */
  to: string[];
  /** Broker that hears them, and broker that gets them. */
  source: string;
  target: string;
  /** Looks at each event; `own` is this process at that broker. */
  look?: ((message: Message, own: Source) => void) | undefined;
}

/**
 * The clients that pass events on: one for each channel and broker. What one of them emits it
 * does not hear, so nothing goes round in circles.
 */
export class Bridge {
  private readonly clients = new Map<string, Client>();

  private constructor(private readonly failed: (error: Error) => void) {}

  /** Begins; resolves when all rules are in force. */
  static async begin(rules: BridgeRule[], failed: (error: Error) => void): Promise<Bridge> {
    const bridge = new Bridge(failed);
    try {
      for (const rule of rules) await bridge.pass(rule);
    } catch (error) {
      await bridge.end();
      throw error;
    }
    return bridge;
  }

  private async client(path: string, channel: string): Promise<Client> {
    const key = `${channel}\0${path}`;
    let client = this.clients.get(key);
    if (client === undefined) {
      client = await connect(path, { channel, name: 'ncserver' });
      client.lifecycle.on('error', this.failed);
      this.clients.set(key, client);
    }
    return client;
  }

  private async pass({ from, to, source, target, look }: BridgeRule): Promise<void> {
    const heard = await this.client(source, from);
    const targets: Client[] = [];
    for (const channel of to) targets.push(await this.client(target, channel));
    const subscription = heard.subscribe('**');
    await subscription.ready;
    void (async () => {
      for await (const message of subscription) {
        look?.(message, heard.source);
        for (const client of targets) {
          if (!client.forward(message)) await client.drained();
        }
      }
    })().catch((error: Error) => {
      if (!heard.isClosed && !targets.some((client) => client.isClosed)) this.failed(error);
    });
  }

  /** Ends it. */
  async end(): Promise<void> {
    const clients = [...this.clients.values()];
    this.clients.clear();
    await Promise.allSettled(clients.map((client) => client.disconnect()));
  }
}
