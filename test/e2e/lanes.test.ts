import { describe, expect, test } from '@jest/globals';
import { type Job, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { Lanes } from '../../src/jobs/limits/lanes.ts';
import { PREFIX, queueName } from '../../src/jobs/names.ts';
import { withRedis } from '../helpers/redis.ts';
import { withFolder } from '../helpers/temp.ts';

interface World {
  readonly redis: Redis;
  readonly queue: Queue;
  readonly lanes: Lanes;
  /** Jobs of a batch, in their lane. */
  add(batch: string, count: number, priority?: number): Promise<Job[]>;
  /** The names of the next ones, as a worker fetches them. */
  order(count: number): Promise<string[]>;
}

function withLanes(use: (world: World) => Promise<void>): Promise<void> {
  return withFolder((folder) =>
    withRedis(folder, async ({ client: redis }) => {
      const shared = { connection: redis, prefix: PREFIX };
      const queue = new Queue(queueName('lab'), shared);
      const worker = new Worker(queueName('lab'), null, { ...shared, autorun: false });
      const lanes = new Lanes(redis);
      const toKey = (type: string): string => queue.toKey(type);
      let count = 0;
      try {
        await use({
          ...{ redis, queue, lanes },
          async add(batch, many, priority = 1_000) {
            const jobs = await queue.addBulk(
              Array.from({ length: many }, (_one, i) => ({
                name: `${batch}${i}`,
                data: { batch },
                opts: { priority, jobId: `lab-${batch}${count + i}` },
              })),
            );
            count += many;
            const waiting = jobs.map(({ id = '' }) => ({ id, batch, priority }));
            await lanes.lineUp('lab', waiting);
            return jobs;
          },
          async order(many) {
            const names: string[] = [];
            for (let i = 0; i < many; i += 1) {
              const id = await lanes.next('lab', toKey);
              if (id !== undefined) {
                const next = await queue.getJob(id);
                await next?.changePriority({ priority: 0, lifo: true });
              }
              const job = await worker.getNextJob(`token${i}`, { block: false });
              if (!job) break;
              const { batch } = job.data as { batch: string };
              await lanes.served('lab', { id: job.id ?? '', batch }, 10);
              names.push(job.name);
            }
            return names;
          },
        });
      } finally {
        await worker.close(true);
        await queue.close();
      }
    }),
  );
}

describe('turns', () => {
  test('batches alternate, each in its own order; a higher priority goes before all', () =>
    withLanes(async ({ add, order }) => {
      await add('a', 4);
      await add('b', 2);
      await add('c', 1, 5);
      expect(await order(7)).toEqual(['c0', 'a0', 'b0', 'a1', 'b1', 'a2', 'a3']);
    }));

  test('what has begun, which has no priority any more, goes before all turns', () =>
    withLanes(async ({ queue, add, order }) => {
      await add('a', 3);
      await queue.add('begun', { batch: 'x' }, { jobId: 'lab-begun' });
      expect(await order(2)).toEqual(['begun', 'a0']);
    }));

  test('what stands in no lane is not passed by', () =>
    withLanes(async ({ queue, add, order }) => {
      await queue.add('old', { batch: 'x' }, { jobId: 'lab-old', priority: 1_000 });
      await add('a', 20);
      await add('b', 20);
      expect((await order(3))[0]).toBe('old');
    }));

  test('what is held by another worker for a moment keeps its turn', () =>
    withLanes(async ({ redis, queue, lanes, add, order }) => {
      const [held] = await add('big', 1);
      await add('small', 5);
      const shared = { connection: redis, prefix: PREFIX };
      const other = new Worker(queueName('lab'), null, { ...shared, autorun: false });
      const job = await other.getNextJob('other', { block: false });
      expect(job?.id).toBe(held?.id);
      await lanes.next('lab', (type) => queue.toKey(type)); // a worker looks meanwhile
      await job?.moveToWait('other');
      await other.close(true);
      expect((await order(1))[0]).toBe('big0');
    }));

  test('many that come later do not hide those that are due', () =>
    withLanes(async ({ queue, lanes, add, order }) => {
      const later = Date.now() + 3_600_000;
      for (let i = 0; i < 300; i += 1) {
        const id = `lab-later${i}`;
        await queue.add('later', { batch: 'a' }, { jobId: id, priority: 1_000, delay: 3_600_000 });
        await lanes.lineUp('lab', [{ id, batch: 'a', priority: 1_000 }], later);
      }
      await add('b', 30);
      await add('a', 1);
      expect((await order(3)).filter((name) => name === 'a0')).toHaveLength(1);
    }));

  test('one that comes later has its turn when it is due', () =>
    withLanes(async ({ queue, lanes, add, order }) => {
      await add('b', 30);
      const job = await queue.add('later', { batch: 'a' }, { priority: 1_000, delay: 3_600_000 });
      const { id = '' } = job;
      await lanes.lineUp('lab', [{ id, batch: 'a', priority: 1_000 }], Date.now() - 1);
      await job.promote();
      expect((await order(3)).filter((name) => name === 'later')).toHaveLength(1);
    }));

  test('one that could not begin has the next turn of its batch', () =>
    withLanes(async ({ lanes, add, order }) => {
      const [first] = await add('a', 3);
      await add('b', 3);
      expect((await order(1))[0]).toBe('a0');
      const waiting = { id: first?.id ?? '', batch: 'a', priority: 1_000 };
      await lanes.unserved('lab', waiting, 10);
      const score = await lanes.next('lab', (type) => `${PREFIX}:${queueName('lab')}:${type}`);
      expect(score).toMatch(/^lab-[ab]/);
    }));
});
