/** A number at once is judged once there were so many for so long, all in all. Milliseconds. */
const JUDGED_AFTER_MS = 8_000;
const REMEMBERED_MS = 60_000;
const SHORTEST_LOOK_MS = 200;
/** Longer than preparing and measuring one takes. */
const WAITED_FOR_MS = 30_000;
/** One more transfer has to bring at least this. */
const WORTH = 1.08;
/** What did not help is tried again after this: lines and servers change. */
const TRIED_AGAIN_MS = 10 * 60_000;
/** Transfers that are over within this are not waited for. */
const SHORT_MS = 20_000;
/** So little is never waited for. */
const SMALL_BYTES = 64 * 1024 * 1024;

/** What a process sends at one moment. */
export interface Sending {
  /** Places for transfers that are taken. */
  readonly held: number;
  /** Those of them that send; the others are prepared, or wait. */
  readonly count: number;
  /** Bytes that they still have to send. */
  readonly bytesLeft: number;
}

/**
 * Decides whether one more upload at once would bring anything. On a line that one upload fills, four at
 * once end together in the end; one after the other the first is there in a quarter of that time.
 *
 * Only what was measured speaks against another one: with short transfers, or before there is a measure,
 * it may begin.
 */
export class RateSeeker {
  readonly #now: () => number;
  /** Bytes since the last look. */
  #sent = 0;
  #unknownSince: number | undefined;
  #looked: { readonly at: number; readonly count: number };
  /** By the number of transfers at once: what went through with so many, and when that was seen last. */
  readonly #seen = new Map<number, { bytes: number; ms: number; at: number }>();

  /** @param now a clock that nobody can set, milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#looked = { at: now(), count: 0 };
  }

  sent(bytes: number): void {
    this.#sent += bytes;
  }

  /** To be called about each second, with the number of transfers that send. */
  observe(count: number): void {
    const at = this.#now();
    const { at: before, count: countBefore } = this.#looked;
    const ms = at - before;
    if (ms < SHORTEST_LOOK_MS) return;
    // Where nothing was sent, something else was waited for; where the count has changed, it was mixed.
    if (this.#sent > 0 && count > 0 && count === countBefore) this.#add(count, { ms, at });
    this.#looked = { at, count };
    this.#sent = 0;
  }

  #add(count: number, { ms, at }: { ms: number; at: number }): void {
    const seen = this.#fresh(count) ?? { bytes: 0, ms: 0, at };
    // Older looks count for less and less.
    const share = seen.ms > REMEMBERED_MS ? 0.5 : 1;
    this.#seen.set(count, { bytes: seen.bytes * share + this.#sent, ms: seen.ms * share + ms, at });
  }

  /** Whether another transfer may begin beside those that are under way. */
  mayBegin({ held, count, bytesLeft }: Sending): boolean {
    const now = this.#now();
    const here = this.#rateWith(count);
    const isKnown = held === count && (count === 0 || here !== undefined);
    if (isKnown) this.#unknownSince = undefined;
    else this.#unknownSince ??= now;
    if (held === 0 || bytesLeft <= SMALL_BYTES) return true;
    // One is being prepared, or measured; if that takes long, something keeps it from sending.
    const waited = this.#unknownSince === undefined ? 0 : now - this.#unknownSince;
    if (!isKnown && waited < WAITED_FOR_MS) return false;
    if (here === undefined) {
      this.#unknownSince = now; // the one that begins now is waited for as well
      return true;
    }
    if (bytesLeft / here < SHORT_MS) return true; // so that the line does not idle in between
    const more = this.#rateWith(count + 1);
    if (more !== undefined) return more >= here * WORTH;
    const fewer = this.#rateWith(count - 1);
    return fewer === undefined || here >= fewer * WORTH;
  }

  #fresh(count: number): { bytes: number; ms: number; at: number } | undefined {
    const seen = this.#seen.get(count);
    return seen && this.#now() - seen.at < TRIED_AGAIN_MS ? seen : undefined;
  }

  /** Bytes per millisecond; undefined where it was not seen for long enough. */
  #rateWith(count: number): number | undefined {
    const seen = this.#fresh(count);
    return seen && seen.ms >= JUDGED_AFTER_MS ? seen.bytes / seen.ms : undefined;
  }
}
