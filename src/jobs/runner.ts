import { randomUUID } from 'node:crypto';
import { type Job, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { BlockPool } from '../source/blocks.ts';
import type { JobData } from './job-data.ts';
import { Lease } from './lease.ts';
import { PREFIX, queueName, WAKE_CHANNEL, workersKey } from './names.ts';
import { type ProcessorWorld, processJob } from './processor.ts';

export interface RunnerOptions {
  /** Connections of this runner alone; it closes them. */
  readonly redis: {
    /** Waits for Redis as long as it takes. */
    readonly patient: Redis;
    /** Fails fast. */
    readonly prompt: Redis;
    readonly subscriber: Redis;
  };
  /** Targets to serve, and how many uploads to each at once, over all workers. */
  readonly targets: readonly { readonly name: string; readonly concurrency: number }[];
  /** Uploads at once in this process. */
  readonly concurrency: number;
  readonly leaseMs: number;
  /** Work on these jobs alone, and do not count as a worker that serves the target. */
  readonly only?: ReadonlySet<string>;
  readonly world: ProcessorWorld;
}

const POLL_MS = 1_000;
const PRESENCE_MS = 3_000;
/** A crash is nobody's fault: however often a job's workers die, it goes on. */
const NEVER = 1_000_000_000;

interface ServedTarget {
  readonly name: string;
  readonly concurrency: number;
  readonly queue: Queue;
  readonly worker: Worker;
}

interface ActiveRun {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Fetches jobs of several targets and works on them. A slot of this process is taken before a job is
 * fetched, so that a busy worker does not hold jobs that another could start; targets take turns.
 */
export class Runner {
  readonly id = randomUUID();
  readonly #options: RunnerOptions;
  readonly #targets: ServedTarget[];
  readonly #runs = new Map<string, ActiveRun>();
  readonly #pools: BlockPool[] = [];
  readonly #stopping = new AbortController();
  #wake: () => void = () => undefined;
  #fetching: Promise<void> = Promise.resolve();
  #presence: NodeJS.Timeout | undefined;
  #turn = 0;
  #slotsTaken = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { patient } = options.redis;
    this.#targets = options.targets.map(({ name, concurrency }) => {
      const shared = { connection: patient, prefix: PREFIX };
      const worker = new Worker(queueName(name), null, {
        ...shared,
        autorun: false,
        name: this.id,
        lockDuration: options.leaseMs,
        skipLockRenewal: true, // the lease does it
        // Two passes find a dead worker's job: it has to be found within half a lease.
        stalledInterval: Math.max(250, options.leaseMs / 8),
        maxStalledCount: NEVER,
      });
      const queue = new Queue(queueName(name), shared);
      worker.on('error', (error) => this.#onError(error));
      queue.on('error', (error) => this.#onError(error));
      return { name, concurrency, queue, worker };
    });
  }

  async start(): Promise<void> {
    const { redis } = this.#options;
    for (const { concurrency, queue, worker } of this.#targets) {
      await queue.setGlobalConcurrency(concurrency);
      await worker.startStalledCheckTimer();
    }
    redis.subscriber.on('message', () => this.#wake());
    await redis.subscriber.subscribe(WAKE_CHANNEL);
    if (!this.#options.only) {
      await this.#announce();
      this.#presence = setInterval(() => void this.#announce().catch(() => undefined), PRESENCE_MS);
    }
    this.#fetching = this.#fetchLoop();
  }

  /**
   * Hands every job back and leaves. Never takes longer than `graceMs`: what could not be handed
   * back by then is taken over when its lease has run out.
   */
  async stop(graceMs = 4_500): Promise<void> {
    this.#stopping.abort(new FerryError('SHUTDOWN', 'this worker is stopping'));
    this.#wake();
    clearInterval(this.#presence);
    for (const { stop } of this.#runs.values()) stop.abort(this.#stopping.signal.reason);
    const left = this.#leave();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      left,
      new Promise((resolve) => {
        timer = setTimeout(resolve, graceMs);
      }),
    ]);
    clearTimeout(timer);
    for (const connection of Object.values(this.#options.redis)) connection.disconnect();
  }

  async #leave(): Promise<void> {
    await this.#fetching;
    // Ended runs leave the map; a run of the same job may have followed one meanwhile.
    while (this.#runs.size > 0) {
      await Promise.all([...this.#runs.values()].map(({ ended }) => ended));
    }
    const { prompt } = this.#options.redis;
    const gone = this.#targets.map(({ name }) => prompt.zrem(workersKey(name), this.id));
    await Promise.allSettled(gone);
    await Promise.allSettled(
      this.#targets.flatMap(({ worker, queue }) => [worker.close(), queue.close()]),
    );
  }

  async #announce(): Promise<void> {
    const { prompt } = this.#options.redis;
    const until = Date.now() + PRESENCE_MS * 3;
    for (const { name } of this.#targets) await prompt.zadd(workersKey(name), until, this.id);
  }

  async #fetchLoop(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const woken = this.#untilWoken();
      try {
        while (!signal.aborted && this.#slotsTaken < this.#options.concurrency) {
          if (!(await this.#fetchOne())) break;
        }
      } catch (error) {
        this.#onError(error as Error);
      }
      await woken;
    }
  }

  /** A message, a freed slot, or a second: delayed and stalled jobs come without a message. */
  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, POLL_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** The next job of the next target that has one. */
  async #fetchOne(): Promise<boolean> {
    for (let i = 0; i < this.#targets.length; i += 1) {
      const target = this.#targets[(this.#turn + i) % this.#targets.length];
      if (!target) break;
      const token = randomUUID();
      const job = await this.#fetchFrom(target, token);
      if (!job) continue;
      this.#turn = (this.#turn + i + 1) % this.#targets.length;
      this.#begin(target, job, token);
      return true;
    }
    return false;
  }

  async #fetchFrom(target: ServedTarget, token: string): Promise<Job | undefined> {
    const { only } = this.#options;
    if (only && !(await this.#bringForward(target, only))) return undefined;
    const job = await target.worker.getNextJob(token, { block: false });
    if (!job || !only || only.has(job.id ?? '')) return job;
    // Somebody else's came first after all.
    await job.moveToWait(token);
    return undefined;
  }

  /** Puts one of the jobs that this runner is for in front of the queue. */
  async #bringForward(target: ServedTarget, only: ReadonlySet<string>): Promise<boolean> {
    for (const id of only) {
      if (this.#runs.has(id)) continue;
      const job = await target.queue.getJob(id);
      if (!job) continue;
      const state = await job.getState();
      if (state === 'delayed' && (job.data as JobData).retryAt <= Date.now()) await job.promote();
      else if (state !== 'waiting' && state !== 'prioritized') continue;
      await job.changePriority({ priority: 0, lifo: true });
      return true;
    }
    return false;
  }

  #begin(target: ServedTarget, job: Job, token: string): void {
    const id = job.id ?? '';
    const previous = this.#runs.get(id);
    // After a freeze this very process may be given a job that an older run of it still holds.
    previous?.stop.abort(new FerryError('LOCK_LOST', 'superseded in this process'));
    const stop = new AbortController();
    if (this.#stopping.signal.aborted) stop.abort(this.#stopping.signal.reason);
    const lease = new Lease(job, {
      redis: this.#options.redis.prompt,
      toKey: (type) => target.worker.toKey(type),
      token,
      leaseMs: this.#options.leaseMs,
      onBeatError: (error) => this.#onError(error),
    });
    this.#slotsTaken += 1;
    const pool = this.#pools.pop() ?? this.#newPool();
    const ended = (async () => {
      await previous?.ended;
      // From now on it goes before everything that has not begun.
      await job.changePriority({ priority: 0 });
      await processJob(this.#options.world, { job, token, lease, pool, shutdown: stop.signal });
    })()
      .catch((error: unknown) => this.#onError(error as Error))
      .finally(() => {
        lease.dispose();
        this.#slotsTaken -= 1;
        this.#pools.push(pool);
        if (this.#runs.get(id)?.stop === stop) this.#runs.delete(id);
        this.#wake();
      });
    this.#runs.set(id, { stop, ended });
  }

  /** Three blocks for each file that is sent at once: one written, one read, one hashed. */
  #newPool(): BlockPool {
    return new BlockPool(undefined, 3 * this.#options.world.settings.filesInParallel);
  }

  /** Connections complain once for each attempt; everything they say is said by the jobs, too. */
  #onError(error: Error): void {
    this.#options.world.log.debug({ error: error.message }, 'queue');
  }
}
