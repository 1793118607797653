import type { CopyOrder } from './copy-orders.ts';
import type { DownloadOrder } from './download-orders.ts';
import type { ChangesQuery, JobWatch } from './job-changes.ts';
import type { Receipt } from './jobs/batch/ledger.ts';
import type { BatchState } from './jobs/batch/overview.ts';
import type { Brake } from './jobs/brakes.ts';
import type { EnqueueOptions } from './jobs/enqueue.ts';
import type { Leftover } from './jobs/janitor.ts';
import type { JobDetails, JobState } from './jobs/job-view.ts';
import type { Counts, PlannedUpload } from './jobs/queue.ts';
import type { TargetState } from './jobs/target-states.ts';
import type { UploadOrder } from './orders.ts';

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
   * Puts downloads into the queue and returns their jobs, in the order of `orders`. What is queued or
   * running already, or was fetched and is still there, is returned with `existing: true`.
   *
   * @throws FerryError TARGET_UNKNOWN, USAGE; then nothing was enqueued
   */
  download(orders: readonly DownloadOrder[], options?: EnqueueOptions): Promise<JobDetails[]>;
  /**
   * Puts copies into the queue, of items of catalogs to other catalogs, of the same vCD or another.
   *
   * @throws FerryError TARGET_UNKNOWN, USAGE; then nothing was enqueued
   */
  copy(orders: readonly CopyOrder[], options?: EnqueueOptions): Promise<JobDetails[]>;
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
  /** An upload's item was removed: what says that it arrived says that, too. */
  noteRemoved(id: string, catalogItem: string): Promise<void>;
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
