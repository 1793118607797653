import { randomUUID } from 'node:crypto';
import type { Job, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { SharedClock } from '../redis/clock.ts';
import type { Brake, Brakes } from './brakes.ts';
import type { Ceilings } from './ceilings.ts';
import { hasBegun, type JobData, parseJobData } from './job-data.ts';
import { toJobError } from './job-error.ts';
import { type AdmissionDeps, admit } from './limits/admission.ts';
import type { Begun } from './limits/begun.ts';
import type { Lanes } from './limits/lanes.ts';
import type { TargetLimits } from './limits/limits.ts';
import { endRun, takePlace } from './limits/line.ts';
import { queueOfJob } from './names.ts';
import { workersOf } from './presence.ts';

/** A queue to serve. */
export interface ServedQueue {
  readonly name: string;
  readonly target: string;
  readonly queue: Queue;
  readonly worker: Worker;
}

/** A job that is ours, with a place on the line. */
export interface Fetched {
  readonly served: ServedQueue;
  readonly job: Job;
  readonly token: string;
}

export interface FetcherOptions {
  readonly redis: Redis;
  readonly brakes: Brakes;
  readonly ceilings: Ceilings;
  readonly lanes: Lanes;
  readonly begun: Begun;
  readonly admission: AdmissionDeps;
  readonly limitsOf: (target: string) => TargetLimits;
  readonly leaseMs: number;
  readonly clock: SharedClock;
  /** Fetch these jobs alone. */
  readonly only: ReadonlySet<string> | undefined;
  /** True while a target does not answer this process. */
  readonly isDown: (target: string) => boolean;
  /** Whether it has answered this process of late. */
  readonly hasAnswered: (target: string) => boolean;
  /** Whether it answers at once. */
  readonly answers: (target: string) => Promise<boolean>;
  /** Ids of the jobs that run in this process. */
  readonly running: (target: string) => readonly string[];
}

/** In one go. */
const MOST_PUT_ASIDE = 100;

/**
 * Decides which job is fetched next: targets take turns; a place on the line is taken first, so that
 * a busy worker does not hold jobs that another could start; what keeps a target's jobs back is
 * heeded.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #served: readonly ServedQueue[];
  #turn = 0;
  #brakes: ReadonlyMap<string, Brake> = new Map();

  constructor(served: readonly ServedQueue[], options: FetcherOptions) {
    this.#served = served;
    this.#options = options;
  }

  /** To be called now and then: somebody may have pulled or lifted a brake. */
  async lookAround(): Promise<void> {
    await this.#options.clock.measure();
    this.#brakes = await this.#options.brakes.all();
  }

  /**
   * The next job of the next target that has one.
   *
   * @param onlyBegun nothing new: this process is full but for what others began and left
   */
  async fetch(onlyBegun: boolean): Promise<Fetched | undefined> {
    for (let i = 0; i < this.#served.length; i += 1) {
      const served = this.#served[(this.#turn + i) % this.#served.length];
      if (!served) break;
      const token = randomUUID();
      const job = await this.#fetchFrom(served, token, onlyBegun);
      if (!job) continue;
      this.#turn = (this.#turn + i + 1) % this.#served.length;
      return { served, job, token };
    }
    return undefined;
  }

  async #fetchFrom(served: ServedQueue, token: string, isFull: boolean): Promise<Job | undefined> {
    const { redis, leaseMs, brakes, limitsOf, begun } = this.#options;
    const { target, queue } = served;
    const limits = limitsOf(target);
    const isAtCeiling = await this.#isAtCeiling(served);
    const isClosed = limits.windows && limits.windows.closesAt(Date.now()) === undefined;
    const onlyBegun = isFull || isAtCeiling || isClosed === true;
    // Nothing else is asked for, and what has begun does not wait behind that.
    await begun.promoteDue(served.name);
    if (onlyBegun && (await queue.getWaitingCount()) === 0) return undefined;
    const { allowed, isTrial } = await this.#allowed(served);
    let job: Job | undefined;
    try {
      if (allowed !== 'all' && allowed.size === 0) return undefined;
      const place = await takePlace(redis, limits, { token, leaseMs });
      if (place === undefined) return undefined;
      try {
        const isForBegun = onlyBegun || place === 'begun';
        job = await this.#take(served, token, { allowed, onlyBegun: isForBegun });
      } finally {
        if (!job) await endRun(redis, target, token);
      }
      return job;
    } finally {
      if (!job && isTrial) await brakes.endTrial(target);
    }
  }

  /** Its vCD refuses more at once; what has been begun there counts already. */
  async #isAtCeiling({ target }: ServedQueue): Promise<boolean> {
    const { ceilings } = this.#options;
    const ceiling = await ceilings.of(target);
    return ceiling !== undefined && (await ceilings.active(target)) >= ceiling;
  }

  async #take(
    served: ServedQueue,
    token: string,
    { allowed, onlyBegun }: { allowed: ReadonlySet<string> | 'all'; onlyBegun: boolean },
  ): Promise<Job | undefined> {
    const { name, queue, worker } = served;
    // What a limit speaks against for hours is put aside, and does not keep the next one waiting.
    for (let tries = 0; tries < MOST_PUT_ASIDE; tries += 1) {
      if (allowed !== 'all') {
        if (!(await this.#bringForward(served, allowed))) return undefined;
      } else if (!onlyBegun) {
        const next = await this.#options.lanes.next(name, (type) => queue.toKey(type));
        if (next !== undefined) await this.#bringForward(served, new Set([next]));
      } else if ((await queue.getWaitingCount()) === 0) return undefined;
      const job = await worker.getNextJob(token, { block: false });
      if (!job) return undefined;
      if (allowed !== 'all' && !allowed.has(job.id ?? '')) {
        await job.moveToWait(token); // somebody else's came first after all
        return undefined;
      }
      const verdict = await this.#admit(served, { job, token, onlyBegun });
      if (verdict === 'admitted') return job;
      // Among those that are named the same one would come again.
      if (verdict === 'full' || allowed !== 'all') return undefined;
    }
    return undefined;
  }

  /**
   * Whether a job is ours to work on. Else it waits for its turn again: because there is no room, or
   * put aside, until another time or because only what has begun is wanted.
   */
  async #admit(
    { name, target }: ServedQueue,
    { job, token, onlyBegun }: { job: Job; token: string; onlyBegun: boolean },
  ): Promise<'admitted' | 'full' | 'aside'> {
    const { limitsOf, admission, lanes, brakes } = this.#options;
    const id = job.id ?? '';
    let data: JobData;
    try {
      data = parseJobData(job.data);
    } catch {
      return 'admitted'; // its run says what is wrong with it
    }
    if (await brakes.isWished(target, id)) return 'admitted'; // it only wants to be ended
    const limits = limitsOf(target);
    const isNew = !hasBegun(data);
    const { batch, expectedBytes } = data.request;
    const priority = job.opts.priority ?? 0;
    if (isNew && onlyBegun) {
      await admission.inFlight.release(limits, id); // of a run that died before it touched the target
      await job.changePriority({ priority });
      await job.moveToWait(token);
      return 'aside';
    }
    const verdict = await admit(limits, id, data, admission);
    if (verdict === 'admitted') {
      if (isNew) await lanes.served(name, { id, batch }, expectedBytes);
      return verdict;
    }
    await job.changePriority({ priority });
    if (verdict === 'full') {
      await job.moveToWait(token);
      return verdict;
    }
    const { notBefore: retryAt, why } = verdict;
    await lanes.leave(name, { id, batch });
    await lanes.lineUp(name, [{ id, batch, priority }], retryAt);
    await job.moveToDelayed(retryAt, token);
    // Afterwards: only who holds the job may move it, and nobody else writes to it now.
    const error = why ? toJobError(why, data.request, false) : data.error;
    await job.updateData({ ...data, retryAt, error, waitsForWindow: true });
    return 'aside';
  }

  /** Which of a target's jobs may be fetched now. What is to be cancelled always may. */
  async #allowed(
    served: ServedQueue,
  ): Promise<{ allowed: ReadonlySet<string> | 'all'; isTrial: boolean }> {
    const { only, brakes } = this.#options;
    const { target } = served;
    const brake = this.#brakes.get(target);
    const isTrial =
      brake !== undefined && !brakes.isHeld(brake) && (await brakes.beginTrial(target));
    const isHeld = brake ? !isTrial : await this.#isForOthers(served);
    if (!isHeld) return { allowed: only ?? 'all', isTrial };
    const wished = await brakes.wishes(target);
    return { allowed: new Set(only ? wished.filter((id) => only.has(id)) : wished), isTrial };
  }

  /** What this process can't reach others may, where there are any: they are not to wait for its jobs. */
  async #isForOthers({ name, target, queue }: ServedQueue): Promise<boolean> {
    const { redis, only, isDown, hasAnswered, answers } = this.#options;
    if (isDown(target)) return true;
    // Nothing else is asked while it works.
    if (only || hasAnswered(target)) return false;
    if ((await queue.getJobCountByTypes('waiting', 'prioritized')) === 0) return false;
    if ((await workersOf(redis, name)).length < 2) return false;
    return !(await answers(target));
  }

  /** Puts one of these jobs in front of the queue. */
  async #bringForward(
    { target, name, queue }: ServedQueue,
    ids: ReadonlySet<string>,
  ): Promise<boolean> {
    const running = this.#options.running(target);
    for (const id of ids) {
      if (running.includes(id) || queueOfJob(id) !== name) continue;
      const job = await queue.getJob(id);
      if (!job) continue;
      const state = await job.getState();
      if (state === 'delayed' && (job.data as JobData).retryAt <= this.#options.clock.now())
        await job.promote().catch(() => undefined); // somebody was quicker
      else if (state !== 'waiting' && state !== 'prioritized') continue;
      await job.changePriority({ priority: 0, lifo: true });
      return true;
    }
    return false;
  }
}
