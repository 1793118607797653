import type { Redis } from 'ioredis';
import { redisTime } from '../redis/clock.ts';
import { workersKey } from './names.ts';

/** Says that a worker serves queues, for the next milliseconds. Who has not said so in time is forgotten. */
export async function announce(
  redis: Redis,
  queues: readonly string[],
  { id, forMs }: { readonly id: string; readonly forMs: number },
): Promise<void> {
  const now = await redisTime(redis);
  for (const queue of queues) {
    await redis.zadd(workersKey(queue), now + forMs, id);
    await redis.zremrangebyscore(workersKey(queue), '-inf', now);
  }
}

/** Workers, of any host, that serve a queue. */
export async function workersOf(redis: Redis, queue: string): Promise<string[]> {
  return redis.zrangebyscore(workersKey(queue), await redisTime(redis), '+inf');
}
