import type { Redis } from 'ioredis';
import type { JobDetails, JobState } from '../job-view.ts';
import type { JobViews } from '../job-views.ts';
import type { Limits } from '../limits/limits.ts';
import type { QueueSet } from '../queue-set.ts';
import { Batches, type BatchTotals } from './batches.ts';
import { Expectation } from './expectation.ts';
import { Rates } from './rates.ts';

/** Uploads of a batch that failed by the same. */
interface FailureGroup {
  readonly code: string;
  readonly count: number;
  /** Of the first of them. */
  readonly message: string;
  readonly hint: string;
  readonly ids: readonly string[];
}

/** A batch as a whole. Times in ISO 8601; bytes; rates in bytes per second. */
export interface BatchState {
  readonly name: string;
  readonly counts: Readonly<Record<JobState, number>>;
  readonly bytesTotal: number;
  /** What the servers keep. */
  readonly bytesArrived: number;
  readonly bytesResent: number;
  /** Of late; null while nothing of it is sent. */
  readonly rate: number | null;
  readonly failures: readonly FailureGroup[];
  readonly createdAt: string;
  readonly deadline: string | null;
  /** When its last upload ended; null while there is one that has not. */
  readonly endedAt: string | null;
  /** When its last upload will have arrived, if all goes on as it does; null where nobody knows. */
  readonly expectedAt: string | null;
  /** Uploads that will arrive after their deadlines. */
  readonly lateCount: number;
  /** The first of them. */
  readonly late: readonly { readonly id: string; readonly expectedAt: string | null }[];
}

/** Ids of failed jobs that are shown of each group. */
const SHOWN_IDS = 20;
/** Late ones that are shown: of thousands nobody reads them all, and what tells of them is sent about. */
const SHOWN_LATE = 100;
/** Jobs whose sizes are read one by one for a forecast; of more than that the mean is taken. */
const READ_AT_MOST = 20_000;

export interface OverviewDeps {
  readonly redis: Redis;
  readonly queues: QueueSet;
  readonly views: JobViews;
}

/** A job that is joined and not there is about to be added; later, its command has died. */
const ABOUT_TO_BE_ADDED_MS = 60_000;

/** Where all jobs were at one moment, by id. */
type Snapshot = ReadonlyMap<string, JobState>;

/** A batch's jobs that are not done. */
type Standing = Readonly<Record<Exclude<JobState, 'completed'>, readonly string[]>>;

interface Ends {
  /** When the last of its jobs will have arrived; undefined where that can't be told. */
  readonly last: number | undefined;
  readonly late: readonly { readonly id: string; readonly end: number | undefined }[];
}

/** Looks at batches as wholes. */
export class Overview {
  readonly #deps: OverviewDeps;
  readonly #batches: Batches;
  readonly #rates: Rates;
  readonly #expectation: Expectation;

  constructor(deps: OverviewDeps) {
    this.#deps = deps;
    this.#batches = new Batches(deps.redis);
    this.#rates = new Rates(deps.redis);
    this.#expectation = new Expectation(deps);
  }

  /**
   * @param limits for the forecast; without them there is none
   * @returns undefined if there is no such batch
   */
  async of(name: string, limits?: Limits): Promise<BatchState | undefined> {
    const totals = await this.#batches.find(name);
    return totals && this.#look(totals, { limits, snapshot: await this.#snapshot() });
  }

  /** Newest first. */
  async all(limits?: Limits, atMost?: number): Promise<BatchState[]> {
    const look = this.openLook();
    const states: BatchState[] = [];
    for (const name of (await this.#batches.names()).slice(0, atMost)) {
      const totals = await this.#batches.find(name);
      if (totals) states.push(await look(totals, limits));
    }
    return states;
  }

  /** For looking at several batches: where all jobs are is asked once. */
  openLook(): (totals: BatchTotals, limits?: Limits) => Promise<BatchState> {
    let snapshot: Promise<Snapshot> | undefined;
    return async (totals, limits) => {
      snapshot ??= this.#snapshot();
      return this.#look(totals, { limits, snapshot: await snapshot });
    };
  }

  async #look(
    totals: BatchTotals,
    { limits, snapshot }: { limits: Limits | undefined; snapshot: Snapshot },
  ): Promise<BatchState> {
    const { name } = totals;
    const standing = await this.#standing(totals, snapshot);
    const { waiting, active, delayed, failed } = standing;
    const running = await this.#views(active);
    const sumOf = (of: (job: JobDetails) => number): number =>
      running.reduce((sum, job) => sum + of(job), 0);
    const isOver = waiting.length + active.length + delayed.length === 0;
    const failures = await this.#views(failed);
    const ends = limits && !isOver ? await this.#ends(totals, standing, limits) : undefined;
    const rate = active.length > 0 ? await this.#rates.ofBatch(name) : undefined;
    return {
      name,
      counts: {
        ...{ waiting: waiting.length, active: active.length, delayed: delayed.length },
        ...{ completed: totals.done, failed: failed.length },
      },
      bytesTotal: totals.bytes,
      bytesArrived: totals.doneBytes + sumOf((job) => job.bytesSent - job.bytesResent),
      bytesResent: totals.resentBytes + sumOf((job) => job.bytesResent),
      rate: rate ?? null,
      failures: groupFailures(failures),
      createdAt: new Date(totals.createdAt).toISOString(),
      deadline: isoOf(totals.deadline),
      endedAt: isOver ? isoOf(totals.endedAt ?? (await this.#overAt(totals, failures))) : null,
      expectedAt: isoOf(ends?.last ?? null),
      lateCount: ends?.late.length ?? 0,
      late: (ends?.late ?? [])
        .slice(0, SHOWN_LATE)
        .map(({ id, end }) => ({ id, expectedAt: isoOf(end ?? null) })),
    };
  }

  /** When the last of its jobs ended: looked for once, and remembered for as long as nothing has changed. */
  async #overAt(totals: BatchTotals, failures: readonly JobDetails[]): Promise<number> {
    const { name, rounds, jobs, done, over } = totals;
    if (name === '') return Date.now(); // of what belongs to no batch nobody asks
    const state = `${rounds} ${jobs} ${done} ${failures.length}`;
    const [seen = '', at] = over?.split('=') ?? [];
    if (seen === state && at !== undefined) return Number(at);
    const endedAt = await this.#endedAt(name, failures);
    await this.#batches.noteOver(name, `${state}=${endedAt}`);
    return endedAt;
  }

  /** When the last of its jobs ended. */
  async #endedAt(name: string, failures: readonly JobDetails[]): Promise<number> {
    const done = await this.#views(await this.#batches.doneIds(name));
    const ends = [...failures, ...done].map(({ finishedAt }) => Date.parse(finishedAt ?? ''));
    const known = ends.filter((end) => !Number.isNaN(end));
    return known.reduce((last, end) => Math.max(last, end), 0) || Date.now();
  }

  /** States one after the other: what moves on meanwhile is looked at once more by itself. */
  async #snapshot(): Promise<Snapshot> {
    const states = new Map<string, JobState>();
    for (const name of await this.#deps.queues.names()) {
      const queue = this.#deps.queues.of(name);
      for (const id of await queue.getRanges(['wait', 'prioritized'], 0, -1)) {
        states.set(id, 'waiting');
      }
      for (const state of ['delayed', 'active', 'failed'] as const) {
        for (const id of await queue.getRanges([state], 0, -1)) states.set(id, state);
      }
    }
    return states;
  }

  async #standing({ name, joinedAt }: BatchTotals, snapshot: Snapshot): Promise<Standing> {
    const found = {
      waiting: [] as string[],
      active: [] as string[],
      delayed: [] as string[],
      failed: [] as string[],
    };
    const missing: string[] = [];
    for (const id of await this.#batches.openIds(name)) {
      const state = snapshot.get(id);
      if (state && state !== 'completed') found[state].push(id);
      else missing.push(id);
    }
    const views = await this.#deps.views.findMany(missing);
    const isFresh = Date.now() - joinedAt < ABOUT_TO_BE_ADDED_MS;
    const gone: string[] = [];
    for (const [i, id] of missing.entries()) {
      const state = views[i]?.state;
      if (state === undefined && !isFresh) gone.push(id);
      else if (state !== 'completed') found[state ?? 'waiting'].push(id);
    }
    await this.#batches.leave(gone);
    return found;
  }

  async #views(ids: readonly string[]): Promise<JobDetails[]> {
    return (await this.#deps.views.findMany(ids)).filter((view) => view !== undefined);
  }

  /** When its open jobs will have arrived. */
  async #ends(
    { name }: BatchTotals,
    { waiting, active, delayed }: Standing,
    limits: Limits,
  ): Promise<Ends> {
    const ids = [...active, ...delayed, ...waiting];
    const read = await this.#views(ids.slice(0, READ_AT_MOST));
    const jobs = read.sort(
      (a, b) =>
        rank(a) - rank(b) || a.priority - b.priority || a.enqueuedAt.localeCompare(b.enqueuedAt),
    );
    const expected = jobs.map((job) => {
      const left = Math.max(0, job.bytesTotal - (job.bytesSent - job.bytesResent));
      const notBefore = job.notBefore === null ? undefined : Date.parse(job.notBefore);
      return { id: job.id, target: job.target, bytes: job.bytesTotal, left, notBefore };
    });
    const unread = ids.length - read.length;
    const ends = await this.#expectation.of(expected, limits, { unread, besides: name });
    const late = jobs.flatMap(({ id, deadline }) => {
      const end = ends.at.get(id);
      // Without a forecast it is late once its time is over.
      const isLate = deadline !== null && (end ?? Date.now()) > Date.parse(deadline);
      return isLate ? [{ id, end }] : [];
    });
    return { last: ends.last, late };
  }
}

/** What has begun goes first. */
function rank({ state }: JobDetails): number {
  return state === 'active' ? 0 : 1;
}

function groupFailures(jobs: readonly JobDetails[]): FailureGroup[] {
  const groups = new Map<string, JobDetails[]>();
  for (const job of jobs) {
    const code = job.error?.code ?? 'INTERNAL';
    groups.set(code, [...(groups.get(code) ?? []), job]);
  }
  return [...groups]
    .map(([code, some]) => ({
      code,
      count: some.length,
      message: some[0]?.error?.message ?? '',
      hint: some[0]?.error?.hint ?? '',
      ids: some.slice(0, SHOWN_IDS).map(({ id }) => id),
    }))
    .sort((a, b) => b.count - a.count);
}

function isoOf(moment: number | null): string | null {
  return moment === null || !Number.isFinite(moment) ? null : new Date(moment).toISOString();
}
