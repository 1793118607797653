import type { Redis } from 'ioredis';
import type { Clock } from '../../redis/clock.ts';
import type { JobData } from '../job-data.ts';
import { begunKey, queueOfJob } from '../names.ts';
import type { QueueSet } from '../queue-set.ts';

/**
 * Delayed jobs that have begun. What they have on the server does not wait for ever, and BullMQ looks
 * after delayed jobs only when somebody asks it for any job.
 */
export class Begun {
  readonly #redis: Redis;
  readonly #queues: QueueSet;
  readonly #clock: Clock;

  constructor(redis: Redis, queues: QueueSet, clock: Clock) {
    this.#redis = redis;
    this.#clock = clock;
    this.#queues = queues;
  }

  async add(id: string): Promise<void> {
    await this.#redis.sadd(begunKey(queueOfJob(id)), id);
  }

  async remove(id: string): Promise<void> {
    await this.#redis.srem(begunKey(queueOfJob(id)), id);
  }

  /** Those that are due can be fetched, before everything that has not begun. */
  async promoteDue(queue: string): Promise<void> {
    for (const id of await this.#redis.smembers(begunKey(queue))) {
      const job = await this.#queues.findJob(id);
      const state = await job?.getState();
      if (!job || state === 'completed' || state === 'failed' || state === 'unknown') {
        await this.remove(id);
        continue;
      }
      if (state !== 'delayed' || (job.data as JobData).retryAt > this.#clock.now()) continue;
      await job.promote().catch(() => undefined); // somebody was quicker
      await job.changePriority({ priority: 0, lifo: true }).catch(() => undefined);
    }
  }
}
