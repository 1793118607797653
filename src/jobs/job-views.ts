import type { Redis } from 'ioredis';
import { Ledger } from './batch/ledger.ts';
import { type JobDetails, type JobState, toState, viewOf, viewOfReceipt } from './job-view.ts';
import type { QueueSet } from './queue-set.ts';

/** So many questions are under way at once. */
const AT_ONCE = 250;

/** Jobs as they are, those that BullMQ has forgotten since they were completed included. */
export class JobViews {
  readonly #queues: QueueSet;
  readonly #ledger: Ledger;

  constructor(redis: Redis, queues: QueueSet) {
    this.#queues = queues;
    this.#ledger = new Ledger(redis);
  }

  async find(id: string): Promise<JobDetails | undefined> {
    return (await this.findMany([id]))[0];
  }

  /** In the order of the ids; undefined where there is no such job. */
  async findMany(ids: readonly string[]): Promise<(JobDetails | undefined)[]> {
    const views: (JobDetails | undefined)[] = [];
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      views.push(...(await Promise.all(ids.slice(i, i + AT_ONCE).map((id) => this.#inQueue(id)))));
    }
    const missing = ids.filter((id, i) => views[i] === undefined && id !== '');
    if (missing.length === 0) return views;
    const receipts = await this.#ledger.findMany(missing);
    const known = new Map(receipts.map((receipt, i) => [missing[i], receipt]));
    return views.map((view, i) => {
      const receipt = view ? undefined : known.get(ids[i] ?? '');
      return view ?? (receipt && viewOfReceipt(receipt));
    });
  }

  /** Newest first. */
  async list(
    queues: readonly string[],
    { states, limit }: { readonly states: readonly JobState[]; readonly limit: number },
  ): Promise<JobDetails[]> {
    const views: JobDetails[] = [];
    for (const queue of queues) {
      for (const state of states) {
        const types = state === 'waiting' ? (['waiting', 'prioritized'] as const) : [state];
        // Of those that wait for a time the first is the next.
        const isFirst = state === 'delayed';
        const jobs = await this.#queues.of(queue).getJobs([...types], 0, limit - 1, isFirst);
        // A job may have been removed between the list and the look at it.
        for (const job of jobs) if (job) views.push(viewOf(job, state));
      }
    }
    const newestFirst = views.sort((a, b) => b.enqueuedAt.localeCompare(a.enqueuedAt));
    return newestFirst.slice(0, limit);
  }

  async #inQueue(id: string): Promise<JobDetails | undefined> {
    if (id === '') return undefined;
    for (let looks = 1; ; looks += 1) {
      const job = await this.#queues.findJob(id);
      const state = job && toState(await job.getState());
      if (!job || !state) return undefined;
      // It may have ended between the two looks: then its result is not in what was read first.
      const isOver = state === 'completed' || state === 'failed';
      if (!isOver || job.finishedOn !== undefined || looks > 2) return viewOf(job, state);
    }
  }
}
