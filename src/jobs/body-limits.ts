import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { BodyLimit } from './chunks.ts';
import { BODY_LIMITS_KEY } from './names.ts';

/** A proxy may have been set up anew: after this larger bodies are tried again. Milliseconds. */
const FORGOTTEN_MS = 60 * 60_000;
/** What others have met is asked for at most so often. */
const FRESH_MS = 30_000;

const RefusedSchema = z.object({
  bytes: z.number().int().positive(),
  /** Milliseconds since the epoch. */
  at: z.number(),
});
type Refused = z.output<typeof RefusedSchema>;

/** Sizes of bodies that something in front of a target has refused, shared by all workers. */
export class BodyLimits {
  readonly #redis: Redis;
  readonly #known = new Map<string, Refused>();
  readonly #askedAt = new Map<string, number>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** For one upload. What Redis knows of it is there before the first byte goes. */
  of(target: string): BodyLimit {
    void this.#refresh(target).catch(() => undefined);
    const limits = this;
    return {
      get refusedBytes() {
        const refused = limits.#known.get(target);
        return refused && Date.now() - refused.at < FORGOTTEN_MS ? refused.bytes : undefined;
      },
      refuse(bytes) {
        const known = this.refusedBytes;
        const refused = { bytes: Math.min(known ?? bytes, bytes), at: Date.now() };
        limits.#known.set(target, refused);
        const text = JSON.stringify(refused);
        // Only saves others the same refusals.
        void limits.#redis.hset(BODY_LIMITS_KEY, target, text).catch(() => undefined);
      },
    };
  }

  async #refresh(target: string): Promise<void> {
    const askedAt = this.#askedAt.get(target);
    if (askedAt !== undefined && performance.now() - askedAt < FRESH_MS) return;
    this.#askedAt.set(target, performance.now());
    const text = await this.#redis.hget(BODY_LIMITS_KEY, target);
    const parsed = RefusedSchema.safeParse(text === null ? undefined : JSON.parse(text));
    if (!parsed.success) return;
    const known = this.#known.get(target);
    if (!known || parsed.data.at > known.at) this.#known.set(target, parsed.data);
  }
}
