/** Questions to the broker that wait for their answers. */
import type { NetclusterError } from './errors';

/** A question. */
export interface Request {
  readonly kind: number;
  /** The pattern, of a subscription. */
  readonly pattern?: string;
  answered(payload: Buffer): void;
  failed(error: NetclusterError): void;
}

/** Open questions by number. */
export class Requests {
  private readonly open = new Map<number, Request>();
  private last = 0;

  /** How many wait. */
  get size(): number {
    return this.open.size;
  }

  /** Adds a question; gives its number. */
  add(request: Request): number {
    this.open.set(++this.last, request);
    return this.last;
  }

  /** A number for what has no answer that is waited for here. */
  token(): number {
    return ++this.last;
  }

  /** Takes the question with a number, if there is one. */
  take(number: number): Request | undefined {
    const request = this.open.get(number);
    this.open.delete(number);
    return request;
  }

  /** Takes all questions, in order. */
  takeAll(): Request[] {
    const requests = [...this.open.values()];
    this.open.clear();
    return requests;
  }
}
