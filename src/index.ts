import type { Redis } from 'ioredis';
import { type Config, loadConfig } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { Receipt } from './jobs/batch/ledger.ts';
import type { BatchState } from './jobs/batch/overview.ts';
import type { Brake } from './jobs/brakes.ts';
import type { EnqueueOptions } from './jobs/enqueue.ts';
import type { JanitorDeps, Leftover } from './jobs/janitor.ts';
import type { JobDetails, JobState, JobView } from './jobs/job-view.ts';
import { INSTALLATION_KEY } from './jobs/names.ts';
import { type Counts, UploadQueues } from './jobs/queue.ts';
import { QueueSet } from './jobs/queue-set.ts';
import { Reservations } from './jobs/reservations.ts';
import { findTarget, splitPlace, toUploads, type UploadOrder } from './orders.ts';
import { asked } from './redis/asked.ts';
import { connectPromptly, isRedisAddress, type RedisAddress, untilReady } from './redis/connect.ts';
import { startEmbedded } from './redis/embedded.ts';

export { FerryError } from './errors.ts';
export type {
  BatchState,
  Brake,
  Counts,
  EnqueueOptions,
  JobDetails,
  JobState,
  JobView,
  Leftover,
  Receipt,
  UploadOrder,
};

export interface FerryOptions {
  /** A configuration file; by default the one that the commands would find. */
  readonly config?: string | undefined;
  /** An address of Redis, in place of the configured one. */
  readonly redis?: string | undefined;
}

/** What producers do with uploads. Every method throws FerryError REDIS_UNAVAILABLE while Redis is away. */
export interface Ferry {
  /**
   * Puts uploads into the queue and returns their jobs, in the order of `orders`. What is queued,
   * running or done already is returned with `existing: true`.
   *
   * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE; then nothing was enqueued
   */
  enqueue(orders: readonly UploadOrder[], options?: EnqueueOptions): Promise<JobDetails[]>;
  /**
   * What `enqueue` would find there already, in the order of `orders`; undefined for what it would add.
   *
   * @throws FerryError as `enqueue`
   */
  standing(
    orders: readonly UploadOrder[],
    options?: EnqueueOptions,
  ): Promise<(JobDetails | undefined)[]>;
  /** @throws FerryError JOB_NOT_FOUND */
  get(id: string): Promise<JobDetails>;
  /** In the order of the ids. @throws FerryError JOB_NOT_FOUND */
  getMany(ids: readonly string[]): Promise<JobDetails[]>;
  /** Newest first. */
  list(query: {
    targets?: readonly string[] | undefined;
    states?: readonly JobState[];
    limit: number;
  }): Promise<JobDetails[]>;
  counts(targets?: readonly string[]): Promise<Counts>;
  /** All batches as wholes, newest first. */
  batches(): Promise<BatchState[]>;
  /** A batch as a whole, with what is to be expected of it. @throws FerryError BATCH_NOT_FOUND */
  batch(name: string): Promise<BatchState>;
  /** All jobs of a batch, those that are not done first; none if there is no such batch. */
  jobsOfBatch(name: string): Promise<JobDetails[]>;
  /** What is known for good of uploads that have arrived, in the order of the ids; else undefined. */
  receipts(ids: readonly string[]): Promise<(Receipt | undefined)[]>;
  retry(ids: readonly string[]): Promise<JobDetails[]>;
  /** Returns as soon as the wish is stored; the jobs end as `failed` with `CANCELLED`. */
  requestCancel(ids: readonly string[]): Promise<void>;
  /** Why jobs are kept back, by target. */
  brakes(): Promise<ReadonlyMap<string, Brake>>;
  /**
   * Lets a target's jobs go on after its fault was mended.
   *
   * @returns false if nothing kept them back
   * @throws FerryError TARGET_UNKNOWN
   */
  resume(target: string): Promise<boolean>;
  /**
   * Unfinished items on a target that this installation began and that no job will finish.
   *
   * @param place `TARGET`, or `TARGET/CATALOG` to look into one catalog alone
   * @throws FerryError what the target says; TARGET_UNKNOWN
   */
  leftovers(place: string, signal?: AbortSignal): Promise<Leftover[]>;
  /** Removes what `leftovers` found. */
  removeLeftovers(
    place: string,
    leftovers: readonly Leftover[],
    signal?: AbortSignal,
  ): Promise<void>;
  /** True while some worker takes the target's jobs, or those of a pool. */
  isServed(target: string, pool?: string): Promise<boolean>;
  close(): Promise<void>;
}

/** Opens the queues for a program that produces uploads. The commands use nothing else. */
export function createFerry(options: FerryOptions = {}): Promise<Ferry> {
  return openFerry(loadConfig({ file: options.config, redis: options.redis }));
}

/** As `createFerry`, for a configuration that has been read already. */
export async function openFerry(config: Config): Promise<Ferry> {
  const { address, release } = await redisOf(config);
  let redis: Redis;
  try {
    redis = connectPromptly(address, 'ovaferry');
    await untilReady(redis, address);
  } finally {
    release();
  }
  const queues = new UploadQueues(redis);
  return {
    async enqueue(orders, enqueueOptions) {
      const uploads = await toUploads(orders, config.targets);
      return asked(() => queues.enqueue(uploads, enqueueOptions));
    },
    async standing(orders, enqueueOptions) {
      const uploads = await toUploads(orders, config.targets);
      return asked(() => queues.standing(uploads, enqueueOptions));
    },
    brakes: () => asked(() => queues.brakes()),
    async resume(target) {
      findTarget(target, config.targets);
      return asked(() => queues.resume(target));
    },
    async leftovers(place, signal = new AbortController().signal) {
      const { findLeftovers } = await import('./jobs/janitor.ts');
      const { deps, catalogs } = await janitorOf(config, redis, place);
      try {
        const wanted =
          catalogs ?? (await deps.vcd.listCatalogs({ signal })).map(({ name }) => name);
        return await asked(() => findLeftovers(deps, wanted, { signal }));
      } finally {
        deps.vcd.close();
      }
    },
    async removeLeftovers(place, leftovers, signal = new AbortController().signal) {
      const { removeLeftover } = await import('./jobs/janitor.ts');
      const { deps } = await janitorOf(config, redis, place);
      try {
        for (const leftover of leftovers) await removeLeftover(deps, leftover, { signal });
      } finally {
        deps.vcd.close();
      }
    },
    get: (id) => asked(() => queues.get(id)),
    getMany: (ids) => asked(() => queues.getMany(ids)),
    list: (query) => asked(() => queues.list(query)),
    async batches() {
      const limits = await config.limits();
      return asked(() => queues.batches(limits));
    },
    async batch(name) {
      const limits = await config.limits();
      return asked(() => queues.batch(name, limits));
    },
    jobsOfBatch: (name) => asked(() => queues.jobsOfBatch(name)),
    receipts: (ids) => asked(() => queues.receipts(ids)),
    counts: (targets) => asked(() => queues.counts(targets)),
    retry: (ids) => asked(() => queues.retry(ids)),
    requestCancel: (ids) => asked(() => queues.requestCancel(ids)),
    isServed: (target, pool) => asked(() => queues.isServed(target, pool)),
    async close() {
      await queues.close();
      redis.disconnect();
    },
  };
}

async function janitorOf(
  config: Config,
  redis: Redis,
  place: string,
): Promise<{ deps: JanitorDeps; catalogs: readonly string[] | undefined }> {
  // Loaded by those commands alone that speak to a target: the others are to start at once.
  const { createClient } = await import('./targets.ts');
  const { target, catalog } = splitPlace(place);
  findTarget(target, config.targets);
  const queues = new QueueSet(redis);
  const installation = await asked(() => redis.get(INSTALLATION_KEY));
  return {
    deps: {
      vcd: await createClient(config, target),
      queues,
      reservations: new Reservations(redis, queues),
      targets: [...config.targets.keys()],
      installation: installation ?? '',
    },
    catalogs: catalog === undefined ? undefined : [catalog],
  };
}

/** The configured Redis, or the private one. `release` when a connection of one's own is open. */
export async function redisOf(
  config: Config,
): Promise<{ address: RedisAddress; release: () => void }> {
  const url = config.redisUrl();
  if (url === undefined) return startEmbedded(config.dataDir);
  if (!isRedisAddress(url)) {
    throw new FerryError(
      'CONFIG_INVALID',
      '`redis` is not an address like redis://[user:password@]host[:port][/db]',
      {
        hint: 'Also rediss://, redis-sentinel://HOST,…/NAME, redis-cluster://HOST,…; in a password @ is written %40, % is %25; nothing may follow a ?.',
      },
    );
  }
  return { address: { url }, release: () => undefined };
}
