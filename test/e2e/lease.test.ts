import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { Lease, WISH_FIELD } from '../../src/jobs/lease.ts';
import { until } from '../helpers/cli.ts';
import { type TestRedis, withRedis } from '../helpers/redis.ts';
import { withFolder } from '../helpers/temp.ts';

const LEASE_MS = 3_000;

interface Place {
  readonly redis: TestRedis;
  readonly queue: Queue;
  readonly worker: Worker;
  /** A job that is being worked on, and the token it is held by. */
  take(): Promise<{ job: Job; token: string }>;
  lease(job: Job, token: string): Lease;
}

/** BullMQ as the runner uses it, around a lease: this fails when BullMQ's keys change. */
async function withPlace<T>(use: (place: Place) => Promise<T>): Promise<T> {
  return withFolder((folder) =>
    withRedis(folder, async (redis) => {
      const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
      const prompt = new Redis(redis.url, {
        maxRetriesPerRequest: 0,
        enableOfflineQueue: false,
        commandTimeout: 500,
      });
      for (const one of [connection, prompt]) one.on('error', () => undefined);
      await until('a connection', () => prompt.status === 'ready');
      const shared = { connection, prefix: '{test}' };
      const queue = new Queue('q', shared);
      const worker = new Worker('q', null, {
        ...shared,
        autorun: false,
        lockDuration: LEASE_MS,
        skipLockRenewal: true,
        stalledInterval: 200,
        maxStalledCount: 1_000,
      });
      const leases: Lease[] = [];
      let taken = 0;
      try {
        return await use({
          redis,
          queue,
          worker,
          async take() {
            if (taken === 0) await queue.add('n', { at: 0 }, { jobId: 'job-a' });
            taken += 1;
            const token = `token-${taken}`;
            const job = await until('a job', () => worker.getNextJob(token, { block: false }));
            return { job, token };
          },
          lease(job, token) {
            const lease = new Lease(job, {
              redis: prompt,
              toKey: (type) => worker.toKey(type),
              lineKey: '{test}:line',
              runsKey: 'runs',
              holdsPlace: () => false,
              token,
              leaseMs: LEASE_MS,
              onBeatError: () => undefined,
            });
            leases.push(lease);
            return lease;
          },
        });
      } finally {
        for (const lease of leases) lease.dispose();
        await worker.close();
        await queue.close();
        connection.disconnect();
        prompt.disconnect();
      }
    }),
  );
}

const dataOf = async (queue: Queue) => (await queue.getJob('job-a'))?.data as { at: number };

const PROGRESS = {
  stage: 'creating',
  bytesSent: 3,
  bytesTotal: 5,
  bytesResent: 0,
  bytesConfirmed: 2,
  files: [],
} as const;

describe('a lease', () => {
  test.concurrent('keeps the job for as long as it beats, whatever the stalled checker thinks', () =>
    withPlace(async ({ queue, worker, take, lease }) => {
      await worker.startStalledCheckTimer();
      const { job, token } = await take();
      const held = lease(job, token);
      await sleep(LEASE_MS * 2);
      held.assertHeld();
      expect(await job.getState()).toBe('active');
      await held.close();
      await job.moveToCompleted('done', token, false);
      expect(await queue.getCompletedCount()).toBe(1);
    }));

  test.concurrent('stores data and progress where BullMQ reads them', () =>
    withPlace(async ({ queue, take, lease }) => {
      const { job, token } = await take();
      const held = lease(job, token);
      held.reportProgress(() => PROGRESS);
      await held.save({ at: 7 });
      const seen = await queue.getJob('job-a');
      expect(seen?.data).toEqual({ at: 7 });
      expect(seen?.progress).toEqual(PROGRESS);
    }));

  test.concurrent('that another holds is lost at the next beat, and can not overwrite what that one wrote', () =>
    withPlace(async ({ queue, worker, take, lease }) => {
      const { job, token } = await take();
      const stale = lease(job, token);
      stale.dispose(); // frozen: it beats no more
      await worker.startStalledCheckTimer();
      const next = await take();
      const fresh = lease(next.job, next.token);
      await fresh.save({ at: 2 });
      await expect(stale.save({ at: 1 })).rejects.toMatchObject({ code: 'LOCK_LOST' });
      expect(await dataOf(queue)).toEqual({ at: 2 });
      fresh.assertHeld();
    }));

  test.concurrent('ends by the clock when Redis is silent, before another could have the job', () =>
    withPlace(async ({ redis, take, lease }) => {
      const { job, token } = await take();
      const held = lease(job, token);
      redis.freeze();
      const frozenAt = performance.now();
      await until('the end of the lease', () => held.lost.aborted);
      expect(performance.now() - frozenAt).toBeLessThan(LEASE_MS);
      expect(() => held.assertHeld()).toThrow(expect.objectContaining({ code: 'LOCK_LOST' }));
      redis.thaw();
    }));

  test.concurrent("brings an operator's wish, which is no reason to stop cleaning up", () =>
    withPlace(async ({ redis, worker, take, lease }) => {
      const { job, token } = await take();
      const held = lease(job, token);
      await redis.client.hset(worker.toKey('job-a'), WISH_FIELD, 'cancel');
      await until('the wish', () => held.cancelled.aborted);
      expect(held.lost.aborted).toBe(false);
      await held.save({ at: 3 });
    }));

  test.concurrent('of a job that was removed is lost', () =>
    withPlace(async ({ redis, worker, take, lease }) => {
      const { job, token } = await take();
      const held = lease(job, token);
      await redis.client.del(worker.toKey('job-a'));
      await until('the end of the lease', () => held.lost.aborted);
    }));
});

describe('the order in which BullMQ hands out jobs', () => {
  test.concurrent('what has begun goes before what has not, also after a hand-over and a crash', () =>
    withPlace(async ({ queue, worker }) => {
      await queue.add('begun', {}, { jobId: 'begun-a', priority: 1_000 });
      const begun = await worker.getNextJob('t1', { block: false });
      await begun?.changePriority({ priority: 0 });
      for (let i = 0; i < 5; i += 1) {
        await queue.add('new', {}, { jobId: `new-${i}-a`, priority: 1 });
      }
      await begun?.moveToWait('t1');
      const again = await worker.getNextJob('t2', { block: false });
      expect(again?.id).toBe('begun-a'); // handed over
      await worker.startStalledCheckTimer(); // and now its worker is dead
      await until('the stalled job', async () => (await queue.getWaitingCount()) === 1);
      const third = await worker.getNextJob('t3', { block: false });
      expect(third?.id).toBe('begun-a');
      await third?.moveToDelayed(Date.now() + 50, 't3');
      await sleep(60);
      const fourth = await worker.getNextJob('t4', { block: false });
      expect(fourth?.id).toBe('begun-a'); // after a delay, too
    }));
});
