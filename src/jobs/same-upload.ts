import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { UploadRequest } from './job-data.ts';
import { SAME_UPLOAD_KEY } from './names.ts';

/**
 * Which job stands for an upload. Two commands that enqueue the same at the same moment must not
 * make two jobs, so the place is taken by comparing and setting in one step.
 *
 * KEYS the map; ARGV what makes it the same, the holder that was seen ('' for none), the new holder
 * Returns the holder after the call.
 */
const CLAIM = `
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] then return now end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ARGV[3]`;

type ClaimRedis = Redis & {
  ferryClaim(key: string, same: string, seen: string, holder: string): Promise<string>;
};

/** Whoever stands for an upload: a job's id, and since when. */
export interface Holder {
  readonly id: string;
  readonly since: number;
  /** As it is stored. */
  readonly text: string;
}

/** Same source in the same state, to the same place: the same upload. */
export function sameUploadKey(request: UploadRequest): string {
  const { source, identity, target, catalog, name } = request;
  const parts = [source, identity.size, identity.mtimeMs, target, catalog, name];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

export async function findHolders(
  redis: Redis,
  keys: readonly string[],
): Promise<(Holder | undefined)[]> {
  if (keys.length === 0) return [];
  const found = await redis.hmget(SAME_UPLOAD_KEY, ...keys);
  return found.map((text) => (text === null ? undefined : parseHolder(text)));
}

/**
 * Takes the place for new jobs where it still is as it was seen.
 *
 * @returns who has each place now
 */
export async function claimPlaces(
  redis: Redis,
  claims: readonly {
    readonly key: string;
    readonly seen: Holder | undefined;
    readonly id: string;
  }[],
): Promise<Holder[]> {
  const own = redis as ClaimRedis;
  if (!('ferryClaim' in own)) redis.defineCommand('ferryClaim', { numberOfKeys: 1, lua: CLAIM });
  const now = Date.now();
  const holders = await Promise.all(
    claims.map(({ key, seen, id }) =>
      own.ferryClaim(SAME_UPLOAD_KEY, key, seen?.text ?? '', `${id} ${now}`),
    ),
  );
  return holders.map(parseHolder);
}

function parseHolder(text: string): Holder {
  const [id = '', since = '0'] = text.split(' ');
  return { id, since: Number(since), text };
}
