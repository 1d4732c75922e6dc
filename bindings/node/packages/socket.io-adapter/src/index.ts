/**
 * Adapter of socket.io over netcluster, in place of its Redis adapters: what a server says to
 * rooms reaches the sockets of all servers on the bus.
 *
 * Each namespace has an event that all servers listen to, and one of each server for answers.
 * Values travel as V8 serialises them, so that binary data stays binary.
 */
import { deserialize, serialize } from 'node:v8';
import type { Client, Message } from 'netcluster';
import { ClusterAdapterWithHeartbeat } from 'socket.io-adapter';
import type { ClusterAdapterOptions, ClusterMessage, ClusterResponse } from 'socket.io-adapter';

/** Options of {@link createAdapter}. */
export interface AdapterOptions extends ClusterAdapterOptions {
  /** Start of the events' names; `socket.io` by default. */
  prefix?: string;
}

/** Namespace of socket.io. */
interface Namespace {
  readonly name: string;
}

/** Name of a namespace as one token of an event's name. */
function token(name: string): string {
  return encodeURIComponent(name).replaceAll('.', '%2E').replaceAll('*', '%2A');
}

/** The adapter of one namespace. */
export class NetclusterAdapter extends ClusterAdapterWithHeartbeat {
  private readonly everybody: string;

  constructor(
    namespace: Namespace,
    private readonly client: Client,
    options: AdapterOptions,
  ) {
    super(namespace, options);
    this.everybody = `${options.prefix ?? 'socket.io'}.${token(namespace.name)}`;
    client.on(this.everybody, this.heard);
    client.on(this.answersOf(this.uid), this.answered);
  }

  private answersOf(server: string): string {
    return `${this.everybody}.${token(server)}`;
  }

  private readonly heard = (message: Message): void => {
    this.onMessage(deserialize(message.payload) as ClusterMessage);
  };

  private readonly answered = (message: Message): void => {
    this.onResponse(deserialize(message.payload) as ClusterResponse);
  };

  protected override async doPublish(message: ClusterMessage): Promise<string> {
    await this.send(this.everybody, message);
    return '';
  }

  protected override async doPublishResponse(server: string, response: ClusterResponse): Promise<void> {
    await this.send(this.answersOf(server), response);
  }

  private async send(event: string, value: unknown): Promise<void> {
    if (!this.client.emit(event, serialize(value))) await this.client.drained();
  }

  override close(): void {
    super.close();
    if (this.client.isClosed) return;
    this.client.off(this.everybody, this.heard);
    this.client.off(this.answersOf(this.uid), this.answered);
  }
}

/** Makes the adapter for `new Server({ adapter })`, over a client that stays the caller's. */
export function createAdapter(client: Client, options: AdapterOptions = {}): (namespace: Namespace) => NetclusterAdapter {
  // No arrow: socket.io calls it with `new`.
  return function adapter(namespace) {
    return new NetclusterAdapter(namespace, client, options);
  };
}
