import { classify } from '../errors.ts';
import { orAborted } from '../vcd/abort.ts';
import { pause, retryDelayMs } from './retry.ts';

/** A series of looks, one after the other, until there is an answer. */
interface Asking {
  /** Whether the first look had one. */
  readonly first: Promise<boolean>;
  readonly until: Promise<void>;
}

/**
 * Asks for all uploads of a process whether a target answers: while it is down one small request
 * goes out from time to time, instead of one for each upload. What was down is asked until it answers,
 * also when nobody waits: until then this process takes no jobs that others could do.
 */
export class TargetGate {
  readonly #probe: (signal: AbortSignal) => Promise<void>;
  readonly #closing = new AbortController();
  #asking: Asking | undefined;
  #isDown = false;

  /** @param probe throws while nobody answers */
  constructor(probe: (signal: AbortSignal) => Promise<void>) {
    this.#probe = probe;
  }

  /** True from the first look without an answer until there is one. */
  get isDown(): boolean {
    return this.#isDown;
  }

  /** Returns when the target has answered; by itself it never gives up. */
  async untilUp(signal: AbortSignal): Promise<void> {
    await orAborted(this.#ask().until, signal);
  }

  /** Whether it answers now. */
  async answers(signal: AbortSignal): Promise<boolean> {
    return this.#isDown ? false : orAborted(this.#ask().first, signal);
  }

  close(): void {
    this.#closing.abort();
  }

  #ask(): Asking {
    if (this.#asking) return this.#asking;
    let tellFirst: (isUp: boolean) => void = () => undefined;
    const first = new Promise<boolean>((resolve) => {
      tellFirst = resolve;
    });
    const until = this.#untilAnswered(tellFirst).finally(() => {
      this.#asking = undefined;
    });
    until.catch(() => undefined); // nobody may be waiting any more
    this.#asking = { first, until };
    return this.#asking;
  }

  async #untilAnswered(tellFirst: (isUp: boolean) => void): Promise<void> {
    const { signal } = this.#closing;
    for (let n = 1; ; n += 1) {
      try {
        await this.#probe(signal);
        this.#isDown = false;
      } catch (error) {
        const failure = classify(error);
        // Something is there, and what is wrong with it will be told by the next request.
        this.#isDown = failure.kind !== 'permanent' && !signal.aborted;
        if (this.#isDown) {
          tellFirst(false);
          await pause(retryDelayMs(n, failure), signal);
          continue;
        }
      }
      tellFirst(true);
      return;
    }
  }
}
