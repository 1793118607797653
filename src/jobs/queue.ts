import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import { Batches } from './batch/batches.ts';
import { Expectation } from './batch/expectation.ts';
import { Ledger, type Receipt } from './batch/ledger.ts';
import { type BatchState, Overview } from './batch/overview.ts';
import { Rates } from './batch/rates.ts';
import { type Brake, Brakes } from './brakes.ts';
import { type EnqueueOptions, Enqueuer, type WantedJob } from './enqueue.ts';
import type { JobData } from './job-data.ts';
import { type JobDetails, toState } from './job-view.ts';
import { JobViews } from './job-views.ts';
import { WISH_FIELD } from './lease.ts';
import type { Limits } from './limits/limits.ts';
import { queueOf, queueOfJob, targetOfJob, WAKE_CHANNEL, wishesKey } from './names.ts';
import { workersOf } from './presence.ts';
import { QueueSet } from './queue-set.ts';
import { Rejections } from './rejections.ts';
import { claimPlaces, findHolders, sameUploadKey } from './same-upload.ts';
import { type TargetState, targetStates } from './target-states.ts';

export interface Counts {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly completed: number;
  readonly failed: number;
}

/** An upload that nobody has enqueued. */
export interface PlannedUpload {
  readonly target: string;
  readonly bytes: number;
  /** When it may begin; by default at once. */
  readonly startAt?: Date | undefined;
}

/** The producers' side of the queues: puts jobs in, looks at them, says what should become of them. */
export class UploadQueues {
  readonly #redis: Redis;
  readonly #queues: QueueSet;
  readonly #views: JobViews;
  readonly #enqueuer: Enqueuer;
  readonly #batches: Batches;
  readonly #overview: Overview;
  readonly #brakes: Brakes;
  readonly #rejections: Rejections;

  /** @param redis fails fast: a command that can't reach Redis says so */
  constructor(redis: Redis) {
    this.#redis = redis;
    this.#queues = new QueueSet(redis);
    this.#views = new JobViews(redis, this.#queues);
    this.#enqueuer = new Enqueuer(redis, { queues: this.#queues, views: this.#views });
    this.#batches = new Batches(redis);
    this.#overview = new Overview({ redis, queues: this.#queues, views: this.#views });
    this.#brakes = new Brakes(redis);
    this.#rejections = new Rejections(redis);
  }

  close(): Promise<void> {
    return this.#queues.close();
  }

  /** Enqueues what is not queued, running or done already. One view for each upload, in order. */
  enqueue(uploads: readonly WantedJob[], options: EnqueueOptions = {}): Promise<JobDetails[]> {
    return this.#enqueuer.enqueue(uploads, options);
  }

  /** The jobs that stand for uploads already, in order; undefined for what would be added. */
  async standing(
    uploads: readonly WantedJob[],
    options: EnqueueOptions = {},
  ): Promise<(JobDetails | undefined)[]> {
    const keys = uploads.map(({ request }) => sameUploadKey(request));
    const holders = await findHolders(this.#redis, keys);
    return this.#enqueuer.standing(holders, { uploads, options });
  }

  find(id: string): Promise<JobDetails | undefined> {
    return this.#views.find(id);
  }

  /** @throws FerryError JOB_NOT_FOUND */
  async get(id: string): Promise<JobDetails> {
    const view = await this.find(id);
    if (view) return view;
    throw jobNotFound(id);
  }

  /** In the order of the ids. @throws FerryError JOB_NOT_FOUND */
  async getMany(ids: readonly string[]): Promise<JobDetails[]> {
    const views = await this.#views.findMany(ids);
    return views.map((view, i) => {
      if (view) return view;
      throw jobNotFound(ids[i] ?? '');
    });
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
    return this.#views.list(await this.#queues.names(targets), { states, limit });
  }

  async counts(targets?: readonly string[]): Promise<Counts> {
    const total = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0 };
    for (const queue of await this.#queues.names(targets)) {
      const counts = await this.#queues.of(queue).getJobCounts();
      for (const [name, count] of Object.entries(counts)) {
        const state = toState(name);
        if (state) total[state] += count;
      }
    }
    return total;
  }

  /** Batches as wholes, newest first. */
  batches(limits?: Limits, atMost?: number): Promise<BatchState[]> {
    return this.#overview.all(limits, atMost);
  }

  /** Newest first. */
  batchNames(): Promise<string[]> {
    return this.#batches.names();
  }

  /** A batch as a whole; with limits also what is to be expected of it. @throws FerryError BATCH_NOT_FOUND */
  async batch(name: string, limits?: Limits): Promise<BatchState> {
    const state = await this.#overview.of(name, limits);
    if (state) return state;
    throw new FerryError('BATCH_NOT_FOUND', `there is no batch ${name}`, {
      facts: { batch: name },
    });
  }

  /** When uploads would have arrived if they were enqueued now, in this order. */
  async forecast(
    uploads: readonly PlannedUpload[],
    limits: Limits,
  ): Promise<(number | undefined)[]> {
    const expectation = new Expectation({ redis: this.#redis, queues: this.#queues });
    const expected = uploads.map(({ target, bytes, startAt }, i) => ({
      ...{ id: `planned ${i}`, target, bytes, left: bytes, notBefore: startAt?.getTime() },
    }));
    const { at } = await expectation.of(expected, limits);
    return expected.map(({ id }) => at.get(id));
  }

  /** Those that are not done first; none if there is no such batch. */
  async jobsOfBatch(name: string): Promise<JobDetails[]> {
    const ids = [...(await this.#batches.openIds(name)), ...(await this.#batches.doneIds(name))];
    return (await this.#views.findMany(ids)).filter((view) => view !== undefined);
  }

  /** In the order of the ids; undefined for what has not arrived. */
  receipts(ids: readonly string[]): Promise<(Receipt | undefined)[]> {
    return new Ledger(this.#redis).findMany(ids);
  }

  /** Somebody has removed the item that a job had made. One that has made another is left as it is. */
  async noteRemoved(id: string, catalogItem: string): Promise<void> {
    const view = await this.find(id);
    if (!view?.result || !isSameHref(view.result.catalogItem, catalogItem)) return;
    const removedAt = new Date().toISOString();
    await new Ledger(this.#redis).amend(id, { removedAt });
    const job = await this.#queues.findJob(id);
    if (!job?.returnvalue) return;
    const key = this.#queues.of(queueOfJob(id)).toKey(id);
    await this.#redis.hset(key, 'returnvalue', JSON.stringify({ ...job.returnvalue, removedAt }));
  }

  /** All targets that are configured or have had a job. */
  targets(limits: Limits): Promise<TargetState[]> {
    const [queues, brakes] = [this.#queues, this.#brakes];
    const rates = new Rates(this.#redis);
    return targetStates({ redis: this.#redis, queues, brakes, rates }, limits);
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
    for (const queue of await this.#queues.names([target])) {
      for (const job of await this.#queues.of(queue).getDelayed()) {
        if (!(job.data as JobData).error) continue;
        lifted = true;
        await job.promote().catch(() => undefined);
      }
    }
    await this.#redis.publish(WAKE_CHANNEL, 'resumed');
    return lifted;
  }

  /** True while some worker, of any host, takes this target's jobs, or those of a pool of it. */
  async isServed(target: string, pool: string | null = null): Promise<boolean> {
    return (await workersOf(this.#redis, queueOf(target, pool))).length > 0;
  }

  /**
   * Puts failed jobs back, and hurries delayed ones. They go on from their checkpoint; one that was
   * cleaned up on the server starts anew.
   */
  async retry(ids: readonly string[]): Promise<JobDetails[]> {
    await this.getMany(ids); // an id that is wrong changes nothing
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
    if (state === 'delayed') await job.promote().catch(() => undefined); // due meanwhile
    if (state !== 'failed') return;
    const data = job.data as JobData;
    const key = sameUploadKey(data.request);
    const [seen] = await findHolders(this.#redis, [key]);
    const [standing] = await this.#enqueuer.standing([seen]);
    if (seen && seen.id !== id && standing) {
      throw new FerryError('USAGE', `job ${seen.id} took the place of ${id}`, {
        hint: 'The same upload was enqueued again after this one had failed.',
      });
    }
    const generation = seen?.generation ?? 1;
    const [won] = await claimPlaces(this.#redis, [{ key, seen, id, generation }]);
    if (!won) return this.#retryOne(id, await this.get(id)); // somebody was quicker
    await this.#redis.hdel(this.#queues.of(queueOfJob(id)).toKey(id), WISH_FIELD);
    const { batch, expectedBytes, deadline } = data.request;
    await this.#batches.join(batch ?? '', [{ id, bytes: expectedBytes }], deadline);
    await this.#batches.reopen(id);
    await this.#brakes.forgetWish(targetOfJob(id), id);
    // Somebody has decided: it may send its own size again.
    const { item, replaces } = data.checkpoint;
    const anew = { restarts: 0, bytesLost: 0, retried: true, replaces: item ? replaces : null };
    const checkpoint = { ...data.checkpoint, ...anew };
    // Another command may have put it back by now: what a run has written since is not written over.
    if ((await job.getState()) !== 'failed') return;
    await job.updateData({ ...data, checkpoint, verdict: null, error: null, failingSince: null });
    const reset = { resetAttemptsMade: true, resetAttemptsStarted: true };
    await job.retry('failed', reset).catch(async (error: unknown) => {
      if ((await job.getState()) === 'failed') throw error;
    });
  }

  /** Whether a job that failed was told to leave what it had begun where it is. */
  async #keepsItem(id: string): Promise<boolean> {
    const job = await this.#queues.findJob(id);
    const checkpoint = (job?.data as JobData | undefined)?.checkpoint;
    return checkpoint?.item != null || checkpoint?.download != null;
  }

  /**
   * Leaves the wish that a job be ended, in the job itself: it holds if the worker that reads it
   * dies. Who waits for its turn is brought forward, so that a worker sees it soon.
   */
  async requestCancel(ids: readonly string[]): Promise<void> {
    await this.getMany(ids);
    for (const id of ids) {
      const { state, target } = await this.get(id);
      const queue = this.#queues.of(queueOfJob(id));
      const isKept = state === 'failed' && (await this.#keepsItem(id));
      if (state === 'completed' || (state === 'failed' && !isKept)) continue;
      await this.#redis.hset(queue.toKey(id), WISH_FIELD, 'cancel');
      await this.#redis.sadd(wishesKey(target), id);
      const job = await this.#queues.findJob(id);
      if (isKept) {
        await this.#batches.reopen(id);
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

function jobNotFound(id: string): FerryError {
  return new FerryError('JOB_NOT_FOUND', `there is no job ${id}`, { facts: { id } });
}
