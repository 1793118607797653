import { type Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { isJobId, PREFIX, QUEUES_KEY, queueName, queueOfJob, targetOfQueue } from './names.ts';

/** All queues, opened as they are asked for. */
export class QueueSet {
  readonly #redis: Redis;
  readonly #queues = new Map<string, Queue>();

  /** @param redis fails fast: a caller that can't reach Redis says so */
  constructor(redis: Redis) {
    this.#redis = redis;
  }

  of(name: string): Queue {
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = new Queue(queueName(name), { connection: this.#redis, prefix: PREFIX });
      queue.on('error', () => undefined); // every call that fails says so itself
      this.#queues.set(name, queue);
    }
    return queue;
  }

  /** Those of some targets, or all that there ever were. */
  async names(targets?: readonly string[]): Promise<string[]> {
    const names = await this.#redis.smembers(QUEUES_KEY);
    return names.filter((name) => !targets || targets.includes(targetOfQueue(name))).sort();
  }

  async findJob(id: string): Promise<Job | undefined> {
    return isJobId(id) ? this.of(queueOfJob(id)).getJob(id) : undefined;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
  }
}
