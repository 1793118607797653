import { type Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { PREFIX, queueName, targetOfJob } from './names.ts';

/** The queues of all targets, opened as they are asked for. */
export class QueueSet {
  readonly #redis: Redis;
  readonly #queues = new Map<string, Queue>();

  /** @param redis fails fast: a caller that can't reach Redis says so */
  constructor(redis: Redis) {
    this.#redis = redis;
  }

  of(target: string): Queue {
    let queue = this.#queues.get(target);
    if (!queue) {
      queue = new Queue(queueName(target), { connection: this.#redis, prefix: PREFIX });
      queue.on('error', () => undefined); // every call that fails says so itself
      this.#queues.set(target, queue);
    }
    return queue;
  }

  async findJob(id: string): Promise<Job | undefined> {
    const target = targetOfJob(id);
    return /^[\w-]+$/.test(target) ? this.of(target).getJob(id) : undefined;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
  }
}
