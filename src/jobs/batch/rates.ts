import type { Redis } from 'ioredis';
import { importsKey, rateKey } from '../names.ts';

/** Bytes are counted by slices of this. */
const SLICE_MS = 10_000;
/** A rate is that of the last so many slices in which something was sent. */
const LOOKED_AT = 30;
const KEPT_SLICES = 120;
/** What a target could do is remembered so long: over a weekend without uploads. */
const KEPT_MS = 7 * 86_400_000;
/** A batch has a rate while something of it was sent within this. */
const NOW_MS = 60_000;
const KEPT_IMPORTS = 50;
const FLUSH_MS = 5_000;
/** Between two pieces of a transfer that goes on there is less: a slow line takes megabytes at a time. */
const IDLE_MS = 5_000;

interface Counted {
  bytes: number;
  /** Milliseconds in which something was sent. */
  busyMs: number;
}

/**
 * How fast bytes go, over all workers, and how long imports take: what forecasts are made of. It is
 * measured where it is sent and kept in Redis by slices of time, so that whoever asks gets the same.
 * What goes under a limit of our own is kept apart from what goes as fast as it can.
 */
export class Rates {
  readonly #redis: Redis;
  /** By key, since the last flush. */
  #counted = new Map<string, Counted>();
  readonly #lastSent = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Bytes of a job have been handed to the socket. @param isLimited whether a limit of ours was in force */
  sent(
    bytes: number,
    {
      target,
      batch,
      isLimited,
    }: { readonly target: string; readonly batch: string | null; readonly isLimited: boolean },
  ): void {
    this.#count(rateKey(isLimited ? 'limited-target' : 'target', target), bytes);
    this.#count(rateKey('batch', batch ?? ''), bytes);
    this.#timer ??= setTimeout(() => void this.#flush().catch(() => undefined), FLUSH_MS).unref();
  }

  #count(key: string, bytes: number): void {
    const now = performance.now();
    const idleMs = now - (this.#lastSent.get(key) ?? 0);
    const counted = this.#counted.get(key) ?? { bytes: 0, busyMs: 0 };
    counted.bytes += bytes;
    // A first piece says how long it took by the next one only.
    counted.busyMs += idleMs < IDLE_MS ? idleMs : 0;
    this.#counted.set(key, counted);
    this.#lastSent.set(key, now);
  }

  async #flush(): Promise<void> {
    this.#timer = undefined;
    const slice = sliceOf(Date.now());
    const pipeline = this.#redis.pipeline();
    for (const [key, { bytes, busyMs }] of this.#counted) {
      pipeline.hincrby(key, `${slice}`, bytes);
      pipeline.hincrby(key, `${slice}ms`, Math.round(busyMs));
      pipeline.pexpire(key, KEPT_MS);
    }
    this.#counted = new Map();
    await pipeline.exec(); // while Redis is away a few seconds of it are not counted
  }

  /** An import of so many bytes took so long. */
  async imported(target: string, bytes: number, ms: number): Promise<void> {
    const key = importsKey(target);
    await this.#redis.lpush(key, `${bytes} ${Math.round(ms)}`);
    await this.#redis.ltrim(key, 0, KEPT_IMPORTS - 1);
  }

  /**
   * Bytes per second that a target takes.
   *
   * @param how 'free' as seen without a limit of ours, 'limited' under one; by default either
   * @returns undefined where nothing was sent of late
   */
  async ofTarget(target: string, how?: 'free' | 'limited'): Promise<number | undefined> {
    const free = how === 'limited' ? undefined : await this.#of(rateKey('target', target), KEPT_MS);
    if (how === 'free') return free;
    const limited = await this.#of(rateKey('limited-target', target), KEPT_MS);
    // What went under a limit is the least that it can do.
    return free === undefined || limited === undefined
      ? (free ?? limited)
      : Math.max(free, limited);
  }

  /** Bytes per second; undefined where nothing of it is being sent. */
  ofBatch(batch: string): Promise<number | undefined> {
    return this.#of(rateKey('batch', batch), NOW_MS);
  }

  /** How long an import of so many bytes takes, as the last ones did; milliseconds. */
  async importMs(target: string): Promise<(bytes: number) => number> {
    const seen = (await this.#redis.lrange(importsKey(target), 0, -1)).map((text) => {
      const [bytes = 0, ms = 0] = text.split(' ').map(Number);
      return { bytes, ms };
    });
    if (seen.length === 0) return () => 0;
    const mean = (of: (one: { bytes: number; ms: number }) => number): number =>
      seen.reduce((sum, one) => sum + of(one), 0) / seen.length;
    const [bytesMean, msMean] = [mean(({ bytes }) => bytes), mean(({ ms }) => ms)];
    const spread = mean(({ bytes }) => (bytes - bytesMean) ** 2);
    const together = mean(({ bytes, ms }) => (bytes - bytesMean) * (ms - msMean));
    // A line through what was seen, where sizes differ enough to tell; it never falls.
    const perByte = spread > 0 ? Math.max(0, together / spread) : 0;
    return (bytes) => Math.max(0, msMean + perByte * (bytes - bytesMean));
  }

  async #of(key: string, maxAgeMs: number): Promise<number | undefined> {
    const fields = await this.#redis.hgetall(key);
    const now = Date.now();
    // The slice that is being filled is left out: it is not full.
    const slices = Object.keys(fields)
      .filter((field) => /^\d+$/.test(field) && Number(field) < sliceOf(now))
      .sort((a, b) => Number(b) - Number(a));
    const old = slices.slice(KEPT_SLICES).flatMap((slice) => [slice, `${slice}ms`]);
    if (old.length > 0) await this.#redis.hdel(key, ...old);
    const oldest = sliceOf(now - maxAgeMs);
    const looked = slices.filter((slice) => Number(slice) >= oldest).slice(0, LOOKED_AT);
    let [bytes, busyMs] = [0, 0];
    for (const slice of looked) {
      bytes += Number(fields[slice]);
      // Of several processes the times add up; more than all of it can't be.
      busyMs += Math.min(SLICE_MS, Number(fields[`${slice}ms`] ?? SLICE_MS));
    }
    return busyMs < SHORTEST_MS ? undefined : bytes / (busyMs / 1_000);
  }
}

/** Less says nothing. */
const SHORTEST_MS = 1_000;

function sliceOf(moment: number): number {
  return Math.floor(moment / SLICE_MS);
}
