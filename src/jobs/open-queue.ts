import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import type { Clock } from '../redis/clock.ts';
import type { ServedQueue } from './fetcher.ts';
import { PREFIX, queueName, targetOfQueue } from './names.ts';

/** A crash is nobody's fault: however often a job's workers die, it goes on. */
const NEVER = 1_000_000_000;

/** Where a moment stands among the keys and arguments of the script that gives a job out. */
const MOMENT = 12;

/** BullMQ makes delayed jobs due by the clock of whoever asks for one: a host's that is ahead would have none wait. */
function makeDueBy(clock: Clock, { backend }: Worker): void {
  const execute = backend.execCommand.bind(backend);
  backend.execCommand = (client, name, args) => {
    if (name !== 'moveToActive') return execute(client, name, args);
    if (typeof args[MOMENT] !== 'number') throw new FerryError('INTERNAL', 'BullMQ has changed');
    return execute(client, name, args.with(MOMENT, clock.now()));
  };
}

/** A queue to take jobs from, and BullMQ's worker, which only looks for the jobs of dead ones. */
export function openQueue(
  name: string,
  own: {
    /** Names the process. */
    readonly id: string;
    /** Waits for Redis as long as it takes. */
    readonly redis: Redis;
    readonly leaseMs: number;
    readonly clock: Clock;
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
  makeDueBy(own.clock, worker);
  worker.on('error', own.onError);
  queue.on('error', own.onError);
  return { name, target: targetOfQueue(name), queue, worker };
}
