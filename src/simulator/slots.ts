/** So many at once; the others wait in the order they came. */
export class Slots {
  readonly #limit: number;
  readonly #waiting: (() => Promise<void>)[] = [];
  #busy = 0;

  /** @param limit 0 for as many as come */
  constructor(limit: number) {
    this.#limit = limit;
  }

  enter(work: () => Promise<void>): void {
    this.#waiting.push(work);
    this.#next();
  }

  #next(): void {
    while (this.#waiting.length > 0 && (this.#limit === 0 || this.#busy < this.#limit)) {
      const work = this.#waiting.shift();
      this.#busy += 1;
      void work?.().finally(() => {
        this.#busy -= 1;
        this.#next();
      });
    }
  }
}
