/** Messages that came together. */
import { Message, payloadEnd, payloadOf, payloadStart } from './message';
import type { Route } from './routes';
import type { Slab } from './slab';

/**
 * Messages that were read from the socket together, in order. They are looked at by index,
 * without an object for each; a batch may be kept as a message may.
 */
export class Batch<Data = any> implements Iterable<Message<Data>> {
  /** How many there are. */
  readonly length: number;
  private readonly slab: Slab;
  private readonly places: Int32Array;
  private readonly routes: readonly Route[];

  /** @internal */
  constructor(slab: Slab, places: Int32Array, routes: readonly Route[]) {
    this.length = places.length;
    this.slab = slab;
    this.places = places;
    this.routes = routes;
  }

  /** Name of an event. */
  event(index: number): string {
    return (this.routes.length === 1 ? this.routes[0] : this.routes[index])!.event;
  }

  /** Bytes of a payload. */
  payload(index: number): Buffer {
    return payloadOf(this.slab, this.start(index), this.end(index));
  }

  /** Data of an event, decoded. */
  data(index: number): Data {
    return this.message(index).data;
  }

  /** A message. */
  message(index: number): Message<Data> {
    return new Message(this.event(index), this.slab, this.places[index]!);
  }

  /** Memory that all payloads lie in: see {@link start} and {@link end}. */
  get buffer(): Buffer {
    return this.slab.bytes;
  }

  /** Start of a payload in {@link buffer}. */
  start(index: number): number {
    return payloadStart(this.slab, this.places[index]!);
  }

  /** End of a payload in {@link buffer}. */
  end(index: number): number {
    return payloadEnd(this.slab, this.places[index]!);
  }

  *[Symbol.iterator](): Iterator<Message<Data>> {
    for (let index = 0; index < this.length; index++) yield this.message(index);
  }
}

/** Collects the messages of a batch. */
export class BatchBuilder {
  private slab: Slab | undefined;
  private places = new Int32Array(1024);
  private routes: Route[] = [];
  private count = 0;

  /** Adds a message, of the same slab as those before; whether it is the first. */
  push(route: Route, slab: Slab, at: number): boolean {
    if (this.count === this.places.length) {
      const larger = new Int32Array(2 * this.count);
      larger.set(this.places);
      this.places = larger;
    }
    this.slab = slab;
    if (this.routes.length !== 1 || this.routes[0] !== route) this.addRoute(route);
    this.places[this.count] = at;
    return this.count++ === 0;
  }

  /** Names are kept one by one only where they differ. */
  private addRoute(route: Route): void {
    if (this.routes.length === 1 && this.count > 1) this.routes = new Array<Route>(this.count).fill(this.routes[0]!);
    this.routes.push(route);
  }

  /** Takes what was collected. */
  take(): Batch {
    const batch = new Batch(this.slab!, this.places.slice(0, this.count), this.routes);
    this.count = 0;
    this.routes = [];
    return batch;
  }
}
