import { pause } from '../retry.ts';
import type { Throttle } from '../upload-deps.ts';

const SMALLEST_PIECE = 16 * 1024;
const LARGEST_PIECE = 4 * 1024 * 1024;
/** A piece should take about this long, so that a slow line is used evenly and never looks stalled. */
const PIECE_MS = 250;
/** Whoever was held back within this is held back. */
const BINDING_MS = 5_000;

/** Something that lets so many bytes pass in a second. */
export interface Bucket {
  /** Bytes per second at this moment; undefined for no limit. */
  rate(): number | undefined;
  /** Takes bytes out; resolves to the milliseconds after which they may pass. */
  take(bytes: number, rate: number): number | Promise<number>;
}

/** Of one process. */
export function localBucket(rate: () => number | undefined): Bucket {
  let freeAt = 0;
  return {
    rate,
    take(bytes, perSecond) {
      // The clock that nobody can set.
      const now = performance.now();
      const startAt = Math.max(freeAt, now);
      freeAt = startAt + (bytes / perSecond) * 1000;
      return startAt - now;
    },
  };
}

/** Bytes pass when every bucket lets them. Rates are asked for at each piece: they may change. */
export function createThrottle(buckets: readonly Bucket[]): Throttle {
  let waitedAt = Number.NEGATIVE_INFINITY;
  let passedAt = Number.NEGATIVE_INFINITY;
  let begunAt = Number.NEGATIVE_INFINITY;
  return {
    get isBinding() {
      const now = performance.now();
      // What has just begun has not been held back yet, and may be.
      const isNew = now - begunAt < BINDING_MS;
      const isLimited = buckets.some((bucket) => bucket.rate() !== undefined);
      return now - waitedAt < BINDING_MS || (isNew && isLimited);
    },
    pieceBytes() {
      const rates = buckets.flatMap((bucket) => bucket.rate() ?? []);
      if (rates.length === 0) return LARGEST_PIECE;
      const piece = Math.floor((Math.min(...rates) * PIECE_MS) / 1000);
      return Math.min(LARGEST_PIECE, Math.max(SMALLEST_PIECE, piece));
    },
    async pass(bytes, signal) {
      const now = performance.now();
      if (now - passedAt > BINDING_MS) begunAt = now;
      passedAt = now;
      let longest = 0;
      for (const bucket of buckets) {
        const rate = bucket.rate();
        if (rate !== undefined) longest = Math.max(longest, await bucket.take(bytes, rate));
      }
      if (longest <= 0) return;
      await pause(longest, signal);
      waitedAt = performance.now();
    },
  };
}
