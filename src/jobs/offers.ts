import type { Redis } from 'ioredis';
import { pathOf } from '../vcd/address.ts';
import { offerKey } from './names.ts';
import type { Reservations } from './reservations.ts';

/** Says of an item that it was one of us who enabled it for download. */
const ENABLED_BY_US = ' enabled by us';

/**
 * Which jobs read from which items. Who leaves last disables what one of us had enabled; what was enabled
 * before, by somebody else, is left so.
 */
export class ItemOffers {
  readonly #redis: Redis;
  readonly #reservations: Reservations;

  constructor(redis: Redis, reservations: Reservations) {
    this.#redis = redis;
    this.#reservations = reservations;
  }

  async join(entityHref: string, jobId: string): Promise<void> {
    await this.#redis.sadd(keyOf(entityHref), jobId);
  }

  async enabling(entityHref: string): Promise<void> {
    await this.#redis.sadd(keyOf(entityHref), ENABLED_BY_US);
  }

  /** @returns whether it is to be disabled now; asked again, it answers the same until `disabled` */
  async leave(entityHref: string, jobId: string): Promise<boolean> {
    const key = keyOf(entityHref);
    await this.#redis.srem(key, jobId);
    const members = await this.#redis.smembers(key);
    for (const id of members) {
      if (id === ENABLED_BY_US) continue;
      if (await this.#reservations.isUnderWay(id)) return false;
      await this.#redis.srem(key, id); // it died without leaving
    }
    return members.includes(ENABLED_BY_US);
  }

  async disabled(entityHref: string): Promise<void> {
    await this.#redis.srem(keyOf(entityHref), ENABLED_BY_US);
  }
}

/** By the path: two targets may be two ways to one vCD, whose ids are unique. */
function keyOf(entityHref: string): string {
  return offerKey(pathOf(entityHref));
}
