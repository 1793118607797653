import type { Cluster, Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { LOOK_AFTER, REFUSED } from './asked.ts';

/** What a Redis is like, as far as it matters to us. */
export interface RedisFacts {
  readonly server: 'redis' | 'valkey';
  readonly version: string;
  readonly evicts: boolean;
  readonly persists: boolean;
}

export async function inspectRedis(redis: Redis): Promise<RedisFacts> {
  // Of a cluster all masters are asked: the keys are on one of them, which may be any after a failover.
  const infos = redis.isCluster
    ? await Promise.all((redis as unknown as Cluster).nodes('master').map((node) => node.info()))
    : [await redis.info()];
  const facts = infos.map(factsOf);
  const [first] = facts;
  if (!first) throw new FerryError('REDIS_UNAVAILABLE', 'the cluster has no master');
  return {
    ...first,
    evicts: facts.some(({ evicts }) => evicts),
    persists: facts.every(({ persists }) => persists),
  };
}

function factsOf(text: string): RedisFacts {
  const info = parseInfo(text);
  return {
    server: info.has('valkey_version') ? 'valkey' : 'redis',
    version: info.get('valkey_version') ?? info.get('redis_version') ?? '0',
    evicts: (info.get('maxmemory_policy') ?? 'noeviction') !== 'noeviction',
    persists: info.get('aof_enabled') === '1',
  };
}

function parseInfo(text: string): Map<string, string> {
  const facts = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0) facts.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return facts;
}

/**
 * Refuses a Redis that may throw jobs away.
 *
 * @returns warnings about one that may lose them
 * @throws FerryError REDIS_UNSUITABLE
 */
export function assertSuitable({ server, version, evicts, persists }: RedisFacts): string[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (server === 'redis' && (major < 6 || (major === 6 && minor < 2))) {
    throw new FerryError('REDIS_UNSUITABLE', `Redis ${version} is too old`);
  }
  if (evicts) {
    throw new FerryError('REDIS_UNSUITABLE', 'this Redis evicts keys when its memory is full', {
      hint: 'Set maxmemory-policy noeviction.',
    });
  }
  return persists ? [] : ['this Redis has no append-only file: a crash loses queued uploads'];
}

/**
 * Writes something small that is gone a minute later: a replica, a full memory or a disk that fails only
 * show so.
 *
 * @throws FerryError REDIS_UNSUITABLE in the server's own words; REDIS_UNAVAILABLE where there is no answer
 */
export async function assertTakesWrites(redis: Redis, key: string): Promise<void> {
  try {
    await redis.set(key, '1', 'EX', 60);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!REFUSED.test(message)) {
      throw new FerryError('REDIS_UNAVAILABLE', `Redis is out of reach: ${message}`, {
        cause: error,
      });
    }
    throw new FerryError('REDIS_UNSUITABLE', `Redis answers, but takes no writes: ${message}`, {
      cause: error,
      hint: LOOK_AFTER,
    });
  }
}
