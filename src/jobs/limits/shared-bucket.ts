import type { Redis } from 'ioredis';
import { bucketKey } from '../names.ts';
import { type Bucket, localBucket } from './throttle.ts';

/**
 * KEYS the bucket, who draws from it; ARGV bytes, bytes per second, who, milliseconds until a silent one
 * counts no more. By the clock of Redis; where that was set back, what was taken before counts for
 * nothing. Returns the milliseconds to wait and how many draw.
 */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cost = ARGV[1] * 1000 / ARGV[2]
local freeAt = tonumber(redis.call('GET', KEYS[1]) or '0')
if freeAt > now + math.max(60000, cost * 100) then freeAt = now end
local startAt = math.max(freeAt, now)
redis.call('SET', KEYS[1], string.format('%.3f', startAt + cost), 'PX', 3600000)
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {math.ceil(startAt - now), redis.call('ZCARD', KEYS[2])}`;

const SILENT_MS = 30_000;

type BucketRedis = Redis & {
  ferryDraw(...args: (string | number)[]): Promise<[waitMs: number, users: number]>;
};

/**
 * A bucket that processes draw from together. While Redis is away each goes on with its share, as far as
 * it was known.
 *
 * @param who names this process
 */
export function sharedBucket(
  redis: Redis,
  { name, who }: { readonly name: () => string; readonly who: string },
  rate: () => number | undefined,
): Bucket {
  const own = redis as BucketRedis;
  if (!('ferryDraw' in own)) redis.defineCommand('ferryDraw', { numberOfKeys: 2, lua: TAKE });
  const alone = localBucket(rate);
  let sharers = 1;
  return {
    rate,
    async take(bytes, perSecond) {
      const { level, users } = bucketKey(name()); // it may be another line by now
      try {
        const [waitMs, count] = await own.ferryDraw(level, users, bytes, perSecond, who, SILENT_MS);
        sharers = Math.max(1, count);
        return waitMs;
      } catch {
        return alone.take(bytes, perSecond / sharers);
      }
    },
  };
}
