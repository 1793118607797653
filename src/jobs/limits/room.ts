import type { Redis } from 'ioredis';
import type { Reservations } from '../reservations.ts';

/**
 * KEYS who takes how much; ARGV the job, its bytes, how many there are. Returns what the others take, or
 * -1 if there is room.
 */
const CLAIM = `
local others = 0
local shares = redis.call('HGETALL', KEYS[1])
for i = 1, #shares, 2 do
  if shares[i] ~= ARGV[1] then others = others + tonumber(shares[i + 1]) end
end
if others + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return string.format('%.0f', others) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return '-1'`;

type ClaimRedis = Redis & {
  ferryClaimRoom(key: string, jobId: string, bytes: number, room: number): Promise<string>;
};

/** Bytes of something limited that jobs under way take, each until it gives them back or is over. */
export class Room {
  readonly #redis: ClaimRedis;
  readonly #reservations: Pick<Reservations, 'isUnderWay'>;

  constructor(redis: Redis, reservations: Pick<Reservations, 'isUnderWay'>) {
    this.#redis = redis as ClaimRedis;
    this.#reservations = reservations;
    if (!('ferryClaimRoom' in redis)) {
      redis.defineCommand('ferryClaimRoom', { numberOfKeys: 1, lua: CLAIM });
    }
  }

  /** @returns undefined if there is room, else what others take of it */
  async claim(
    key: string,
    jobId: string,
    { bytes, room }: { readonly bytes: number; readonly room: number },
  ): Promise<number | undefined> {
    const attempt = async (): Promise<number> =>
      Number(await this.#redis.ferryClaimRoom(key, jobId, bytes, room));
    let taken = await attempt();
    if (taken > 0 && (await this.#forgetOthers(key, jobId))) taken = await attempt();
    return taken < 0 ? undefined : taken;
  }

  async release(key: string, jobId: string): Promise<void> {
    await this.#redis.hdel(key, jobId);
  }

  /** Jobs that are over take no room. @returns whether there were any */
  async #forgetOthers(key: string, jobId: string): Promise<boolean> {
    let found = false;
    for (const other of await this.#redis.hkeys(key)) {
      if (other === jobId || (await this.#reservations.isUnderWay(other))) continue;
      await this.#redis.hdel(key, other);
      found = true;
    }
    return found;
  }
}
