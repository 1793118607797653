import { hostname } from 'node:os';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { FerryError } from '../errors.ts';
import { REJECTIONS_KEY } from './names.ts';

const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 10 * 60_000;

const RejectionSchema = z.object({
  message: z.string(),
  /** Milliseconds since the epoch: not tried again before. */
  until: z.number(),
  times: z.number(),
});
type Rejection = z.output<typeof RejectionSchema>;

/**
 * Logins that were rejected, by target and host: each host has a configuration of its own. They are
 * tried again ever less often, whatever else holds the target, and whatever works meanwhile: an
 * account is locked by attempts, not by jobs.
 */
export class Rejections {
  readonly #redis: Redis;
  /** For the time in which Redis is away. */
  readonly #own = new Map<string, Rejection>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** @throws FerryError AUTH_REJECTED while this host's login to the target is not to be tried */
  async assertNone(target: string): Promise<void> {
    const rejection = await this.#last(target);
    if (!rejection || Date.now() >= rejection.until) return;
    throw new FerryError('AUTH_REJECTED', rejection.message);
  }

  async note(target: string, { message }: FerryError): Promise<void> {
    const before = await this.#last(target);
    const times = (before?.times ?? 0) + 1;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (times - 1), LONGEST_PAUSE_MS);
    const rejection: Rejection = { message, until: Date.now() + pause, times };
    this.#own.set(target, rejection);
    await this.#redis.hset(REJECTIONS_KEY, fieldOf(target), JSON.stringify(rejection));
  }

  /** This host's login was accepted. */
  async clear(target: string): Promise<void> {
    this.#own.delete(target);
    await this.#redis.hdel(REJECTIONS_KEY, fieldOf(target));
  }

  /**
   * Somebody has mended it, and says so: every host may try at once.
   *
   * @returns whether any was kept from it
   */
  async forget(target: string): Promise<boolean> {
    const fields = await this.#redis.hkeys(REJECTIONS_KEY);
    const own = fields.filter((field) => field.startsWith(`${target} `));
    if (own.length > 0) await this.#redis.hdel(REJECTIONS_KEY, ...own);
    return own.length > 0;
  }

  #last(target: string): Promise<Rejection | undefined> {
    return this.#read(target).catch(() => this.#own.get(target));
  }

  async #read(target: string): Promise<Rejection | undefined> {
    const text = await this.#redis.hget(REJECTIONS_KEY, fieldOf(target));
    const parsed = RejectionSchema.safeParse(text === null ? undefined : JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  }
}

function fieldOf(target: string): string {
  return `${target} ${hostname()}`;
}
