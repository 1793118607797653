const MiB = 1024 * 1024;
const SMALLEST = 8 * MiB;
const LARGEST = 1024 * MiB;
const FIRST = 64 * MiB;
const AIM_MS = 30_000;

/** A range of a file: bytes [start, end). */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * How much to send in one PUT. A chunk should take about half a minute: short enough to lose little,
 * long enough for its overhead not to show.
 */
export class ChunkSizer {
  readonly #fixed: number | undefined;
  #bytes: number;

  /** @param fixed bytes; undefined to adapt to the line */
  constructor(fixed?: number) {
    this.#fixed = fixed;
    this.#bytes = fixed ?? FIRST;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A chunk of so many bytes went through in this time. */
  sent(bytes: number, ms: number): void {
    if (this.#fixed !== undefined || bytes < Math.min(this.#bytes, SMALLEST)) return;
    const ideal = (bytes / Math.max(ms, 1)) * AIM_MS;
    // At most eightfold at once: one fast chunk may have gone into a buffer.
    this.#bytes = clamp(Math.min(ideal, this.#bytes * 8));
  }

  /** A chunk did not go through: a proxy may refuse or cut bodies of that size. */
  failed(): void {
    if (this.#fixed === undefined) this.#bytes = clamp(this.#bytes / 2);
  }
}

function clamp(bytes: number): number {
  return Math.floor(Math.min(LARGEST, Math.max(SMALLEST, bytes)));
}

/**
 * The next range to send of a file of `size` bytes of which the server has `offset`.
 *
 * @param holdBack leave the very last byte for a request of its own
 */
export function nextRange(
  offset: number,
  { size, chunkBytes, holdBack }: { size: number; chunkBytes: number; holdBack: boolean },
): Range {
  const end = Math.min(size, offset + chunkBytes);
  const last = end === size && holdBack && size - offset > 1;
  return { start: offset, end: last ? size - 1 : end };
}
