import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { classify, FerryError } from './errors.ts';
import type { JobDetails, JobState } from './jobs/job-view.ts';

/** Which jobs: those named, those of a batch, or with neither what runs now and later. */
export interface ChangesQuery {
  readonly ids?: readonly string[] | undefined;
  readonly batch?: string | undefined;
  /** Ends the looking; the jobs go on. */
  readonly signal?: AbortSignal | undefined;
}

/** What of a Ferry is looked at. */
export interface JobLooks {
  getMany(ids: readonly string[]): Promise<JobDetails[]>;
  jobsOfBatch(name: string): Promise<JobDetails[]>;
  /** @throws FerryError BATCH_NOT_FOUND */
  batch(name: string): Promise<unknown>;
  list(query: { states: readonly JobState[]; limit: number }): Promise<JobDetails[]>;
}

const LOOK_MS = 250;
const AT_MOST_RUNNING = 1_000;

export function isOver({ state }: Pick<JobDetails, 'state'>): boolean {
  return state === 'completed' || state === 'failed';
}

/**
 * Yields the jobs as they are, again and again, until all of them have ended or the signal is
 * aborted.
 *
 * @throws FerryError JOB_NOT_FOUND; REDIS_UNAVAILABLE at the first look alone
 */
export async function* followJobs(
  ferry: Pick<JobLooks, 'getMany'>,
  ids: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<JobDetails[]> {
  const seen = new Map<string, JobDetails>();
  while (!signal.aborted) {
    const open = ids.filter((id) => {
      const before = seen.get(id);
      return !before || !isOver(before);
    });
    const isFirst = seen.size === 0;
    for (const job of await unlessAway(() => ferry.getMany(open), isFirst)) seen.set(job.id, job);
    const jobs = [...seen.values()];
    yield jobs;
    if (jobs.every(isOver)) return;
    // Thousands are looked at less often: this process may be the one that works on them.
    await pause(Math.max(LOOK_MS, open.length), signal);
  }
}

/** Yields what runs, and once more what has just ended, until the signal is aborted. */
export async function* followRunning(
  ferry: Pick<JobLooks, 'getMany' | 'list'>,
  signal: AbortSignal,
): AsyncGenerator<JobDetails[]> {
  const watched = new Set<string>();
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    const jobs = await unlessAway(async () => {
      const active = await ferry.list({ states: ['active'], limit: AT_MOST_RUNNING });
      for (const { id } of active) watched.add(id);
      return ferry.getMany([...watched]);
    }, isFirst);
    for (const job of jobs) if (isOver(job)) watched.delete(job.id);
    yield jobs;
    await pause(2 * LOOK_MS, signal);
  }
}

/**
 * Yields a job each time it has changed, as it is at first. Who reads slowly gets the latest state.
 *
 * @throws FerryError as `followJobs`; BATCH_NOT_FOUND; USAGE for ids and a batch together
 */
export async function* jobChanges(
  ferry: JobLooks,
  { ids, batch, signal = new AbortController().signal }: ChangesQuery,
): AsyncGenerator<JobDetails, void> {
  if (ids && batch !== undefined) {
    throw new FerryError('USAGE', 'either the ids of jobs or a batch, and not both');
  }
  if (signal.aborted) return;
  const named = batch === undefined ? ids : (await jobsOf(ferry, batch)).map(({ id }) => id);
  const rounds = named ? followJobs(ferry, named, signal) : followRunning(ferry, signal);
  const isNew = changesOnly();
  for await (const jobs of rounds) {
    for (const job of jobs) if (isNew(job.id, job)) yield job;
  }
}

/** Whether something is not as it was when it was asked of last. Keeps digests: there may be many. */
export function changesOnly(): (id: string, value: unknown) => boolean {
  const said = new Map<string, string>();
  return (id, value) => {
    const digest = createHash('sha1').update(JSON.stringify(value)).digest('base64');
    if (said.get(id) === digest) return false;
    said.set(id, digest);
    return true;
  };
}

/** A batch's jobs. One that there is not is a mistake, and not empty. @throws FerryError BATCH_NOT_FOUND */
export async function jobsOf(
  ferry: Pick<JobLooks, 'jobsOfBatch' | 'batch'>,
  name: string,
): Promise<JobDetails[]> {
  const jobs = await ferry.jobsOfBatch(name);
  if (jobs.length === 0) await ferry.batch(name);
  return jobs;
}

interface WatchEvents {
  /** A job is there, or has changed in any way. */
  change: [job: JobDetails];
  completed: [job: JobDetails];
  failed: [job: JobDetails];
  /** Nothing more comes: all named jobs have ended, the watch was closed, or it has failed. */
  end: [];
  error: [error: FerryError];
}

/**
 * Tells of jobs by events, until all that were named have ended or it is closed. Listen to `error`, too:
 * Node ends a process whose emitter has nobody for that.
 */
export class JobWatch extends EventEmitter<WatchEvents> {
  readonly #closing = new AbortController();

  constructor(ferry: JobLooks, query: ChangesQuery) {
    super();
    const signals = [this.#closing.signal, ...(query.signal ? [query.signal] : [])];
    // Later: whoever made it has not said yet what it listens to.
    setImmediate(() => void this.#run(ferry, { ...query, signal: AbortSignal.any(signals) }));
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(ferry: JobLooks, query: ChangesQuery): Promise<void> {
    const ended = new Set<string>();
    try {
      for await (const job of jobChanges(ferry, query)) {
        this.emit('change', job);
        const isNews = isOver(job) && !ended.has(job.id);
        if (!isNews) continue;
        ended.add(job.id);
        if (job.state === 'completed') this.emit('completed', job);
        if (job.state === 'failed') this.emit('failed', job);
      }
    } catch (error) {
      // Of what nobody watches any more nothing is told.
      if (!query.signal?.aborted) this.emit('error', classify(error));
    }
    this.emit('end');
  }
}

/** The jobs go on without us: an outage only means that there is nothing new to show. */
async function unlessAway(
  look: () => Promise<JobDetails[]>,
  isFirst: boolean,
): Promise<JobDetails[]> {
  try {
    return await look();
  } catch (error) {
    if (classify(error).code !== 'REDIS_UNAVAILABLE' || isFirst) throw error;
    return [];
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
