import type { Redis } from 'ioredis';

/** Milliseconds since the epoch by the server's clock, which all hosts share. */
export async function redisTime(redis: Redis): Promise<number> {
  const [seconds = 0, micros = 0] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

/** Something that tells moments, in milliseconds since the epoch. */
export interface Clock {
  now(): number;
}

/** Of this machine: it may be minutes away from what others believe. */
export const LOCAL_CLOCK: Clock = { now: () => Date.now() };

/** The server's clock, as it was when it was asked last and has gone on since. */
export class SharedClock implements Clock {
  readonly #redis: Redis;
  #asked: { readonly time: number; readonly at: number } | undefined;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  now(): number {
    if (!this.#asked) return Date.now();
    // Not by this machine's wall clock, which somebody may set meanwhile.
    return Math.floor(this.#asked.time + performance.now() - this.#asked.at);
  }

  /** To be called now and then: another server may have taken over. */
  async measure(): Promise<void> {
    const before = performance.now();
    const time = await redisTime(this.#redis);
    this.#asked = { time, at: (before + performance.now()) / 2 };
  }
}
