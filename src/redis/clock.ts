import type { Redis } from 'ioredis';

/** Milliseconds since the epoch by the server's clock, which all hosts share. */
export async function redisTime(redis: Redis): Promise<number> {
  const [seconds = 0, micros = 0] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}
