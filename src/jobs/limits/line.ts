import type { Redis } from 'ioredis';
import { FerryError } from '../../errors.ts';
import type { BlockPool } from '../../source/blocks.ts';
import { lineKey, runsKey } from '../names.ts';
import { pause } from '../retry.ts';
import type { LinePlace } from '../upload-deps.ts';
import type { TargetLimits } from './limits.ts';

/**
 * KEYS the line's places, the runs under way; ARGV the places there are, the runs there may be, who, for
 * how many milliseconds. By the clock of Redis, which all workers share. What nobody renews is free again.
 * Returns 0 without a place, 1 with one, 2 with one for what has begun: as many are under way as may be.
 */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local held = redis.call('ZSCORE', KEYS[1], ARGV[3])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[3])
local counted = redis.call('ZSCORE', KEYS[2], ARGV[3])
if not counted and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return 2 end
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[3])
return 1`;

type LineRedis = Redis & {
  ferryTakePlace(...args: (string | number)[]): Promise<number>;
};

/** What a place may be used for. */
export type PlaceFor = 'any' | 'begun';

/**
 * Takes one of a target's places, over all workers and queues; the lease's beat renews it. So many runs
 * may be under way, those without a place included, while the server imports; but what has begun is never
 * held back by that.
 */
export async function takePlace(
  redis: Redis,
  { name, concurrency, imports }: Pick<TargetLimits, 'name' | 'concurrency' | 'imports'>,
  { token, leaseMs }: { readonly token: string; readonly leaseMs: number },
): Promise<PlaceFor | undefined> {
  const own = redis as LineRedis;
  if (!('ferryTakePlace' in own)) {
    redis.defineCommand('ferryTakePlace', { numberOfKeys: 2, lua: TAKE });
  }
  const taken = await own.ferryTakePlace(
    ...[lineKey(name), runsKey(name), concurrency, concurrency + imports, token, leaseMs],
  );
  return taken === 0 ? undefined : taken === 1 ? 'any' : 'begun';
}

/** A run has ended, or there was none. */
export async function endRun(redis: Redis, target: string, token: string): Promise<void> {
  await redis.zrem(runsKey(target), token);
  await freePlace(redis, target, token);
}

/** Places that are taken, over all workers. */
export async function countPlaces(redis: Redis, target: string): Promise<number> {
  return redis.zcard(lineKey(target));
}

export async function freePlace(redis: Redis, target: string, token: string): Promise<void> {
  await redis.zrem(lineKey(target), token);
}

const LOOK_MS = 500;
const PATIENCE_MS = 60_000;

/** A run's place on the line, and the memory that goes with it. */
export class RunPlace implements LinePlace {
  readonly #tryTake: () => Promise<BlockPool | undefined>;
  readonly #giveBack: (pool: BlockPool) => void;
  #pool: BlockPool | undefined;
  #taking: Promise<void> | undefined;

  /** @param pool of the place that was taken before the job was fetched */
  constructor(
    pool: BlockPool,
    hooks: {
      readonly tryTake: () => Promise<BlockPool | undefined>;
      readonly giveBack: (pool: BlockPool) => void;
    },
  ) {
    this.#pool = pool;
    this.#tryTake = hooks.tryTake;
    this.#giveBack = hooks.giveBack;
  }

  get isHeld(): boolean {
    return this.#pool !== undefined;
  }

  get pool(): BlockPool {
    if (this.#pool) return this.#pool;
    throw new FerryError('INTERNAL', 'bytes were to be sent without a place on the line');
  }

  /** Files of one package ask side by side, and take one place together. */
  async take(signal: AbortSignal): Promise<void> {
    this.#taking ??= this.#take(signal).finally(() => {
      this.#taking = undefined;
    });
    await this.#taking;
  }

  async #take(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!this.#pool) {
      // While Redis is away there is no telling.
      this.#pool = await this.#tryTake().catch(() => undefined);
      if (this.#pool) return;
      if (performance.now() > deadline) {
        throw new FerryError('TARGET_BUSY', 'other uploads have the line');
      }
      await pause(LOOK_MS, signal);
    }
  }

  free(): void {
    if (this.#pool) this.#giveBack(this.#pool);
    this.#pool = undefined;
  }
}
