import type { Redis } from 'ioredis';
import { inFlightKey } from '../names.ts';
import type { Reservations } from '../reservations.ts';
import type { TargetLimits } from './limits.ts';
import { Room } from './room.ts';

/**
 * KEYS who waits since when, who was seen when; ARGV the job, milliseconds until a silent one waits no
 * more. Returns 1 if nobody waits longer.
 */
const IS_FIRST = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
return (not first or first == ARGV[1]) and 1 or 0`;

/** KEYS as above; ARGV the job. */
const WAIT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], 'NX', now, ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1`;

/** Workers look about once a second; who was not looked at for so long waits no more. */
export const SILENT_MS = 10_000;

type WaitRedis = Redis & {
  ferryIsFirst(waiting: string, seen: string, jobId: string, silentMs: number): Promise<number>;
  ferryWait(waiting: string, seen: string, jobId: string): Promise<number>;
};

/**
 * Bytes that were begun and are not imported yet. They fill the server's transfer store, and several
 * halves that fill it together stop each other for ever.
 */
export class InFlight {
  readonly #redis: WaitRedis;
  readonly #room: Room;

  constructor(redis: Redis, reservations: Pick<Reservations, 'isUnderWay'>) {
    this.#redis = redis as WaitRedis;
    this.#room = new Room(redis, reservations);
    if ('ferryIsFirst' in redis) return;
    redis.defineCommand('ferryIsFirst', { numberOfKeys: 2, lua: IS_FIRST });
    redis.defineCommand('ferryWait', { numberOfKeys: 2, lua: WAIT });
  }

  /**
   * Takes a job's bytes, of its target and of its group. One that is larger than the limit goes alone;
   * while a large one waits for room, small ones of other targets do not take it away.
   *
   * @param isBegun its bytes count already, whatever the limit says
   */
  async claim(
    { inFlight }: Pick<TargetLimits, 'inFlight'>,
    jobId: string,
    { bytes, isBegun }: { readonly bytes: number; readonly isBegun: boolean },
  ): Promise<boolean> {
    for (const { of, bytes: limit } of inFlight) {
      const { taken, waiting, seen } = inFlightKey(of);
      const room = isBegun ? Number.MAX_SAFE_INTEGER : Math.max(limit, bytes);
      const isTurn =
        isBegun || (await this.#redis.ferryIsFirst(waiting, seen, jobId, SILENT_MS)) === 1;
      if (isTurn && (await this.#room.claim(taken, jobId, { bytes, room })) === undefined) {
        await this.#redis.zrem(waiting, jobId);
        continue;
      }
      await this.#redis.ferryWait(waiting, seen, jobId);
      await this.release({ inFlight }, jobId);
      return false;
    }
    return true;
  }

  async release({ inFlight }: Pick<TargetLimits, 'inFlight'>, jobId: string): Promise<void> {
    for (const { of } of inFlight) await this.#room.release(inFlightKey(of).taken, jobId);
  }
}
