import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { FerryError } from '../errors.ts';
import { type Clock, LOCAL_CLOCK } from '../redis/clock.ts';
import { BRAKES_KEY, STREAKS_KEY, trialKey, wishesKey } from './names.ts';

const BrakeSchema = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string(),
  /** Milliseconds since the epoch. */
  since: z.number(),
  /** When one job is let through, to see whether it works again; null where only a person knows. */
  trialAt: z.number().nullable(),
  trials: z.number(),
});
/** Why the jobs of a target are kept back. */
export type Brake = z.output<typeof BrakeSchema>;

const FIRST_TRIAL_MS = 30_000;
const LONGEST_TRIAL_MS = 10 * 60_000;
const TRIAL_TIMEOUT_MS = 2 * 60_000;
/** So many jobs in a row may fail by the same. */
const STREAK = 3;

/**
 * KEYS the streaks; ARGV the target, what it failed by. Returns how often in a row.
 */
const COUNT = `
local last, count = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(.-) (%d+)$')
if last ~= ARGV[2] then count = 0 end
count = tonumber(count) + 1
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. count)
return count`;

type CountRedis = Redis & {
  ferryCount(key: string, target: string, what: string): Promise<number>;
};

/**
 * What keeps the jobs of a target back, seen by all workers: a fault of the target itself would
 * otherwise burn one job after the other. Jobs stay where they are.
 */
export class Brakes {
  readonly #redis: CountRedis;
  readonly #clock: Clock;

  /** @param clock by which a target is held until its trial: who only shows it has no other */
  constructor(redis: Redis, clock: Clock = LOCAL_CLOCK) {
    this.#clock = clock;
    this.#redis = redis as CountRedis;
    if (!('ferryCount' in redis)) {
      redis.defineCommand('ferryCount', { numberOfKeys: 1, lua: COUNT });
    }
  }

  async all(): Promise<ReadonlyMap<string, Brake>> {
    const brakes = new Map<string, Brake>();
    for (const [target, text] of Object.entries(await this.#redis.hgetall(BRAKES_KEY))) {
      const parsed = BrakeSchema.safeParse(JSON.parse(text));
      if (parsed.success) brakes.set(target, parsed.data);
    }
    return brakes;
  }

  async get(target: string): Promise<Brake | undefined> {
    return (await this.all()).get(target);
  }

  /** The target itself is at fault: from time to time one job sees whether it still is. */
  async pull(target: string, { code, message, hint }: FerryError): Promise<void> {
    const before = await this.get(target);
    // A quota holds until a person says otherwise, whatever else is wrong meanwhile.
    const isWorse = code === 'QUOTA_EXCEEDED' && before?.trialAt !== null;
    const now = this.#clock.now();
    if (before && isInForce(before, now) && !isWorse) {
      await this.endTrial(target); // what it was to find out is known
      return;
    }
    const trials = before?.code === code ? before.trials + 1 : 0;
    // To see whether a quota is still full would take sending a whole package.
    const trialAt = code === 'QUOTA_EXCEEDED' ? null : now + trialWaitMs(trials);
    const since = before?.since ?? now;
    await this.#set(target, { code, message, hint, since, trialAt, trials });
    await this.#redis.del(trialKey(target));
  }

  /** @returns false if there was none */
  async lift(target: string): Promise<boolean> {
    const lifted = await this.#redis.hdel(BRAKES_KEY, target);
    await this.#redis.hdel(STREAKS_KEY, target);
    await this.#redis.del(trialKey(target));
    return lifted > 0;
  }

  /** As an upload that is asked for by a person does: it may be mended. Not what only a person lifts. */
  async liftFault(target: string): Promise<void> {
    const brake = await this.get(target);
    if (brake && brake.trialAt !== null) await this.lift(target);
  }

  isHeld(brake: Brake): boolean {
    return isInForce(brake, this.#clock.now());
  }

  /** True for the one worker whose next job is to see whether the target works again. */
  async beginTrial(target: string): Promise<boolean> {
    return (await this.#redis.set(trialKey(target), '1', 'PX', TRIAL_TIMEOUT_MS, 'NX')) === 'OK';
  }

  async endTrial(target: string): Promise<void> {
    await this.#redis.del(trialKey(target));
  }

  /** A job failed for good by what the server said; the third in a row by the same is the last. */
  async countFailure(target: string, failure: FerryError, what: string): Promise<void> {
    const count = await this.#redis.ferryCount(STREAKS_KEY, target, `${failure.code} ${what}`);
    if (count < STREAK || (await this.get(target))) return;
    await this.#set(target, {
      code: failure.code,
      message: `${count} uploads in a row failed by the same: ${failure.message}`,
      hint: `Find out why, then \`ovaferry resume ${target}\`.`,
      since: this.#clock.now(),
      trialAt: null,
      trials: 0,
    });
  }

  /** A job that somebody wants ended is fetched whatever keeps the others back. */
  async wishes(target: string): Promise<string[]> {
    return this.#redis.smembers(wishesKey(target));
  }

  async isWished(target: string, jobId: string): Promise<boolean> {
    return (await this.#redis.sismember(wishesKey(target), jobId)) === 1;
  }

  async forgetWish(target: string, jobId: string): Promise<void> {
    await this.#redis.srem(wishesKey(target), jobId);
  }

  async countSuccess(target: string): Promise<void> {
    await this.#redis.hdel(STREAKS_KEY, target);
  }

  async #set(target: string, brake: Brake): Promise<void> {
    await this.#redis.hset(BRAKES_KEY, target, JSON.stringify(brake));
  }
}

function trialWaitMs(trials: number): number {
  return Math.min(FIRST_TRIAL_MS * 2 ** trials, LONGEST_TRIAL_MS);
}

/** True while no job may be let through. What lies much further off was written by a clock that is ahead. */
export function isInForce({ trialAt, trials }: Brake, now: number): boolean {
  if (trialAt === null) return true;
  const leftMs = trialAt - now;
  return leftMs > 0 && leftMs <= 2 * trialWaitMs(trials);
}
