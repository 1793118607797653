import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ServedQueue } from './fetcher.ts';
import { PREFIX, queueName, targetOfQueue } from './names.ts';

/** A crash is nobody's fault: however often a job's workers die, it goes on. */
const NEVER = 1_000_000_000;

/** A queue to take jobs from, and BullMQ's worker, which only looks for the jobs of dead ones. */
export function openQueue(
  name: string,
  own: {
    /** Names the process. */
    readonly id: string;
    /** Waits for Redis as long as it takes. */
    readonly redis: Redis;
    readonly leaseMs: number;
    readonly onError: (error: Error) => void;
  },
): ServedQueue {
  const shared = { connection: own.redis, prefix: PREFIX };
  const worker = new Worker(queueName(name), null, {
    ...shared,
    autorun: false,
    name: own.id,
    lockDuration: own.leaseMs,
    skipLockRenewal: true, // the lease does it
    // Two passes find a dead worker's job: it has to be found within half a lease.
    stalledInterval: Math.max(250, own.leaseMs / 8),
    maxStalledCount: NEVER,
  });
  const queue = new Queue(queueName(name), shared);
  worker.on('error', own.onError);
  queue.on('error', own.onError);
  return { name, target: targetOfQueue(name), queue, worker };
}
