import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobsOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { type Brake, Brakes } from './brakes.ts';
import { type JobData, newJobData, type UploadRequest } from './job-data.ts';
import { type JobDetails, toState, viewOf } from './job-view.ts';
import { WISH_FIELD } from './lease.ts';
import { TARGETS_KEY, targetOfJob, WAKE_CHANNEL, wishesKey, workersKey } from './names.ts';
import { QueueSet } from './queue-set.ts';
import { Rejections } from './rejections.ts';
import { claimPlaces, findHolders, type Holder, sameUploadKey } from './same-upload.ts';

export interface EnqueueOptions {
  /** 1 goes first. Uploads that have begun go before all that have not. */
  readonly priority?: number | undefined;
  readonly startAt?: Date | undefined;
  /** Also what was uploaded already. */
  readonly again?: boolean | undefined;
}

export interface Counts {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly completed: number;
  readonly failed: number;
}

const DEFAULT_PRIORITY = 1_000;
const BULK = 500;
/** A place that was taken, but whose job is not there yet, belongs to a command that is at it. */
const CLAIM_GRACE_MS = 15_000;

/** The producers' side of the queues: puts jobs in, looks at them, says what should become of them. */
export class UploadQueues {
  readonly #redis: Redis;
  readonly #queues: QueueSet;
  readonly #brakes: Brakes;
  readonly #rejections: Rejections;

  /** @param redis fails fast: a command that can't reach Redis says so */
  constructor(redis: Redis) {
    this.#redis = redis;
    this.#queues = new QueueSet(redis);
    this.#brakes = new Brakes(redis);
    this.#rejections = new Rejections(redis);
  }

  close(): Promise<void> {
    return this.#queues.close();
  }

  /** Enqueues what is not queued, running or done already. One view for each request, in order. */
  async enqueue(
    requests: readonly UploadRequest[],
    options: EnqueueOptions = {},
  ): Promise<JobDetails[]> {
    const views: JobDetails[] = [];
    for (let i = 0; i < requests.length; i += BULK) {
      views.push(...(await this.#enqueueSome(requests.slice(i, i + BULK), options)));
    }
    await this.#redis.publish(WAKE_CHANNEL, 'enqueued');
    return views;
  }

  async #enqueueSome(
    requests: readonly UploadRequest[],
    options: EnqueueOptions,
  ): Promise<JobDetails[]> {
    const views = new Map<UploadRequest, JobDetails>();
    let open = [...requests];
    while (open.length > 0) {
      const holders = await findHolders(this.#redis, open.map(sameUploadKey));
      const claims: {
        request: UploadRequest;
        key: string;
        seen: Holder | undefined;
        id: string;
      }[] = [];
      for (const [i, request] of open.entries()) {
        const seen = holders[i];
        const standing = seen && (await this.#standing(seen, options));
        if (standing) views.set(request, standing);
        else claims.push({ request, key: sameUploadKey(request), seen, id: newId(request.target) });
      }
      const winners = await claimPlaces(this.#redis, claims);
      const won = claims.filter(({ id }, i) => winners[i]?.id === id);
      for (const view of await this.#add(won, options)) views.set(view.request, view.view);
      open = claims.filter((claim) => !won.includes(claim)).map(({ request }) => request);
    }
    return requests.map((request) => views.get(request) as JobDetails);
  }

  /** The job that stands for an upload, unless it is over and another may take its place. */
  async #standing(holder: Holder, { again }: EnqueueOptions): Promise<JobDetails | undefined> {
    for (;;) {
      const view = await this.find(holder.id);
      if (view) {
        const over = view.state === 'failed' || (again && view.state === 'completed');
        return over ? undefined : { ...view, existing: true };
      }
      if (Date.now() - holder.since > CLAIM_GRACE_MS) return undefined;
      await sleep(50);
    }
  }

  async #add(
    jobs: readonly { request: UploadRequest; id: string }[],
    { priority, startAt }: EnqueueOptions,
  ): Promise<{ request: UploadRequest; view: JobDetails }[]> {
    const opts: JobsOptions = {
      priority: priority ?? DEFAULT_PRIORITY,
      ...(startAt ? { delay: Math.max(0, startAt.getTime() - Date.now()) } : {}),
      attempts: 1, // whether a run is repeated is decided by its outcome, not by a count
    };
    const added: { request: UploadRequest; view: JobDetails }[] = [];
    for (const [target, some] of groupByTarget(jobs)) {
      await this.#redis.sadd(TARGETS_KEY, target);
      const made = await this.#queues.of(target).addBulk(
        some.map(({ request, id }) => ({
          name: request.name,
          data: newJobData(request, startAt?.getTime()),
          opts: { ...opts, jobId: id },
        })),
      );
      for (const [i, job] of made.entries()) {
        const request = some[i]?.request;
        if (request) added.push({ request, view: viewOf(job, startAt ? 'delayed' : 'waiting') });
      }
    }
    return added;
  }

  async find(id: string): Promise<JobDetails | undefined> {
    const job = await this.#queues.findJob(id);
    const state = toState((await job?.getState()) ?? 'unknown');
    return job && state ? viewOf(job, state) : undefined;
  }

  /** @throws FerryError JOB_NOT_FOUND */
  async get(id: string): Promise<JobDetails> {
    const view = await this.find(id);
    if (view) return view;
    throw new FerryError('JOB_NOT_FOUND', `there is no job ${id}`, { facts: { id } });
  }

  /** Newest first. */
  async list({
    targets,
    states = ['waiting', 'active', 'delayed', 'completed', 'failed'],
    limit,
  }: {
    targets?: readonly string[] | undefined;
    states?: readonly JobDetails['state'][];
    limit: number;
  }): Promise<JobDetails[]> {
    const views: JobDetails[] = [];
    for (const target of targets ?? (await this.targets())) {
      for (const state of states) {
        const types = state === 'waiting' ? (['waiting', 'prioritized'] as const) : [state];
        const jobs = await this.#queues.of(target).getJobs([...types], 0, limit - 1);
        // A job may have been removed between the list and the look at it.
        for (const job of jobs) if (job) views.push(viewOf(job, state));
      }
    }
    const newestFirst = views.sort((a, b) => b.enqueuedAt.localeCompare(a.enqueuedAt));
    return newestFirst.slice(0, limit);
  }

  async counts(targets?: readonly string[]): Promise<Counts> {
    const total = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0 };
    for (const target of targets ?? (await this.targets())) {
      const counts = await this.#queues.of(target).getJobCounts();
      for (const [name, count] of Object.entries(counts)) {
        const state = toState(name);
        if (state) total[state] += count;
      }
    }
    return total;
  }

  /** What keeps jobs back, by target. */
  brakes(): Promise<ReadonlyMap<string, Brake>> {
    return this.#brakes.all();
  }

  /** @returns false if nothing kept the target's jobs back */
  async resume(target: string): Promise<boolean> {
    let lifted = await this.#brakes.lift(target);
    if (await this.#rejections.forget(target)) lifted = true;
    // What met the fault waits for a time of its own.
    const queue = this.#queues.of(target);
    for (const job of await queue.getDelayed()) {
      if (!(job.data as JobData).error) continue;
      lifted = true;
      await job.promote().catch(() => undefined);
    }
    await this.#redis.publish(WAKE_CHANNEL, 'resumed');
    return lifted;
  }

  targets(): Promise<string[]> {
    return this.#redis.smembers(TARGETS_KEY);
  }

  /** True while some worker, of any host, takes this target's jobs. */
  async isServed(target: string): Promise<boolean> {
    return (await this.#redis.zcount(workersKey(target), Date.now(), '+inf')) > 0;
  }

  /**
   * Puts failed jobs back, and hurries delayed ones. They go on from their checkpoint; one that was
   * cleaned up on the server starts anew.
   */
  async retry(ids: readonly string[]): Promise<JobDetails[]> {
    for (const target of new Set(ids.map(targetOfJob))) {
      await this.#brakes.liftFault(target);
      await this.#rejections.forget(target);
    }
    for (const id of ids) await this.#retryOne(id, await this.get(id));
    await this.#redis.publish(WAKE_CHANNEL, 'retried');
    return Promise.all(ids.map((id) => this.get(id)));
  }

  async #retryOne(id: string, { state }: JobDetails): Promise<void> {
    const job = await this.#queues.findJob(id);
    if (!job) return;
    if (state === 'delayed') await job.promote();
    if (state !== 'failed') return;
    const data = job.data as JobData;
    const key = sameUploadKey(data.request);
    const [seen] = await findHolders(this.#redis, [key]);
    if (seen && seen.id !== id && (await this.#standing(seen, { again: true }))) {
      throw new FerryError('USAGE', `job ${seen.id} took the place of ${id}`, {
        hint: 'The same upload was enqueued again after this one had failed.',
      });
    }
    const [winner] = await claimPlaces(this.#redis, [{ key, seen, id }]);
    if (winner?.id !== id) return this.#retryOne(id, await this.get(id)); // somebody was quicker
    await this.#redis.hdel(this.#queues.of(targetOfJob(id)).toKey(id), WISH_FIELD);
    await this.#brakes.forgetWish(targetOfJob(id), id);
    // Somebody has decided: it may send its own size again.
    const { item, replaces } = data.checkpoint;
    const anew = {
      restarts: 0,
      bytesLost: 0,
      retried: true,
      replaces: item ? replaces : null,
    };
    const checkpoint = { ...data.checkpoint, ...anew };
    await job.updateData({ ...data, checkpoint, verdict: null, error: null, failingSince: null });
    await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true });
  }

  /** Whether a job that failed was told to leave its item where it is. */
  async #keepsItem(id: string): Promise<boolean> {
    const job = await this.#queues.findJob(id);
    return (job?.data as JobData | undefined)?.checkpoint?.item != null;
  }

  /**
   * Leaves the wish that a job be ended, in the job itself: it holds if the worker that reads it
   * dies. Who waits for its turn is brought forward, so that a worker sees it soon.
   */
  async requestCancel(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const { state, target } = await this.get(id);
      const queue = this.#queues.of(target);
      const isKept = state === 'failed' && (await this.#keepsItem(id));
      if (state === 'completed' || (state === 'failed' && !isKept)) continue;
      await this.#redis.hset(queue.toKey(id), WISH_FIELD, 'cancel');
      await this.#redis.sadd(wishesKey(target), id);
      const job = await this.#queues.findJob(id);
      if (isKept) {
        await job?.updateData({ ...job.data, verdict: null });
        await job?.retry('failed');
      }
      // It may have moved on meanwhile, and then it needs no bringing forward.
      if (state === 'delayed') await job?.promote().catch(() => undefined);
      if (state !== 'active') await job?.changePriority({ priority: 0, lifo: true });
    }
    await this.#redis.publish(WAKE_CHANNEL, 'cancelled');
  }
}

function newId(target: string): string {
  return `${target}-${randomBytes(8).toString('hex')}`;
}

function groupByTarget<T extends { request: UploadRequest }>(jobs: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const job of jobs) {
    const group = groups.get(job.request.target) ?? [];
    group.push(job);
    groups.set(job.request.target, group);
  }
  return groups;
}
