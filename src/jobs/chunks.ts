const KiB = 1024;
const MiB = 1024 * KiB;
/** Adapting to a slow line ends here; what refuses larger bodies is met with less. */
const SMALLEST = 8 * MiB;
export const SMALLEST_CHUNK_BYTES = 64 * KiB;
const LARGEST = 1024 * MiB;
export const FIRST_CHUNK_BYTES = 64 * MiB;
const AIM_MS = 30_000;
/** So often in a row a size has to come to nothing before it is taken for too large. */
const FAILURES_THAT_REFUSE = 2;
/** After so many that went through, twice as much is tried again. */
const SUCCESSES_THAT_RAISE = 16;

/** A range of a file: bytes [start, end). */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** What stands in front of a target lets no larger bodies pass: known to all uploads to it. */
export interface BodyLimit {
  /** Bytes of the smallest body that was refused of late; undefined if none was. */
  readonly refusedBytes: number | undefined;
  refuse(bytes: number): void;
}

/**
 * How much to send in one PUT. A chunk should take about half a minute: short enough to lose little,
 * long enough for its overhead not to show. Where something in between says that bodies of a size are too
 * large, chunks stay well below that. What comes to nothing again and again without a word may be too large as
 * well: but that is only a guess, made for this one upload.
 */
export class ChunkSizer {
  readonly #largest: number;
  readonly #isFixed: boolean;
  readonly #limit: BodyLimit;
  #bytes: number;
  #failures = 0;
  /** What was guessed to pass; undefined for anything. */
  #guess: number | undefined;
  #successes = 0;

  /** @param fixed bytes, no more; undefined to adapt to the line */
  constructor(fixed?: number, limit: BodyLimit = unlimited()) {
    this.#isFixed = fixed !== undefined;
    this.#largest = fixed ?? LARGEST;
    this.#bytes = fixed ?? FIRST_CHUNK_BYTES;
    this.#limit = limit;
  }

  get bytes(): number {
    const { refusedBytes = Number.POSITIVE_INFINITY } = this.#limit;
    // Half of what was refused: to look for the very limit would cost more than it brings.
    const passing = Math.max(SMALLEST_CHUNK_BYTES, Math.floor(refusedBytes / 2));
    return Math.min(this.#bytes, passing, this.#guess ?? passing);
  }

  /** A chunk of so many bytes went through in this time. */
  sent(bytes: number, ms: number): void {
    this.#failures = 0;
    this.#successes += 1;
    if (this.#guess !== undefined && this.#successes % SUCCESSES_THAT_RAISE === 0) {
      this.#guess = this.#guess * 2 < this.#bytes ? this.#guess * 2 : undefined;
    }
    if (this.#isFixed || bytes < Math.min(this.bytes, SMALLEST)) return;
    const ideal = (bytes / Math.max(ms, 1)) * AIM_MS;
    // At most eightfold at once: one fast chunk may have gone into a buffer.
    this.#bytes = this.#clamp(Math.min(ideal, this.#bytes * 8));
  }

  /**
   * A chunk did not go through.
   *
   * @param isVain nothing of it was kept
   */
  failed(bytes: number, { isVain }: { readonly isVain: boolean }): void {
    if (!this.#isFixed) this.#bytes = this.#clamp(this.#bytes / 2);
    this.#failures = isVain ? this.#failures + 1 : 0;
    if (this.#failures < FAILURES_THAT_REFUSE) return;
    this.#failures = 0;
    this.#successes = 0;
    this.#guess = Math.max(SMALLEST_CHUNK_BYTES, Math.floor(Math.min(bytes, this.bytes) / 4));
  }

  /** Something said that a chunk of so many bytes is too large. */
  refused(bytes: number): void {
    this.#failures = 0;
    // It is known to be less: down in large steps, each costs a request.
    this.#limit.refuse(Math.max(SMALLEST_CHUNK_BYTES, Math.floor(bytes / 2)));
  }

  #clamp(bytes: number): number {
    return Math.floor(Math.min(this.#largest, Math.max(SMALLEST, bytes)));
  }
}

function unlimited(): BodyLimit {
  let refusedBytes: number | undefined;
  return {
    get refusedBytes() {
      return refusedBytes;
    },
    refuse(bytes) {
      refusedBytes = Math.min(refusedBytes ?? bytes, bytes);
    },
  };
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
