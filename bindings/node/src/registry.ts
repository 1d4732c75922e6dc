/** Listeners by pattern, in the order in which they were added. */
import { Trie } from './trie';

/** Takes an event in whatever form its kind of listener has it. */
export interface Sink {
  /** Function or object that was given, by which it is removed. */
  readonly listener: unknown;
  /** Removed before it is called the first time. */
  readonly once: boolean;
  /** Takes messages by itself, together with others that came at the same time. */
  readonly batched: boolean;
}

/** A sink in its place. */
export interface Entry<S extends Sink> {
  readonly pattern: string;
  readonly sink: S;
  readonly order: number;
}

/** Changes of the set of patterns. */
export interface PatternChange {
  subscribed(pattern: string): void;
  unsubscribed(pattern: string): void;
}

/** All listeners of a client. */
export class Registry<S extends Sink> {
  /** Changes with every change of the listeners. */
  version = 0;
  private readonly patterns = new Map<string, Entry<S>[]>();
  private readonly trie = new Trie();
  private last = 0;
  private first = 0;

  constructor(private readonly change: PatternChange) {}

  /** Adds a sink behind all others, or before them. */
  add(pattern: string, sink: S, before = false): void {
    const entry = { pattern, sink, order: before ? --this.first : ++this.last };
    const entries = this.patterns.get(pattern);
    this.version++;
    if (entries === undefined) {
      this.patterns.set(pattern, [entry]);
      this.trie.add(pattern);
      this.change.subscribed(pattern);
    } else {
      entries.splice(before ? 0 : entries.length, 0, entry);
    }
  }

  /** Removes the last sink of this pattern that has this listener; whether there was one. */
  remove(pattern: string, listener: unknown): boolean {
    const entries = this.patterns.get(pattern);
    const at = entries?.findLastIndex((entry) => entry.sink.listener === listener) ?? -1;
    if (entries === undefined || at < 0) return false;
    this.version++;
    entries.splice(at, 1);
    if (entries.length === 0) this.drop(pattern);
    return true;
  }

  /** Removes all sinks of a pattern. */
  removeAll(pattern: string): void {
    if (!this.patterns.has(pattern)) return;
    this.version++;
    this.drop(pattern);
  }

  private drop(pattern: string): void {
    this.patterns.delete(pattern);
    this.trie.remove(pattern);
    this.change.unsubscribed(pattern);
  }

  /** Whether there is a sink for this pattern. */
  has(pattern: string): boolean {
    return this.patterns.has(pattern);
  }

  /** All patterns that somebody listens to. */
  names(): string[] {
    return [...this.patterns.keys()];
  }

  /** The sinks of a pattern; without one all. */
  sinks(pattern?: string): S[] {
    const lists = pattern === undefined ? [...this.patterns.values()] : [this.patterns.get(pattern) ?? []];
    return lists.flat().map((entry) => entry.sink);
  }

  /** The sinks that get an event of this name, in order. */
  matching(event: string): Entry<S>[] {
    const entries: Entry<S>[] = [];
    for (const pattern of this.trie.matches(event)) entries.push(...this.patterns.get(pattern)!);
    return entries.sort((one, two) => one.order - two.order);
  }
}
