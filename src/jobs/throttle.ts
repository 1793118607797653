import { pause } from './retry.ts';
import type { Throttle } from './upload-deps.ts';

const SMALLEST_PIECE = 16 * 1024;
const LARGEST_PIECE = 4 * 1024 * 1024;
/** A piece should take about this long, so that a slow line is used evenly and never looks stalled. */
const PIECE_MS = 250;

/**
 * A bucket that all uploads of a process draw from.
 *
 * @param bytesPerSecond asked for every piece, so that a timetable takes effect at once; undefined
 *   for no limit
 */
export function createThrottle(bytesPerSecond: () => number | undefined): Throttle {
  let freeAt = 0;
  return {
    pieceBytes() {
      const rate = bytesPerSecond();
      if (rate === undefined) return LARGEST_PIECE;
      const piece = Math.floor((rate * PIECE_MS) / 1000);
      return Math.min(LARGEST_PIECE, Math.max(SMALLEST_PIECE, piece));
    },
    async pass(bytes, signal) {
      const rate = bytesPerSecond();
      if (rate === undefined) return;
      const now = performance.now();
      const startAt = Math.max(freeAt, now);
      freeAt = startAt + (bytes / rate) * 1000;
      if (startAt > now) await pause(startAt - now, signal);
    },
  };
}
