import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { pathOf } from '../vcd/address.ts';
import { storageKey } from './names.ts';
import type { Reservations } from './reservations.ts';
import type { Needed } from './upload-deps.ts';

/**
 * KEYS a profile's shares; ARGV the job, its bytes, those that are free. Returns what the others keep,
 * or -1 if there is room.
 */
const CLAIM = `
local others = 0
local shares = redis.call('HGETALL', KEYS[1])
for i = 1, #shares, 2 do
  if shares[i] ~= ARGV[1] then others = others + tonumber(shares[i + 1]) end
end
if others + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return tostring(others) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return '-1'`;

type ClaimRedis = Redis & {
  ferryClaimRoom(key: string, jobId: string, bytes: number, free: number): Promise<string>;
};

/**
 * How much of a storage profile the jobs under way will take, which the server does not count before
 * they are imported: without this, several that fit alone would fill it together.
 */
export class StorageShares {
  readonly #redis: ClaimRedis;
  readonly #reservations: Reservations;

  constructor(redis: Redis, reservations: Reservations) {
    this.#redis = redis as ClaimRedis;
    this.#reservations = reservations;
    if (!('ferryClaimRoom' in redis)) {
      redis.defineCommand('ferryClaimRoom', { numberOfKeys: 1, lua: CLAIM });
    }
  }

  /**
   * @returns what is to be given to `release`
   * @throws FerryError STORAGE_FULL
   */
  async claim(
    { name, href }: { readonly name: string; readonly href: string },
    jobId: string,
    { bytes, freeBytes }: Needed,
  ): Promise<string> {
    const key = storageKey(pathOf(href));
    await this.#forgetOthers(key, jobId);
    const kept = await this.#redis.ferryClaimRoom(key, jobId, bytes, freeBytes);
    if (kept === '-1') return key;
    throw new FerryError(
      'STORAGE_FULL',
      `the storage profile ${name} has ${freeBytes} bytes left, of which other jobs need ${kept}; ${bytes} are needed`,
      { facts: { profile: name, freeBytes, bytes } },
    );
  }

  async release(key: string, jobId: string): Promise<void> {
    await this.#redis.hdel(key, jobId);
  }

  /** Jobs that are over keep no room. */
  async #forgetOthers(key: string, jobId: string): Promise<void> {
    for (const other of await this.#redis.hkeys(key)) {
      if (other === jobId || (await this.#reservations.isUnderWay(other))) continue;
      await this.#redis.hdel(key, other);
    }
  }
}
