import type { Redis } from 'ioredis';

/**
 * KEYS the map; ARGV the field, what was seen there ('' for nothing), what is to be there ('' to
 * remove it). Returns what is there after the call.
 */
const COMPARE_AND_SET = `
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] then return now end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return ARGV[3]`;

type CasRedis = Redis & {
  ferryCompareAndSet(key: string, field: string, seen: string, next: string): Promise<string>;
};

/** Changes a field of a hash where it still is as it was seen. Returns what is there afterwards. */
export function compareAndSet(
  redis: Redis,
  key: string,
  { field, seen, next }: { readonly field: string; readonly seen: string; readonly next: string },
): Promise<string> {
  const own = redis as CasRedis;
  if (!('ferryCompareAndSet' in own)) {
    redis.defineCommand('ferryCompareAndSet', { numberOfKeys: 1, lua: COMPARE_AND_SET });
  }
  return own.ferryCompareAndSet(key, field, seen, next);
}
