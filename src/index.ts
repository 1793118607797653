import type { Redis } from 'ioredis';
import { assertOrders } from './check-orders.ts';
import { type Config, loadConfig } from './config/load.ts';
import { suggestion } from './config/suggest.ts';
import { classify, FerryError } from './errors.ts';
import { type ChangesQuery, JobWatch, jobChanges, jobsOf } from './job-changes.ts';
import type { Receipt } from './jobs/batch/ledger.ts';
import type { BatchState } from './jobs/batch/overview.ts';
import type { Brake } from './jobs/brakes.ts';
import type { EnqueueOptions } from './jobs/enqueue.ts';
import type { JanitorDeps, Leftover } from './jobs/janitor.ts';
import type { JobDetails, JobState, JobView } from './jobs/job-view.ts';
import { INSTALLATION_KEY } from './jobs/names.ts';
import { type Counts, type PlannedUpload, UploadQueues } from './jobs/queue.ts';
import { QueueSet } from './jobs/queue-set.ts';
import { Reservations } from './jobs/reservations.ts';
import type { TargetState } from './jobs/target-states.ts';
import { findTarget, splitPlace, toUploads, type UploadOrder } from './orders.ts';
import { asked } from './redis/asked.ts';
import { connectTo } from './redis-of.ts';

export { FerryError } from './errors.ts';
export type {
  BatchState,
  Brake,
  ChangesQuery,
  Counts,
  EnqueueOptions,
  JobDetails,
  JobState,
  JobView,
  JobWatch,
  Leftover,
  PlannedUpload,
  Receipt,
  TargetState,
  UploadOrder,
};

export interface FerryOptions {
  /** A configuration file; by default the one that the commands would find. */
  readonly config?: string | undefined;
  /** An address of Redis, in place of the configured one. */
  readonly redis?: string | undefined;
}

/** What became of failed jobs that were to be tried again. */
export interface Retried {
  readonly jobs: readonly JobDetails[];
  /** The same upload was enqueued again since: they are left as they are. */
  readonly replaced: readonly JobDetails[];
}

/**
 * What producers do with uploads. Every method throws FerryError REDIS_UNAVAILABLE while Redis is away;
 * what follows jobs does so at its first look alone, and goes on when Redis is back.
 */
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
  /** All targets that are configured or have had a job: what they do, and why jobs of theirs wait. */
  targets(): Promise<TargetState[]>;
  /**
   * When uploads would have arrived if they were enqueued now, in this order, beside what is queued;
   * undefined where nobody knows: nothing was sent to the target of late, and no limit says more.
   */
  forecast(uploads: readonly PlannedUpload[]): Promise<(Date | undefined)[]>;
  /** Batches as wholes, newest first; all of them, or so many. */
  batches(atMost?: number): Promise<BatchState[]>;
  /** A batch as a whole, with what is to be expected of it. @throws FerryError BATCH_NOT_FOUND */
  batch(name: string): Promise<BatchState>;
  /** All jobs of a batch, those that are not done first; none if there is no such batch. */
  jobsOfBatch(name: string): Promise<JobDetails[]>;
  /** What is known for good of uploads that have arrived, in the order of the ids; else undefined. */
  receipts(ids: readonly string[]): Promise<(Receipt | undefined)[]>;
  /**
   * Yields a job each time it has changed, first as it is; ends when all that were named have ended.
   *
   * @example
   *   for await (const { name, state, bytesSent } of ferry.changes({ batch: 'weekend' })) …
   */
  changes(query?: ChangesQuery): AsyncGenerator<JobDetails, void>;
  /** The same as events: `change`, `completed`, `failed`, `end`, `error`. To be closed. */
  watch(query?: ChangesQuery): JobWatch;
  /**
   * Puts failed jobs back. They go on from their checkpoint.
   *
   * @throws FerryError JOB_NOT_FOUND; USAGE where another job has taken the place of one
   */
  retry(ids: readonly string[]): Promise<JobDetails[]>;
  /** Puts back all that have failed and were not cancelled; of a batch, or of all. @throws FerryError BATCH_NOT_FOUND */
  retryFailed(query?: { readonly batch?: string | undefined }): Promise<Retried>;
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
  const redis = await connectTo(config, 'ovaferry');
  const queues = new UploadQueues(redis);
  const closing = new AbortController();
  const looks: Pick<Ferry, 'getMany' | 'list' | 'jobsOfBatch' | 'batch'> = {
    getMany: (ids) => asked(() => queues.getMany(ids)),
    list: (query) => asked(() => queues.list(query)),
    jobsOfBatch: (name) => asked(() => queues.jobsOfBatch(name)),
    async batch(name) {
      const limits = await config.limits();
      return asked(() => queues.batch(name, limits)).catch(async (error: unknown) => {
        if (classify(error).code !== 'BATCH_NOT_FOUND') throw error;
        const meant = suggestion(name, await asked(() => queues.batchNames()));
        throw new FerryError('BATCH_NOT_FOUND', `there is no batch ${name}${meant}`, {
          facts: { batch: name },
        });
      });
    },
  };
  const { getMany, list, jobsOfBatch, batch } = looks;
  const untilClosed = (query: ChangesQuery): ChangesQuery => ({
    ...query,
    signal: AbortSignal.any([closing.signal, ...(query.signal ? [query.signal] : [])]),
  });
  return {
    async enqueue(orders, enqueueOptions) {
      assertOrders(orders, enqueueOptions);
      const uploads = await toUploads(orders, config.targets);
      return asked(() => queues.enqueue(uploads, enqueueOptions));
    },
    async standing(orders, enqueueOptions) {
      assertOrders(orders, enqueueOptions);
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
    getMany,
    list,
    async targets() {
      const limits = await config.limits();
      return asked(() => queues.targets(limits));
    },
    async forecast(uploads) {
      const limits = await config.limits();
      const ends = await asked(() => queues.forecast(uploads, limits));
      return ends.map((end) => (end === undefined ? undefined : new Date(end)));
    },
    async batches(atMost) {
      const limits = await config.limits();
      return asked(() => queues.batches(limits, atMost));
    },
    batch,
    jobsOfBatch,
    changes: (query = {}) => jobChanges(looks, untilClosed(query)),
    watch: (query = {}) => new JobWatch(looks, untilClosed(query)),
    receipts: (ids) => asked(() => queues.receipts(ids)),
    counts: (targets) => asked(() => queues.counts(targets)),
    retry: (ids) => asked(() => queues.retry(ids)),
    async retryFailed({ batch: name } = {}) {
      const all =
        name === undefined
          ? await list({ states: ['failed'], limit: Number.MAX_SAFE_INTEGER })
          : await jobsOf(looks, name);
      return asked(() => retryUnlessReplaced(queues, all));
    },
    requestCancel: (ids) => asked(() => queues.requestCancel(ids)),
    isServed: (target, pool) => asked(() => queues.isServed(target, pool)),
    async close() {
      closing.abort(); // whoever follows jobs is done
      await queues.close();
      redis.disconnect();
    },
  };
}

/** Of all that have failed some may have been enqueued again since. */
async function retryUnlessReplaced(
  queues: UploadQueues,
  all: readonly JobDetails[],
): Promise<Retried> {
  const jobs: JobDetails[] = [];
  const replaced: JobDetails[] = [];
  for (const job of all) {
    // What somebody has cancelled was not wanted any more.
    if (job.state !== 'failed' || job.error?.code === 'CANCELLED') continue;
    try {
      jobs.push(...(await queues.retry([job.id])));
    } catch (error) {
      if (classify(error).code !== 'USAGE') throw error;
      replaced.push(job);
    }
  }
  return { jobs, replaced };
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
      vcd: await createClient(() => config, target),
      queues,
      reservations: new Reservations(redis, queues),
      targets: [...config.targets.keys()],
      installation: installation ?? '',
    },
    catalogs: catalog === undefined ? undefined : [catalog],
  };
}
