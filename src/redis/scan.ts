import type { Redis } from 'ioredis';

const AT_ONCE = 200;

/** What a large hash holds, in portions, without stopping anybody else meanwhile. */
export async function* scanHash(redis: Redis, key: string): AsyncGenerator<[string, string][]> {
  let cursor = '0';
  do {
    const [next, found] = await redis.hscan(key, cursor, 'COUNT', AT_ONCE);
    cursor = next;
    const pairs: [string, string][] = [];
    for (let i = 0; i + 1 < found.length; i += 2) pairs.push([found[i] ?? '', found[i + 1] ?? '']);
    yield pairs;
  } while (cursor !== '0');
}

/** The same of a set. */
export async function* scanSet(redis: Redis, key: string): AsyncGenerator<string[]> {
  let cursor = '0';
  do {
    const [next, members] = await redis.sscan(key, cursor, 'COUNT', AT_ONCE);
    cursor = next;
    yield members;
  } while (cursor !== '0');
}
