/**
 * From the name in a frame to who listens to it, without making a string of it: a cache
 * over the registry, of names as they came.
 */
import { isUtf8 } from 'node:buffer';
import { NetclusterError } from './errors';
import { HEADER_BYTES, pad } from './limits';
import type { Entry, Registry, Sink } from './registry';
import type { Slab } from './slab';

/** Names that are remembered; with more the cache starts anew. */
const MAX_ROUTES = 4096;

/** A name, and who gets its events. */
export interface Route<S extends Sink = any> {
  readonly event: string;
  readonly entries: readonly Entry<S>[];
  /** The only one, if there is one and it is no `once`: most names have one. */
  readonly only: S | undefined;
  readonly nameLength: number;
  /** The name with its padding, as it came. */
  readonly words: Uint32Array;
  /** Another name with the same hash. */
  readonly next: Route<S> | undefined;
}

/** Cache of routes. */
export class Routes<S extends Sink = any> {
  private last: Route<S> | undefined;
  private readonly known = new Map<number, Route<S>>();
  private count = 0;
  private version = 0;

  constructor(private readonly registry: Registry<S>) {}

  /** The route of the frame at this place. */
  find(slab: Slab, at: number, nameLength: number): Route<S> {
    if (this.version !== this.registry.version) this.clear();
    const last = this.last;
    if (last !== undefined && isSame(last, slab.words, (at + HEADER_BYTES) >>> 2, nameLength)) return last;
    return (this.last = this.search(slab, at, nameLength));
  }

  private search(slab: Slab, at: number, nameLength: number): Route<S> {
    const start = (at + HEADER_BYTES) >>> 2;
    const end = start + (pad(nameLength) >>> 2);
    let hash = nameLength;
    for (let word = start; word < end; word++) hash = Math.imul(hash ^ slab.words[word]!, 0x9e3779b1) ^ (hash >>> 15);
    const first = this.known.get(hash);
    for (let route = first; route !== undefined; route = route.next) {
      if (isSame(route, slab.words, start, nameLength)) return route;
    }
    if (this.count >= MAX_ROUTES) this.clear();
    const event = slab.bytes.toString('utf8', at + HEADER_BYTES, at + HEADER_BYTES + nameLength);
    if (event.includes('\ufffd') && !isUtf8(slab.bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + nameLength))) {
      throw new NetclusterError('PROTOCOL', 'the other end broke the protocol: an event whose name is no UTF-8');
    }
    const entries = this.registry.matching(event);
    const only = entries.length === 1 && !entries[0]!.sink.once ? entries[0]!.sink : undefined;
    const words = slab.words.slice(start, end);
    const route = { event, entries, only, nameLength, words, next: this.known.get(hash) };
    this.known.set(hash, route);
    this.count++;
    return route;
  }

  private clear(): void {
    this.known.clear();
    this.count = 0;
    this.last = undefined;
    this.version = this.registry.version;
  }
}

function isSame(route: Route, words: Uint32Array, start: number, nameLength: number): boolean {
  if (route.nameLength !== nameLength) return false;
  const known = route.words;
  for (let at = 0; at < known.length; at++) {
    if (words[start + at] !== known[at]) return false;
  }
  return true;
}
