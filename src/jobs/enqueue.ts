import type { Job, JobsOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { Batches } from './batch/batches.ts';
import { type JobData, newJobData } from './job-data.ts';
import type { JobRequest, UploadRequest } from './job-request.ts';
import { isRemoved, type JobDetails, viewOf } from './job-view.ts';
import type { JobViews } from './job-views.ts';
import { Lanes, type Waiting } from './limits/lanes.ts';
import { QUEUES_KEY, queueOf, queueOfJob, WAKE_CHANNEL } from './names.ts';
import type { QueueSet } from './queue-set.ts';
import {
  claimPlaces,
  findHolders,
  type Holder,
  nextHolder,
  type PlaceClaim,
  sameUploadKey,
} from './same-upload.ts';

export interface EnqueueOptions {
  /** 1 goes first. Uploads that have begun go before all that have not. */
  readonly priority?: number | undefined;
  readonly startAt?: Date | undefined;
  /** Also what was uploaded already. */
  readonly again?: boolean | undefined;
  /** Which goes first among those of one priority; by default as they are listed. */
  readonly order?: 'listed' | 'smallest' | 'largest' | undefined;
}

/** A job to be enqueued; what it says itself goes before what is said for all. */
export interface WantedJob {
  readonly request: JobRequest;
  readonly priority?: number | undefined;
  readonly startAt?: Date | undefined;
  /** Also what was done already, since it is to be done once more, or its result has gone. */
  readonly again?: boolean | undefined;
}

export interface WantedUpload extends WantedJob {
  readonly request: UploadRequest;
}

interface Claim extends PlaceClaim {
  readonly wanted: WantedJob;
  /** The place is taken by this very job, which is not there yet: whoever took it may have died. */
  readonly isTaken: boolean;
}

/** The field of a job's hash in which the first command that has added it leaves word. */
const MADE_FIELD = 'ferry:made';
const DEFAULT_PRIORITY = 1_000;
/** So many go to Redis at once, and are on its disk together. */
const BULK = 500;
/** Completed jobs are forgotten after this; the ledger keeps what they did. Seconds. */
const KEPT_COMPLETED_S = 7 * 86_400;
/** No more completed jobs of a target than this, however young. */
const KEPT_COMPLETED = 20_000;

/** KEYS a job; ARGV the field. Returns 1 for the first that signs a job, which has to be there; else 0. */
const SIGN = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSETNX', KEYS[1], ARGV[1], 1)`;

type EnqueuerRedis = Redis & { ferrySign(key: string, field: string): Promise<number> };

/** Puts jobs in, each upload once. */
export class Enqueuer {
  readonly #redis: EnqueuerRedis;
  readonly #queues: QueueSet;
  readonly #views: JobViews;
  readonly #batches: Batches;
  readonly #lanes: Lanes;

  constructor(redis: Redis, { queues, views }: { queues: QueueSet; views: JobViews }) {
    this.#redis = redis as EnqueuerRedis;
    if (!('ferrySign' in redis)) redis.defineCommand('ferrySign', { numberOfKeys: 1, lua: SIGN });
    this.#queues = queues;
    this.#views = views;
    this.#batches = new Batches(redis);
    this.#lanes = new Lanes(redis);
  }

  /** Enqueues what is not queued, running or done already. One view for each upload, in order. */
  async enqueue(uploads: readonly WantedJob[], options: EnqueueOptions): Promise<JobDetails[]> {
    const views = new Map<WantedJob, JobDetails>();
    const sorted = inOrder(uploads, options.order);
    for (let i = 0; i < sorted.length; i += BULK) {
      await this.#enqueueSome(sorted.slice(i, i + BULK), { options, views });
    }
    await this.#redis.publish(WAKE_CHANNEL, 'enqueued');
    return uploads.map((wanted) => views.get(wanted) as JobDetails);
  }

  async #enqueueSome(
    uploads: readonly WantedJob[],
    { options, views }: { options: EnqueueOptions; views: Map<WantedJob, JobDetails> },
  ): Promise<void> {
    let open = [...uploads];
    while (open.length > 0) {
      const keys = open.map(({ request }) => sameUploadKey(request));
      const holders = await findHolders(this.#redis, keys);
      const known = await this.#views.findMany(holders.map((holder) => holder?.id ?? ''));
      const claims: Claim[] = [];
      for (const [i, wanted] of open.entries()) {
        const there = known[i];
        if (there && !isOver(there, wanted, options)) {
          views.set(wanted, { ...there, existing: true });
          continue;
        }
        const [key = '', seen] = [keys[i], holders[i]];
        const queue = queueOfRequest(wanted.request);
        const isTaken = seen !== undefined && !there && queueOfJob(seen.id) === queue;
        const { id, generation } = isTaken ? seen : nextHolder(key, queue, seen);
        claims.push({ wanted, key, seen, id, generation, isTaken });
      }
      const taken = claims.filter(({ isTaken }) => isTaken);
      const untaken = claims.filter(({ isTaken }) => !isTaken);
      const won = [...taken, ...(await claimPlaces(this.#redis, untaken))];
      await this.#joinNew(won);
      const ours = await this.#stillOurs(won);
      const added = await this.#add(ours, options);
      // Between that question and the adding another command may have taken the place for another queue.
      const kept = new Set(await this.#stillOurs(ours));
      for (const [claim, view] of added) {
        if (kept.has(claim)) views.set(claim.wanted, view);
        else await this.#queues.of(queueOfJob(claim.id)).remove(claim.id);
      }
      open = claims.filter(({ wanted }) => !views.has(wanted)).map(({ wanted }) => wanted);
    }
    await this.#joinExisting(uploads, views);
  }

  /** The jobs that stand for uploads, unless they are over and others may take their places. */
  async standing(
    holders: readonly (Holder | undefined)[],
    {
      uploads = [],
      options = {},
    }: { readonly uploads?: readonly WantedJob[]; readonly options?: EnqueueOptions } = {},
  ): Promise<(JobDetails | undefined)[]> {
    const views = await this.#views.findMany(holders.map((holder) => holder?.id ?? ''));
    return views.map((view, i) => (view && isOver(view, uploads[i], options) ? undefined : view));
  }

  /**
   * A process that was frozen since it took its places may have lost them to another: whoever adds jobs
   * without asking again would make them twice. Between this question and the adding lies no wait.
   */
  async #stillOurs(won: readonly Claim[]): Promise<Claim[]> {
    const holders = await findHolders(
      this.#redis,
      won.map(({ key }) => key),
    );
    const lost = won.filter(({ id }, i) => holders[i]?.id !== id);
    await this.#batches.leave(lost.map(({ id }) => id));
    return won.filter((claim) => !lost.includes(claim));
  }

  async #add(claims: readonly Claim[], options: EnqueueOptions): Promise<Map<Claim, JobDetails>> {
    const added = new Map<Claim, JobDetails>();
    for (const [queue, some] of groupBy(claims, ({ wanted }) => queueOfRequest(wanted.request))) {
      await this.#redis.sadd(QUEUES_KEY, queue);
      const made = await this.#queues.of(queue).addBulk(
        some.map(({ wanted, id, seen }) => {
          const startAt = wanted.startAt ?? options.startAt;
          return {
            name: wanted.request.name,
            data: newJobData(
              { ...wanted.request, again: options.again ?? false, previous: seen?.id ?? null },
              startAt?.getTime(),
            ),
            opts: { ...jobOptions(wanted, options), jobId: id },
          };
        }),
      );
      // Afterwards: what stands in a lane and is in no queue is taken out again.
      for (const [at, jobs] of groupBy(made, dueAt)) {
        await this.#lanes.lineUp(queue, jobs.map(toWaiting), at);
      }
      const isOurs = await this.#signed(queue, made);
      for (const [i, job] of made.entries()) {
        const claim = some[i] as Claim;
        const own = viewOf(job, job.opts.delay ? 'delayed' : 'waiting');
        if (isOurs[i]) added.set(claim, own);
        // What has gone again since then is asked for once more.
        const there = isOurs[i] ? undefined : await this.#views.find(claim.id);
        if (there) added.set(claim, { ...there, existing: true });
      }
    }
    return added;
  }

  /**
   * Which of the jobs this command has added: another one that wants the same may have been quicker, and
   * then adding them has done nothing.
   */
  async #signed(queue: string, jobs: readonly Job[]): Promise<boolean[]> {
    const bull = this.#queues.of(queue);
    const answers = jobs.map(({ id = '' }) => this.#redis.ferrySign(bull.toKey(id), MADE_FIELD));
    return (await Promise.all(answers)).map((isFirst) => isFirst === 1);
  }

  async #joinNew(claims: readonly Claim[]): Promise<void> {
    // What failed is replaced in its own batch, and still counts in others.
    for (const [batch, some] of groupBy(claims, ({ wanted }) => wanted.request.batch ?? '')) {
      await this.#batches.leave(
        some.flatMap(({ seen, isTaken }) => (seen && !isTaken ? [seen.id] : [])),
        batch,
      );
    }
    await this.#join(claims.map(({ wanted, id }) => ({ wanted, id })));
  }

  /** What was there before the command belongs to its batch as well. */
  async #joinExisting(
    uploads: readonly WantedJob[],
    views: ReadonlyMap<WantedJob, JobDetails>,
  ): Promise<void> {
    const existing = uploads.filter(
      (wanted) => wanted.request.batch !== null && views.get(wanted)?.existing,
    );
    await this.#join(existing.map((wanted) => ({ wanted, id: views.get(wanted)?.id ?? '' })));
  }

  async #join(jobs: readonly { wanted: WantedJob; id: string }[]): Promise<void> {
    for (const [batch, some] of groupBy(jobs, ({ wanted }) => wanted.request.batch ?? '')) {
      const members = some.map(({ id, wanted }) => ({ id, bytes: wanted.request.expectedBytes }));
      await this.#batches.join(batch, members, deadlineOf(some.map(({ wanted }) => wanted)));
    }
  }
}

/** Whether another job may take the place of one. */
function isOver(
  view: JobDetails,
  wanted: WantedJob | undefined,
  { again }: EnqueueOptions,
): boolean {
  if (view.state !== 'completed') return view.state === 'failed';
  return again || wanted?.again || isRemoved(view);
}

function toWaiting({ id = '', data, opts }: Job<JobData>): Waiting {
  return { id, batch: data.request.batch, priority: opts.priority ?? DEFAULT_PRIORITY };
}

/** Milliseconds since the epoch; undefined for now. */
function dueAt({ opts, timestamp }: Job<JobData>): number | undefined {
  return opts.delay ? timestamp + opts.delay : undefined;
}

function jobOptions(wanted: WantedJob, options: EnqueueOptions): JobsOptions {
  const startAt = wanted.startAt ?? options.startAt;
  const delay = startAt ? Math.max(0, startAt.getTime() - Date.now()) : 0;
  return {
    priority: wanted.priority ?? options.priority ?? DEFAULT_PRIORITY,
    ...(delay > 0 ? { delay } : {}),
    attempts: 1, // whether a run is repeated is decided by its outcome, not by a count
    removeOnComplete: { age: KEPT_COMPLETED_S, count: KEPT_COMPLETED },
  };
}

function inOrder(
  uploads: readonly WantedJob[],
  order: EnqueueOptions['order'] = 'listed',
): readonly WantedJob[] {
  if (order === 'listed') return uploads;
  const sign = order === 'smallest' ? 1 : -1;
  return [...uploads].sort(
    (a, b) => sign * (a.request.expectedBytes - b.request.expectedBytes), // a stable sort
  );
}

/** A batch is to be there when the last of its uploads is. */
function deadlineOf(uploads: readonly WantedJob[]): number | null {
  const deadlines = uploads.flatMap(({ request: { deadline } }) => deadline ?? []);
  return deadlines.length === 0 ? null : Math.max(...deadlines);
}

function queueOfRequest({ target, pool }: JobRequest): string {
  return queueOf(target, pool);
}

function groupBy<T, K>(all: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return groups;
}
