/** What listeners of the original's objects get. */
import type { Client } from '../client';
import type { Message } from '../message';

/** An event and its data, as they travelled. */
export interface Envelope {
  event: string;
  data: unknown;
}

/** Listener of the original's objects. */
export type EnvelopeListener = (message: Envelope) => unknown;

/** Makes the envelope of a message. */
export function envelope(message: Message): Envelope {
  return { event: message.event, data: message.size === 0 ? undefined : message.data };
}

/** Emits a value as the original did: as JSON, whatever it is. */
export function emitValue(client: Client, event: string, data: unknown): boolean {
  return data === undefined ? client.emit(event) : client.emitJson(event, data);
}

/** Throws where nobody can catch it, as an `error` event that nobody listens to does. */
export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/** How long the original's objects wait for a server that is not there yet, in ms. */
export const SERVER_WAIT_MS = 10_000;
