import type { Redis } from 'ioredis';
import { FerryError } from '../../errors.ts';
import type { BlockPool } from '../../source/blocks.ts';
import { lineKey } from '../names.ts';
import { pause } from '../retry.ts';
import type { LinePlace } from '../upload-deps.ts';

/**
 * KEYS the line's places; ARGV the limit, who, for how many milliseconds. By the clock of Redis, which
 * all workers share. A place that nobody renews is free again. Returns 1 or 0.
 */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local held = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
return 1`;

type LineRedis = Redis & {
  ferryTakePlace(key: string, limit: number, who: string, leaseMs: number): Promise<number>;
};

/** Takes one of a target's places, over all workers; the lease's beat renews it. */
export async function takePlace(
  redis: Redis,
  { name, concurrency }: { readonly name: string; readonly concurrency: number },
  { token, leaseMs }: { readonly token: string; readonly leaseMs: number },
): Promise<boolean> {
  const own = redis as LineRedis;
  if (!('ferryTakePlace' in own)) {
    redis.defineCommand('ferryTakePlace', { numberOfKeys: 1, lua: TAKE });
  }
  return (await own.ferryTakePlace(lineKey(name), concurrency, token, leaseMs)) === 1;
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

  async take(signal: AbortSignal): Promise<void> {
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
