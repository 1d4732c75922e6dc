/** Changes that calls wait for. Who waits in vain leaves no listener behind: all wait for one promise. */
export class Changes {
  private waiting: { promise: Promise<void>; resolve(): void } | undefined;

  /** Waits for the next change. */
  next(): Promise<void> {
    if (this.waiting === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => (resolve = done));
      this.waiting = { promise, resolve };
    }
    return this.waiting.promise;
  }

  /** Has all who wait look again. */
  tell(): void {
    this.waiting?.resolve();
    this.waiting = undefined;
  }
}
