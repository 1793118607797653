import { setTimeout as sleep } from 'node:timers/promises';
import { classify, type FerryError, isTargetFault } from '../errors.ts';

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
const TARGET_FAULT_TRIES = 2;
/** Less than so many failures in a row are a hiccup. */
const TOLD_AFTER = 3;

/**
 * How long to wait before the n-th repetition (counted from 1): the server's wish, or about 1 s
 * doubling up to 30 s, half of it random. A conflict only needs another look, but never at once:
 * the server may still be catching up.
 */
export function retryDelayMs(
  n: number,
  error: FerryError,
  { firstMs = FIRST_DELAY_MS, random = Math.random } = {},
): number {
  if (error.retryAfterMs !== undefined) return error.retryAfterMs;
  const first = error.kind === 'conflict' ? firstMs / 4 : firstMs;
  const ceiling = Math.min(first * 2 ** (n - 1), LONGEST_DELAY_MS);
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/** Waits, or throws the signal's reason as soon as it is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

export interface PatienceOptions {
  readonly limitMs: number;
  /** The first pause; the following ones grow from it. */
  readonly firstDelayMs?: number;
  readonly onRetry: (error: FerryError, delayMs: number) => void;
  /** What the step keeps failing by; null as soon as it does no more. */
  readonly onTrouble?: (error: FerryError | null) => void;
  /** Waits while nobody at the target answers; asked before a request is repeated. */
  readonly untilReachable?: (signal: AbortSignal) => Promise<void>;
}

/** They may mean that the whole target is away: then one asks for all. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'PROXY_REFUSED',
  'NETWORK',
  'SERVER_UNAVAILABLE',
  'TRANSFER_STALLED',
]);
/** Whether a failure may mean that nobody at the target answers. */
export function isUnreachable({ code }: FerryError): boolean {
  return UNREACHABLE.has(code);
}

/** They take so long that the wait is not for a run that holds a place. */
const LONG_WAITS: ReadonlySet<string> = new Set([
  'WORKER_OVERLOADED',
  'NAME_RESERVED',
  'STORAGE_FULL',
  'TARGET_BUSY',
  'IMPORT_FAILED',
  'SOURCE_UNREACHABLE',
  'WINDOW_CLOSED',
  'DESTINATION_FULL',
  'DESTINATION_UNREACHABLE',
  'SOURCE_PENDING',
]);

/**
 * Counts fruitless tries of one step. Progress starts the count anew, so that a long upload over a
 * bad line survives while a hopeless one gives its slot back after `limitMs`.
 */
export class Patience {
  readonly #options: PatienceOptions;
  #fruitless = 0;
  #isTold = false;
  #since = performance.now();

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /** To be called for what brings the end nearer, not for a look that only showed how things are. */
  progressed(): void {
    this.#fruitless = 0;
    this.#since = performance.now();
    this.#isOver();
  }

  #isOver(): void {
    if (this.#isTold) this.#options.onTrouble?.(null);
    this.#isTold = false;
  }

  /** Waits until the step may be tried again; throws the error if it may not. */
  async afterFailure(failure: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const error = classify(failure);
    if (error.kind === 'permanent' || error.kind === 'cancelled') throw error;
    if (LONG_WAITS.has(error.code)) throw error;
    this.#fruitless += 1;
    // A fault of the target is everybody's: asking again soon helps only against a hiccup.
    if (isTargetFault(error.code) && this.#fruitless > TARGET_FAULT_TRIES) throw error;
    const { limitMs, firstDelayMs = FIRST_DELAY_MS, onRetry } = this.#options;
    const delayMs = retryDelayMs(this.#fruitless, error, { firstMs: firstDelayMs });
    if (performance.now() - this.#since + delayMs > limitMs) throw error;
    onRetry(error, delayMs);
    if (this.#fruitless >= TOLD_AFTER) {
      this.#isTold = true;
      this.#options.onTrouble?.(error);
    }
    await pause(delayMs, signal);
    if (UNREACHABLE.has(error.code)) await this.#untilReachable(error, signal);
  }

  /** A wait of more than the limit gives the place back to somebody else. */
  async #untilReachable(error: FerryError, signal: AbortSignal): Promise<void> {
    const { limitMs, untilReachable } = this.#options;
    if (!untilReachable) return;
    const leftMs = limitMs - (performance.now() - this.#since);
    const limit = AbortSignal.timeout(Math.max(1, Math.ceil(leftMs)));
    try {
      await untilReachable(AbortSignal.any([signal, limit]));
    } catch {
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Repeats a call that may safely be repeated. */
  async repeat<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        const answer = await call();
        this.#isOver();
        return answer;
      } catch (error) {
        if (classify(error).kind === 'conflict') throw error; // something else has to be read first
        await this.afterFailure(error, signal);
      }
    }
  }
}
