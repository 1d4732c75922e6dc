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

/** Collects the messages of a batch, which all lie in one slab. */
export class BatchBuilder {
  private slab: Slab | undefined;
  private places = new Int32Array(1024);
  private count = 0;
  /** The route of all so far, unless they differ. */
  private route: Route | undefined;
  private routes: Route[] = [];

  /** Adds a message; whether it is the first. */
  push(route: Route, slab: Slab, at: number): boolean {
    const count = this.count;
    if (route !== this.route) this.addRoute(route, slab);
    if (count === this.places.length) this.grow();
    this.places[count] = at;
    this.count = count + 1;
    return count === 0;
  }

  /** Names are kept one by one only where they differ. */
  private addRoute(route: Route, slab: Slab): void {
    if (this.count === 0) {
      this.slab = slab;
      this.route = route;
      return;
    }
    if (this.route !== undefined) {
      this.routes = new Array<Route>(this.count).fill(this.route);
      this.route = undefined;
    }
    this.routes.push(route);
  }

  private grow(): void {
    const larger = new Int32Array(2 * this.places.length);
    larger.set(this.places);
    this.places = larger;
  }

  /** Takes what was collected. */
  take(): Batch {
    const routes = this.route === undefined ? this.routes : [this.route];
    const batch = new Batch(this.slab!, this.places.slice(0, this.count), routes);
    this.count = 0;
    this.route = undefined;
    this.routes = [];
    return batch;
  }
}
