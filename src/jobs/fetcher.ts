import { randomUUID } from 'node:crypto';
import type { Job, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { type Brake, type Brakes, isInForce } from './brakes.ts';
import type { Ceilings } from './ceilings.ts';
import type { JobData } from './job-data.ts';
import { freePlace, takePlace } from './line.ts';

/** A target to serve, and what is at once there, over all workers. */
export interface TargetLimits {
  readonly name: string;
  /** Transfers at once. */
  readonly concurrency: number;
  /** Imports that are followed besides. More of them hold back what has not begun. */
  readonly imports: number;
}

export interface ServedTarget extends TargetLimits {
  readonly queue: Queue;
  readonly worker: Worker;
}

/** A job that is ours, with a place on the line. */
export interface Fetched {
  readonly target: ServedTarget;
  readonly job: Job;
  readonly token: string;
}

export interface FetcherOptions {
  readonly redis: Redis;
  readonly brakes: Brakes;
  readonly ceilings: Ceilings;
  readonly leaseMs: number;
  /** Fetch these jobs alone. */
  readonly only: ReadonlySet<string> | undefined;
  /** True while uploads to a target wait for it to answer. */
  readonly isDown: (target: string) => boolean;
  /** Ids of the jobs that run in this process. */
  readonly running: (target: string) => readonly string[];
}

/**
 * Decides which job is fetched next: targets take turns; a place on the line is taken first, so that
 * a busy worker does not hold jobs that another could start; what keeps a target's jobs back is
 * heeded.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #targets: readonly ServedTarget[];
  #turn = 0;
  #brakes: ReadonlyMap<string, Brake> = new Map();

  constructor(targets: readonly ServedTarget[], options: FetcherOptions) {
    this.#targets = targets;
    this.#options = options;
  }

  /** To be called now and then: somebody may have pulled or lifted a brake. */
  async lookAround(): Promise<void> {
    this.#brakes = await this.#options.brakes.all();
  }

  /**
   * The next job of the next target that has one.
   *
   * @param onlyBegun nothing new: this process is full but for what others began and left
   */
  async fetch(onlyBegun: boolean): Promise<Fetched | undefined> {
    for (let i = 0; i < this.#targets.length; i += 1) {
      const target = this.#targets[(this.#turn + i) % this.#targets.length];
      if (!target) break;
      const token = randomUUID();
      const job = await this.#fetchFrom(target, token, onlyBegun);
      if (!job) continue;
      this.#turn = (this.#turn + i + 1) % this.#targets.length;
      return { target, job, token };
    }
    return undefined;
  }

  async #fetchFrom(target: ServedTarget, token: string, isFull: boolean): Promise<Job | undefined> {
    const { redis, leaseMs, brakes } = this.#options;
    const isAtCeiling = await this.#isAtCeiling(target);
    if (isAtCeiling) await promoteBegun(target);
    const onlyBegun = isFull || isAtCeiling;
    if (onlyBegun && (await target.queue.getWaitingCount()) === 0) return undefined;
    const { allowed, isTrial } = await this.#allowed(target);
    let job: Job | undefined;
    try {
      if (allowed !== 'all' && allowed.size === 0) return undefined;
      if (!(await takePlace(redis, target, { token, leaseMs }))) return undefined;
      try {
        job = await this.#take(target, token, { allowed, onlyBegun });
      } finally {
        if (!job) await freePlace(redis, target.name, token);
      }
      return job;
    } finally {
      if (!job && isTrial) await brakes.endTrial(target.name);
    }
  }

  /** Its vCD refuses more at once; what has been begun there counts already. */
  async #isAtCeiling({ name, queue }: ServedTarget): Promise<boolean> {
    const ceiling = await this.#options.ceilings.of(name);
    return ceiling !== undefined && (await queue.getActiveCount()) >= ceiling;
  }

  async #take(
    target: ServedTarget,
    token: string,
    { allowed, onlyBegun }: { allowed: ReadonlySet<string> | 'all'; onlyBegun: boolean },
  ): Promise<Job | undefined> {
    if (allowed !== 'all' && !(await this.#bringForward(target, allowed))) return undefined;
    const job = await target.worker.getNextJob(token, { block: false });
    if (!job) return undefined;
    const isWanted = allowed === 'all' || allowed.has(job.id ?? '');
    if (isWanted && (!onlyBegun || job.priority === 0)) return job;
    await job.moveToWait(token); // somebody else's came first after all
    return undefined;
  }

  /** Which of a target's jobs may be fetched now. What is to be cancelled always may. */
  async #allowed({
    name,
  }: ServedTarget): Promise<{ allowed: ReadonlySet<string> | 'all'; isTrial: boolean }> {
    const { only, brakes, isDown, running } = this.#options;
    const brake = this.#brakes.get(name);
    const isTrial = brake !== undefined && !isInForce(brake) && (await brakes.beginTrial(name));
    // While a target is down, the upload that runs is the one that sees whether it answers again.
    const isHeld = brake ? !isTrial : isDown(name) && running(name).length > 0;
    if (!isHeld) return { allowed: only ?? 'all', isTrial };
    const wished = await brakes.wishes(name);
    return { allowed: new Set(only ? wished.filter((id) => only.has(id)) : wished), isTrial };
  }

  /** Puts one of these jobs in front of the queue. */
  async #bringForward(target: ServedTarget, ids: ReadonlySet<string>): Promise<boolean> {
    const running = this.#options.running(target.name);
    for (const id of ids) {
      if (running.includes(id)) continue;
      const job = await target.queue.getJob(id);
      if (!job) continue;
      const state = await job.getState();
      if (state === 'delayed' && (job.data as JobData).retryAt <= Date.now()) await job.promote();
      else if (state !== 'waiting' && state !== 'prioritized') continue;
      await job.changePriority({ priority: 0, lifo: true });
      return true;
    }
    return false;
  }
}

/** What has an item on the server counts there already, and its transfer session does not wait. */
async function promoteBegun({ queue }: ServedTarget): Promise<void> {
  for (const job of await queue.getDelayed(0, 99)) {
    const { checkpoint, retryAt } = job.data as JobData;
    if (!checkpoint?.item || retryAt > Date.now()) continue;
    await job.promote().catch(() => undefined); // somebody was quicker
    await job.changePriority({ priority: 0 }).catch(() => undefined);
  }
}
