import type { Redis } from 'ioredis';
import { z } from 'zod';
import { compareAndSet } from './compare-and-set.ts';
import { CEILINGS_KEY } from './names.ts';
import type { QueueSet } from './queue-set.ts';

/** It may be the limits of others that were met: after this it is tried again. Milliseconds. */
const FORGOTTEN_MS = 10 * 60_000;

const CeilingSchema = z.object({
  /** Jobs at once, those that import included. */
  jobs: z.number().int().min(1),
  /** Milliseconds since the epoch: when it was met last. */
  metAt: z.number(),
  /** Uploads that succeeded since it was changed. */
  successes: z.number(),
});
type Ceiling = z.output<typeof CeilingSchema>;

/**
 * How many jobs of a target its vCD puts up with at once: administrators limit operations for each user
 * and organisation, and there is no asking for that limit. Each time it is met there is one job less;
 * as uploads succeed, it is tried with one more.
 */
export class Ceilings {
  readonly #redis: Redis;
  readonly #queues: QueueSet;

  constructor(redis: Redis, queues: QueueSet) {
    this.#redis = redis;
    this.#queues = queues;
  }

  /** Undefined where none was met of late. */
  async of(target: string): Promise<number | undefined> {
    return (await this.#read(target)).ceiling?.jobs;
  }

  /** Jobs under way. */
  async active(target: string): Promise<number> {
    let count = 0;
    for (const queue of await this.#queues.names([target])) {
      count += await this.#queues.of(queue).getActiveCount();
    }
    return count;
  }

  /** The server refused to begin one more than are under way. */
  async lower(target: string): Promise<void> {
    const active = await this.active(target); // that one included
    await this.#change(target, (before) => ({
      jobs: Math.max(1, Math.min(before?.jobs ?? active, active) - 1),
      metAt: Date.now(),
      successes: 0,
    }));
  }

  /** An upload succeeded. */
  async raise(target: string): Promise<void> {
    await this.#change(target, (before) => {
      if (!before) return undefined;
      const { jobs, successes } = before;
      // One more only after all of these have succeeded: each step may cost a refusal.
      if (successes + 1 < jobs * 2) return { ...before, successes: successes + 1 };
      return { ...before, jobs: jobs + 1, successes: 0 };
    });
  }

  async #change(
    target: string,
    next: (before: Ceiling | undefined) => Ceiling | undefined,
  ): Promise<void> {
    for (;;) {
      const { text, ceiling } = await this.#read(target);
      const changed = next(ceiling);
      if (!changed && text === '') return;
      const wanted = changed ? JSON.stringify(changed) : '';
      const now = await compareAndSet(this.#redis, CEILINGS_KEY, {
        field: target,
        seen: text,
        next: wanted,
      });
      if (now === wanted) return;
    }
  }

  async #read(target: string): Promise<{ text: string; ceiling: Ceiling | undefined }> {
    const text = (await this.#redis.hget(CEILINGS_KEY, target)) ?? '';
    const parsed = CeilingSchema.safeParse(text === '' ? undefined : JSON.parse(text));
    const isFresh = parsed.success && Date.now() - parsed.data.metAt < FORGOTTEN_MS;
    return { text, ceiling: isFresh ? parsed.data : undefined };
  }
}
