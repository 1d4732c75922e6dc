/**
 * `NCAgent` of the original's last version: names are anchored regular expressions, and own
 * events are heard in the same process, too.
 *
 * A name without a character that means something in a regular expression is subscribed as it
 * is. For any other one the agent listens to the whole channel (`**`) and looks at the names
 * itself, which costs what the channel's traffic costs.
 */
import type { Message } from '../message';
import { emitValue, envelope } from './envelope';
import type { Envelope, EnvelopeListener } from './envelope';
import { Peer } from './peer';

/** Characters that mean something in a regular expression. */
const MEANING = /[\\^$.*+?()[\]{}|]/;

interface Entry {
  name: string | RegExp;
  /** Pattern that is subscribed for it. */
  pattern: string;
  matches(event: string): boolean;
  listener: EnvelopeListener;
  once: boolean;
}

/** An agent. */
export class NCAgent extends Peer<string | RegExp> {
  private entries: Entry[] = [];
  private readonly subscribed = new Map<string, (message: Message) => void>();

  /** Connects to a channel of the default broker, `default` unless it is named. */
  connect(channel: string | (() => void) = 'default', connected?: () => void): this {
    if (typeof channel === 'function') return this.open(undefined, {}, channel);
    return this.open(undefined, { channel }, connected);
  }

  protected override resume(): void {
    this.subscribed.clear();
    for (const entry of this.entries) this.subscribe(entry.pattern);
  }

  /** Emits a value to the own listeners, and to all others unless `broadcast` is false. */
  emit(event: string, data?: unknown, broadcast: boolean = true): this {
    if (broadcast && this.client !== undefined) emitValue(this.client, event, data);
    this.call(this.entries.filter((entry) => entry.matches(event)), { event, data });
    return this;
  }

  protected override add(name: string | RegExp, listener: EnvelopeListener, once: boolean): this {
    const isPlain = typeof name === 'string' && !MEANING.test(name);
    const expression = isPlain ? undefined : new RegExp(`^(?:${typeof name === 'string' ? name : name.source})$`, typeof name === 'string' ? '' : name.flags.replace(/[gy]/g, ''));
    const entry: Entry = {
      name,
      pattern: isPlain ? name : '**',
      matches: expression === undefined ? (event) => event === name : (event) => expression.test(event),
      listener,
      once,
    };
    this.entries.push(entry);
    this.subscribe(entry.pattern);
    return this;
  }

  private subscribe(pattern: string): void {
    if (this.client === undefined || this.subscribed.has(pattern)) return;
    const received = (message: Message): void => {
      const heard = this.entries.filter((entry) => entry.pattern === pattern && entry.matches(message.event));
      if (heard.length > 0) this.call(heard, envelope(message));
    };
    this.subscribed.set(pattern, received);
    this.client.on(pattern, received);
  }

  private call(entries: Entry[], received: Envelope): void {
    if (this.dumptoconsole && entries.length > 0) console.log(JSON.stringify(received));
    for (const entry of entries) {
      if (entry.once) this.remove(entry);
      entry.listener(received);
    }
  }

  private remove(entry: Entry): void {
    this.entries = this.entries.filter((it) => it !== entry);
    const received = this.subscribed.get(entry.pattern);
    if (received !== undefined && !this.entries.some((it) => it.pattern === entry.pattern)) {
      this.subscribed.delete(entry.pattern);
      this.client?.off(entry.pattern, received);
    }
  }

  /** Removes a listener. */
  override removeListener(name: string | RegExp, listener: EnvelopeListener): this {
    const entry = this.entries.findLast((it) => String(it.name) === String(name) && it.listener === listener);
    if (entry !== undefined) this.remove(entry);
    return this;
  }
}
