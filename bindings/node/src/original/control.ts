/** What `ncclient` asks a server, by events in the channel `control`. */
import { connect } from '../client';
import type { Client } from '../client';
import type { ServerConfig } from './config';
import { readConfig } from './config';

/** Channel of questions and answers. */
export const CONTROL_CHANNEL = 'control';
/** Event of a question. */
export const QUESTION = 'ncserver.question';
/** Event of an answer. */
export const ANSWER = 'ncserver.answer';

/** A question, and the arguments of its command. */
export interface Question {
  id: string;
  command: string;
  args: unknown[];
}

/** An answer. */
export interface Answer {
  id: string;
  result?: unknown;
  error?: string;
}

/** Server that is asked. */
export interface Controlled {
  readonly config: ServerConfig;
  reload(config: ServerConfig, reloaded?: () => void): unknown;
}

interface ClientStatus {
  channel: string;
  client: number;
}

/** The end of a server that answers. */
export class Control {
  private constructor(
    private readonly server: Controlled,
    private readonly client: Client,
  ) {}

  /** Begins to answer. */
  static async begin(server: Controlled, path: string): Promise<Control> {
    const client = await connect(path, { channel: CONTROL_CHANNEL, name: 'ncserver control' });
    const control = new Control(server, client);
    client.on(QUESTION, (message) => control.answer(message.data as Question));
    await client.flush();
    return control;
  }

  private async answer({ id, command, args }: Question): Promise<void> {
    const answer: Answer = { id };
    try {
      answer.result = await this.run(command, args ?? []);
    } catch (error) {
      answer.error = (error as Error).message;
    }
    // A reload ends this connection: then the next one has nobody to answer to.
    if (!this.client.isClosed) this.client.emit(ANSWER, answer);
  }

  private async run(command: string, args: unknown[]): Promise<unknown> {
    switch (command) {
      case 'showconfig':
        return this.server.config;
      case 'showchannel':
        return (await this.clients()).filter((client) => client.channel === args[0]).map((client) => String(client.client));
      case 'showclient':
        return (await this.clients()).find((client) => client.channel === args[0] && String(client.client) === String(args[1])) ?? null;
      case 'reloadconfig': {
        const config = readConfig(String(args[0]));
        // Behind the answer, which goes by a connection that the reload replaces.
        setImmediate(() => this.server.reload(config));
        return 'reloaded';
      }
      default:
        throw new TypeError(`there is no command ${command}`);
    }
  }

  private async clients(): Promise<ClientStatus[]> {
    return (await this.client.status())['clients'] as ClientStatus[];
  }

  /** Answers no more. */
  async end(): Promise<void> {
    await this.client.disconnect();
  }
}
