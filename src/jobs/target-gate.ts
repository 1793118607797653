import { classify } from '../errors.ts';
import { orAborted } from '../vcd/api.ts';
import { pause, retryDelayMs } from './retry.ts';

/**
 * Asks for all uploads of a process whether a target answers: while it is down one small request
 * goes out from time to time, instead of one for each upload.
 */
export class TargetGate {
  readonly #probe: (signal: AbortSignal) => Promise<void>;
  #asking: { until: Promise<void>; stop: AbortController } | undefined;
  #waiting = 0;
  #isDown = false;

  /** @param probe throws while nobody answers */
  constructor(probe: (signal: AbortSignal) => Promise<void>) {
    this.#probe = probe;
  }

  /** True while uploads wait for an answer and have had none. */
  get isDown(): boolean {
    return this.#waiting > 0 && this.#isDown;
  }

  /** Returns when the target has answered; by itself it never gives up. */
  async untilUp(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    this.#asking ??= this.#ask();
    const { until, stop } = this.#asking;
    try {
      await orAborted(until, signal);
    } finally {
      this.#waiting -= 1;
      if (this.#waiting === 0) {
        stop.abort();
        this.#asking = undefined;
      }
    }
  }

  #ask(): { until: Promise<void>; stop: AbortController } {
    const stop = new AbortController();
    const until = this.#untilAnswered(stop.signal);
    until.catch(() => undefined); // nobody may be waiting any more
    return { until, stop };
  }

  async #untilAnswered(signal: AbortSignal): Promise<void> {
    for (let n = 1; ; n += 1) {
      try {
        await this.#probe(signal);
        this.#isDown = false;
        return;
      } catch (error) {
        const failure = classify(error);
        // Something is there, and what is wrong with it will be told by the next request.
        this.#isDown = failure.kind !== 'permanent';
        if (!this.#isDown) return;
        await pause(retryDelayMs(n, failure), signal);
      }
    }
  }
}
