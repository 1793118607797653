import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import type { SharedClock } from '../redis/clock.ts';
import { type Fetched, Fetcher, type ServedQueue } from './fetcher.ts';
import type { JobData } from './job-data.ts';
import { Lease } from './lease.ts';
import type { AdmissionDeps } from './limits/admission.ts';
import type { Begun } from './limits/begun.ts';
import type { Lanes } from './limits/lanes.ts';
import type { Limits, TargetLimits } from './limits/limits.ts';
import { endRun } from './limits/line.ts';
import { Places } from './limits/places.ts';
import type { RateSeeker } from './limits/rate-seeker.ts';
import { lineKey, runsKey, targetOfJob, WAKE_CHANNEL, workersKey } from './names.ts';
import { openQueue } from './open-queue.ts';
import { announce } from './presence.ts';
import { processJob } from './processor.ts';
import type { ProcessorWorld } from './processor-world.ts';

export interface RunnerOptions {
  /** Connections of this runner alone; it closes them. */
  readonly redis: {
    /** Waits for Redis as long as it takes. */
    readonly patient: Redis;
    /** Fails fast. */
    readonly prompt: Redis;
    readonly subscriber: Redis;
  };
  /** Names of the queues that are served. */
  readonly queues: readonly string[];
  /** As they are now. */
  readonly limits: () => Limits;
  readonly lanes: Lanes;
  readonly begun: Begun;
  readonly admission: AdmissionDeps;
  /** Told of all bytes that this process sends. */
  readonly seeker: RateSeeker;
  readonly leaseMs: number;
  readonly clock: SharedClock;
  /** Work on these jobs alone, and do not count as a worker that serves the target. */
  readonly only?: ReadonlySet<string>;
  /** True while a target does not answer this process. */
  readonly isDown: (target: string) => boolean;
  readonly hasAnswered: (target: string) => boolean;
  readonly answers: (target: string) => Promise<boolean>;
  readonly world: ProcessorWorld;
}

const POLL_MS = 1_000;
const PRESENCE_MS = 3_000;

interface ActiveRun {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  readonly sending: () => { readonly isSending: boolean; readonly bytesLeft: number };
  /** Its bytes count against limits that are new. */
  readonly claim: () => Promise<unknown>;
}

/**
 * Fetches jobs of several targets and works on them. A full worker still has room for what another
 * one has begun and left.
 */
export class Runner {
  readonly id = randomUUID();
  readonly #options: RunnerOptions;
  readonly #served: ServedQueue[];
  readonly #runs = new Map<string, ActiveRun>();
  readonly #stopping = new AbortController();
  #wake: () => void = () => undefined;
  #fetching: Promise<void> = Promise.resolve();
  #lookedAt = performance.now();
  #presence: NodeJS.Timeout | undefined;
  readonly #fetcher: Fetcher;
  readonly #places: Places;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { patient } = options.redis;
    const { leaseMs } = options;
    const { clock } = options;
    const own = { id: this.id, redis: patient, leaseMs, clock, onError: this.#onError.bind(this) };
    this.#served = options.queues.map((name) => openQueue(name, own));
    this.#places = new Places({
      redis: options.redis.prompt,
      leaseMs: options.leaseMs,
      filesInParallel: options.world.settings.filesInParallel,
      concurrency: () => options.limits().concurrency,
      limitsOf: (target) => this.limitsOf(target),
      onFreed: () => this.#wake(),
      onError: (error) => this.#onError(error),
    });
    this.#fetcher = new Fetcher(this.#served, {
      redis: options.redis.prompt,
      brakes: options.world.brakes,
      ceilings: options.world.ceilings,
      lanes: options.lanes,
      begun: options.begun,
      admission: options.admission,
      limitsOf: (target) => this.limitsOf(target),
      leaseMs: options.leaseMs,
      clock,
      only: options.only,
      isDown: options.isDown,
      hasAnswered: options.hasAnswered,
      answers: options.answers,
      running: (target) => [...this.#runs.keys()].filter((id) => targetOfJob(id) === target),
    });
  }

  async start(): Promise<void> {
    const { redis } = this.#options;
    for (const { worker, queue } of this.#served) {
      await queue.removeGlobalConcurrency(); // an older release's, which held back what had begun
      await worker.startStalledCheckTimer();
    }
    redis.subscriber.on('message', () => this.#wake());
    await redis.subscriber.subscribe(WAKE_CHANNEL);
    if (!this.#options.only) {
      await this.#announce();
      this.#presence = setInterval(() => void this.#announce().catch(() => undefined), PRESENCE_MS);
    }
    this.#fetching = this.#fetchLoop();
  }

  /** Uploads under way in this process. */
  get running(): number {
    return this.#runs.size;
  }

  /** Milliseconds since Redis answered a look for jobs last. */
  get idleMs(): number {
    return performance.now() - this.#lookedAt;
  }

  /** To be called when limits have changed. */
  async applyLimits(): Promise<void> {
    for (const { target, queue } of this.#served) {
      const { windows } = this.limitsOf(target);
      if (windows && windows.closesAt(Date.now()) === undefined) continue;
      // It may have been opened just now.
      for (const job of await queue.getDelayed()) {
        if ((job.data as JobData).waitsForWindow) await job.promote().catch(() => undefined);
      }
    }
    for (const { claim } of this.#runs.values()) await claim();
    this.#wake();
  }

  /** As they are now. */
  limitsOf(target: string): TargetLimits {
    const limits = this.#options.limits().targets.get(target);
    if (limits) return limits;
    throw new FerryError('INTERNAL', `there are no limits for ${target}`);
  }

  /**
   * Hands every job back and leaves. Never takes longer than `graceMs`: what could not be handed
   * back by then is taken over when its lease has run out.
   */
  async stop(graceMs = 4_500): Promise<void> {
    this.#stopping.abort(new FerryError('SHUTDOWN', 'this worker is stopping'));
    this.#wake();
    clearInterval(this.#presence);
    for (const { stop } of this.#runs.values()) stop.abort(this.#stopping.signal.reason);
    const left = this.#leave();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      left,
      new Promise((resolve) => {
        timer = setTimeout(resolve, graceMs);
      }),
    ]);
    clearTimeout(timer);
    for (const connection of Object.values(this.#options.redis)) connection.disconnect();
  }

  async #leave(): Promise<void> {
    await this.#fetching;
    // Ended runs leave the map; a run of the same job may have followed one meanwhile.
    while (this.#runs.size > 0) {
      await Promise.all([...this.#runs.values()].map(({ ended }) => ended));
    }
    const { prompt } = this.#options.redis;
    const gone = this.#served.map(({ name }) => prompt.zrem(workersKey(name), this.id));
    await Promise.allSettled(gone);
    await Promise.allSettled(
      this.#served.flatMap(({ worker, queue }) => [worker.close(), queue.close()]),
    );
  }

  async #announce(): Promise<void> {
    const { prompt } = this.#options.redis;
    const queues = this.#served.map(({ name }) => name);
    await announce(prompt, queues, { id: this.id, forMs: PRESENCE_MS * 3 });
  }

  async #fetchLoop(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const woken = this.#untilWoken();
      try {
        this.#measure();
        await this.#fetcher.lookAround();
        this.#lookedAt = performance.now();
        while (!signal.aborted && this.#places.hasRoom) {
          const isFull = this.#places.isFull || !this.#mayBegin();
          const fetched = await this.#fetcher.fetch(isFull);
          if (!fetched) break;
          this.#begin(fetched);
        }
      } catch (error) {
        this.#onError(error as Error);
      }
      await woken;
    }
  }

  /** A message, a freed slot, or a second: delayed and stalled jobs come without a message. */
  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, POLL_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #measure(): void {
    const runs = [...this.#runs.values()];
    this.#options.seeker.observe(runs.filter(({ sending }) => sending().isSending).length);
  }

  #mayBegin(): boolean {
    const runs = [...this.#runs.values()].map(({ sending }) => sending());
    return this.#options.seeker.mayBegin({
      held: this.#places.taken,
      count: runs.filter(({ isSending }) => isSending).length,
      bytesLeft: runs.reduce((sum, { bytesLeft }) => sum + bytesLeft, 0),
    });
  }

  #begin({ served, job, token }: Fetched): void {
    const id = job.id ?? '';
    const previous = this.#runs.get(id);
    // After a freeze this very process may be given a job that an older run of it still holds.
    previous?.stop.abort(new FerryError('LOCK_LOST', 'superseded in this process'));
    const stop = new AbortController();
    if (this.#stopping.signal.aborted) stop.abort(this.#stopping.signal.reason);
    const line = this.#places.open(served.target, token);
    const { redis, leaseMs, world } = this.#options;
    const lease = new Lease(job, {
      redis: redis.prompt,
      toKey: (type) => served.worker.toKey(type),
      lineKey: lineKey(served.target),
      runsKey: runsKey(served.target),
      holdsPlace: () => line.isHeld,
      token,
      leaseMs,
      onBeatError: (error) => this.#onError(error),
    });
    const ended = (async () => {
      await previous?.ended;
      // From now on it goes before everything that has not begun.
      await job.changePriority({ priority: 0 });
      await processJob(world, { job, token, lease, line, shutdown: stop.signal });
    })()
      .catch((error: unknown) => this.#onError(error as Error))
      .finally(() => {
        lease.dispose();
        line.free();
        void endRun(redis.prompt, served.target, token).catch(() => undefined); // it runs out
        if (this.#runs.get(id)?.stop === stop) this.#runs.delete(id);
        this.#wake();
      });
    const expected = (job.data as JobData).request?.expectedBytes ?? 0;
    const sending = (): ReturnType<ActiveRun['sending']> => ({
      isSending: line.isHeld && lease.stage === 'transferring',
      bytesLeft: line.isHeld ? (lease.bytesLeft ?? expected) : 0,
    });
    const { inFlight } = this.#options.admission;
    const claim = (): Promise<boolean> =>
      inFlight.claim(this.limitsOf(served.target), id, { bytes: expected, isBegun: true });
    this.#runs.set(id, { stop, ended, sending, claim });
  }

  /** Connections complain once for each attempt; everything they say is said by the jobs, too. */
  #onError(error: Error): void {
    this.#options.world.log.debug({ error: error.message }, 'queue');
  }
}
