import { randomUUID } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { BlockPool } from '../source/blocks.ts';
import { type Fetched, Fetcher, type ServedTarget, type TargetLimits } from './fetcher.ts';
import { Lease } from './lease.ts';
import { freePlace, RunPlace, takePlace } from './line.ts';
import { lineKey, PREFIX, queueName, targetOfJob, WAKE_CHANNEL, workersKey } from './names.ts';
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
  readonly targets: readonly TargetLimits[];
  /** Transfers at once in this process. */
  readonly concurrency: number;
  readonly leaseMs: number;
  /** Work on these jobs alone, and do not count as a worker that serves the target. */
  readonly only?: ReadonlySet<string>;
  /** True while uploads to a target wait for it to answer. */
  readonly isDown: (target: string) => boolean;
  readonly world: ProcessorWorld;
}

const POLL_MS = 1_000;
const PRESENCE_MS = 3_000;
/** A crash is nobody's fault: however often a job's workers die, it goes on. */
const NEVER = 1_000_000_000;

interface ActiveRun {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Fetches jobs of several targets and works on them. A full worker still has room for what another
 * one has begun and left.
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
  readonly #fetcher: Fetcher;
  #placesTaken = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { patient } = options.redis;
    this.#targets = options.targets.map((limits) => {
      const { name } = limits;
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
      return { ...limits, queue, worker };
    });
    this.#fetcher = new Fetcher(this.#targets, {
      redis: options.redis.prompt,
      brakes: options.world.brakes,
      ceilings: options.world.ceilings,
      leaseMs: options.leaseMs,
      only: options.only,
      isDown: options.isDown,
      running: (target) => [...this.#runs.keys()].filter((id) => targetOfJob(id) === target),
    });
  }

  async start(): Promise<void> {
    const { redis } = this.#options;
    for (const { concurrency, imports, queue, worker } of this.#targets) {
      await queue.setGlobalConcurrency(concurrency + imports);
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
        await this.#fetcher.lookAround();
        while (!signal.aborted && this.#placesTaken < this.#room) {
          const isFull = this.#placesTaken >= this.#options.concurrency;
          const fetched = await this.#fetcher.fetch(isFull);
          if (!fetched) break;
          this.#begin(fetched);
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

  /** Places in this process, those for taking over what others began included. */
  get #room(): number {
    return Math.ceil(this.#options.concurrency * 1.5);
  }

  #begin({ target, job, token }: Fetched): void {
    const id = job.id ?? '';
    const previous = this.#runs.get(id);
    // After a freeze this very process may be given a job that an older run of it still holds.
    previous?.stop.abort(new FerryError('LOCK_LOST', 'superseded in this process'));
    const stop = new AbortController();
    if (this.#stopping.signal.aborted) stop.abort(this.#stopping.signal.reason);
    const line = this.#newPlace(target, token);
    const { redis, leaseMs, world } = this.#options;
    const lease = new Lease(job, {
      redis: redis.prompt,
      toKey: (type) => target.worker.toKey(type),
      lineKey: lineKey(target.name),
      holdsPlace: () => line.isHeld,
      token,
      leaseMs,
      onBeatError: (error) => this.#onError(error),
    });
    const ended = (async () => {
      await previous?.ended;
      // From now on it goes before everything that has not begun.
      await job.changePriority({ priority: 0 });
      await processJob(world, { job, token, lease, line, shutdown: stop.signal });
    })()
      .catch((error: unknown) => this.#onError(error as Error))
      .finally(() => {
        lease.dispose();
        line.free();
        if (this.#runs.get(id)?.stop === stop) this.#runs.delete(id);
        this.#wake();
      });
    this.#runs.set(id, { stop, ended });
  }

  /** The place that was taken for a job, as its run holds it, gives it back and takes another. */
  #newPlace(target: ServedTarget, token: string): RunPlace {
    const { redis, leaseMs } = this.#options;
    const takePool = (): BlockPool => {
      this.#placesTaken += 1;
      return this.#pools.pop() ?? this.#newPool();
    };
    return new RunPlace(takePool(), {
      tryTake: async () => {
        if (this.#placesTaken >= this.#room) return undefined;
        return (await takePlace(redis.prompt, target, { token, leaseMs })) ? takePool() : undefined;
      },
      giveBack: (pool) => {
        this.#placesTaken -= 1;
        this.#pools.push(pool);
        freePlace(redis.prompt, target.name, token).catch((error) => this.#onError(error));
        this.#wake();
      },
    });
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
