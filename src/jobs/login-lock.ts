import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { classify, FerryError } from '../errors.ts';
import type { Brakes } from './brakes.ts';
import { loginKey } from './names.ts';
import { Rejections } from './rejections.ts';

/** How long the lock of a worker that died is still in the way; a living one renews it. */
const HELD_MS = 10_000;
/** Longer than any login takes. */
const PATIENCE_MS = 150_000;
const LOOK_MS = 100;

const RENEW = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

/**
 * Lets one worker at a time log in to a target, and nobody once a login was rejected: several at once
 * with a wrong password would lock the account. While Redis is away everybody may, since uploads that
 * are under way must not end by that.
 *
 * @returns for `SessionOptions.alone`
 */
export function createLoginLock(
  { redis, brakes }: { readonly redis: Redis; readonly brakes: Brakes },
  target: string,
): <T>(logIn: () => Promise<T>) => Promise<T> {
  const rejections = new Rejections(redis);
  return async (logIn) => {
    const token = randomUUID();
    await untilTaken(redis, target, token).catch(() => undefined);
    const renewing = setInterval(() => {
      redis.eval(RENEW, 1, loginKey(target), token, HELD_MS).catch(() => undefined);
    }, HELD_MS / 4);
    try {
      await assertNotRejected({ brakes, rejections }, target);
      const result = await tried(logIn, async (failure) => {
        // Before the next one has its turn.
        await rejections.note(target, failure).catch(() => undefined);
        await brakes.pull(target, failure).catch(() => undefined);
      });
      await rejections.clear(target).catch(() => undefined);
      return result;
    } finally {
      clearInterval(renewing);
      await redis.eval(RELEASE, 1, loginKey(target), token).catch(() => undefined);
    }
  };
}

async function untilTaken(redis: Redis, target: string, token: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while ((await redis.set(loginKey(target), token, 'PX', HELD_MS, 'NX')) !== 'OK') {
    if (performance.now() > deadline) return;
    await sleep(LOOK_MS);
  }
}

async function tried<T>(
  logIn: () => Promise<T>,
  onRejected: (failure: FerryError) => Promise<void>,
): Promise<T> {
  try {
    return await logIn();
  } catch (error) {
    const failure = classify(error);
    if (failure.code === 'AUTH_REJECTED') await onRejected(failure);
    throw error;
  }
}

/** By the same login elsewhere, or by this host's own, which is not the same everywhere. */
async function assertNotRejected(
  { brakes, rejections }: { readonly brakes: Brakes; readonly rejections: Rejections },
  target: string,
): Promise<void> {
  await rejections.assertNone(target);
  const brake = await brakes.get(target).catch(() => undefined);
  if (brake?.code !== 'AUTH_REJECTED' || !brakes.isHeld(brake)) return;
  throw new FerryError('AUTH_REJECTED', brake.message);
}
