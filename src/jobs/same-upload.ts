import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { compareAndSet } from './compare-and-set.ts';
import type { JobRequest } from './job-request.ts';
import { SAME_UPLOAD_KEY } from './names.ts';

/**
 * Whoever stands for an upload: a job's id, and since when. Two commands that enqueue the same at the
 * same moment must not make two jobs, so the place is taken by comparing and setting in one step.
 */
export interface Holder {
  readonly id: string;
  readonly since: number;
  /** As it is stored. */
  readonly text: string;
}

/** Same source in the same state, to the same place: the same upload. */
export function sameUploadKey(request: JobRequest): string {
  const { source, target, catalog, name } = request;
  if (request.operation === 'download') {
    return keyOf([request.operation, source, request.folder, request.format]);
  }
  const { identity } = request;
  const state = [identity.size, identity.mtimeMs, ...(identity.etag ? [identity.etag] : [])];
  const deployed = request.deploy ? ['deploy'] : [];
  return keyOf([source, ...state, target, catalog, name, ...deployed]);
}

function keyOf(parts: readonly unknown[]): string {
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
  const now = Date.now();
  const holders = await Promise.all(
    claims.map(({ key, seen, id }) =>
      compareAndSet(redis, SAME_UPLOAD_KEY, {
        field: key,
        seen: seen?.text ?? '',
        next: `${id} ${now}`,
      }),
    ),
  );
  return holders.map(parseHolder);
}

function parseHolder(text: string): Holder {
  const [id = '', since = '0'] = text.split(' ');
  return { id, since: Number(since), text };
}
