/** A look is repeated at the earliest after this many times of what it took. */
const REST = 4;
/** So long whoever asks waits for a new look before it gets the last one. */
const WAIT_MS = 250;
/** What is older is not told at all. */
const OLDEST_MS = 10_000;

/**
 * What was seen of late, for any number of people who ask: looks never overlap, and one that is dear is
 * repeated the less often.
 */
export class Recent<T> {
  readonly #look: () => Promise<T>;
  readonly #shortestMs: number;
  #last: { readonly value: T; readonly at: number; readonly tookMs: number } | undefined;
  #pending: Promise<T> | undefined;

  /** @param shortestMs what is younger is not looked at again */
  constructor(look: () => Promise<T>, shortestMs: number) {
    this.#look = look;
    this.#shortestMs = shortestMs;
  }

  /** @throws what the look throws, if that is the newest */
  async get(): Promise<T> {
    const last = this.#last;
    const age = last ? performance.now() - last.at : Number.POSITIVE_INFINITY;
    if (last && age < Math.max(this.#shortestMs, REST * last.tookMs)) return last.value;
    this.#pending ??= this.#lookAgain();
    if (!last || age > OLDEST_MS + REST * last.tookMs) return this.#pending;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<T>((resolve) => {
      timer = setTimeout(resolve, WAIT_MS, last.value);
    });
    try {
      return await Promise.race([this.#pending, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #lookAgain(): Promise<T> {
    const begun = performance.now();
    try {
      const value = await this.#look();
      const at = performance.now();
      this.#last = { value, at, tookMs: at - begun };
      return value;
    } catch (error) {
      this.#last = undefined; // what was true before is not told as if it still were
      throw error;
    } finally {
      this.#pending = undefined;
    }
  }
}
