import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { compareAndSet } from './compare-and-set.ts';
import type { JobRequest } from './job-request.ts';
import { jobIdOf, SAME_UPLOAD_KEY } from './names.ts';

/**
 * Whoever stands for an upload: a job's id, and how many jobs have stood for it so far. Two commands that
 * enqueue the same at the same moment must not make two jobs, so the place is taken by comparing and
 * setting in one step.
 */
export interface Holder {
  readonly id: string;
  readonly generation: number;
  /** As it is stored. */
  readonly text: string;
}

/**
 * The id of the job that is to stand for an upload. The same command gives the same id, on every host and
 * after a Redis that has lost everything: whoever finds a place taken by a job that is not there yet adds
 * that very job, and the other command, if it is still alive, adds nothing.
 */
export function nextHolder(
  key: string,
  queue: string,
  seen: Holder | undefined,
): Pick<Holder, 'id' | 'generation'> {
  const generation = (seen?.generation ?? 0) + 1;
  const unique = createHash('sha256').update(`${key} ${generation}`).digest('hex').slice(0, 16);
  return { id: jobIdOf(queue, unique), generation };
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

/** A job that is to have the place of an upload, where it still is as it was seen. */
export interface PlaceClaim {
  readonly key: string;
  readonly seen: Holder | undefined;
  readonly id: string;
  readonly generation: number;
}

/** @returns which of them have got their places by this call */
export async function claimPlaces<C extends PlaceClaim>(
  redis: Redis,
  claims: readonly C[],
): Promise<C[]> {
  // Another command that wants the same writes the same id: whose claim it is says this.
  const claimant = randomBytes(6).toString('hex');
  const wanted = claims.map(({ id, generation }) => `${id} ${generation} ${claimant}`);
  const there = await Promise.all(
    claims.map(({ key, seen }, i) =>
      compareAndSet(redis, SAME_UPLOAD_KEY, {
        field: key,
        seen: seen?.text ?? '',
        next: wanted[i] ?? '',
      }),
    ),
  );
  return claims.filter((_claim, i) => there[i] === wanted[i]);
}

function parseHolder(text: string): Holder {
  const [id = '', generation = '0'] = text.split(' ');
  return { id, generation: Number(generation), text };
}
