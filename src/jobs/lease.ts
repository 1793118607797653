import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import type { JobProgress, Stage } from './job-data.ts';

/**
 * The right to work on a job, and the only writer of its data while it is worked on.
 *
 * BullMQ's own `updateData` does not ask who calls: a worker that lost its lock would overwrite the
 * checkpoint of its successor. This script does ask. It renews the lock, stores data and progress,
 * and brings an operator's wish back, all in one round trip.
 *
 * This file alone knows BullMQ's keys (`<job>:lock`, `<queue>:stalled`, the job's hash), as of
 * bullmq 6.7; a test fails when that layout changes.
 *
 * It also keeps the run's place on the line, where it holds one, and counts it among those under way.
 *
 * KEYS lock, stalled, job, line, runs; ARGV token, ttlMs, jobId, data or '', progress or '', 1 or '' for a
 * place that is held
 * Returns 1 and the operator's wish or '', 0 if another has the lock, -1 if the job is gone.
 */
const BEAT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0, ''} end
if redis.call('EXISTS', KEYS[3]) == 0 then return {-1, ''} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SREM', KEYS[2], ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], 'data', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], 'progress', ARGV[5]) end
local time = redis.call('TIME')
local until_ = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[5], until_, ARGV[1])
if ARGV[6] ~= '' then redis.call('ZADD', KEYS[4], 'XX', until_, ARGV[1]) end
return {1, redis.call('HGET', KEYS[3], 'ferry:wish') or ''}`;

/** The field of a job's hash in which an operator's wish waits; it outlives any worker. */
export const WISH_FIELD = 'ferry:wish';

type BeatRedis = Redis & {
  ferryBeat(...args: (string | number)[]): Promise<[outcome: number, wish: string]>;
};

export interface LeaseOptions {
  /** Fails fast: a beat never waits behind others in an offline queue. */
  readonly redis: Redis;
  /** BullMQ's name for a key of the queue. */
  readonly toKey: (type: string) => string;
  /** Where the places on the line to the target are. */
  readonly lineKey: string;
  /** Where the runs under way are. */
  readonly runsKey: string;
  /** Whether this run holds one. */
  readonly holdsPlace: () => boolean;
  readonly token: string;
  /** How long a silent worker keeps the job. */
  readonly leaseMs: number;
  readonly onBeatError: (error: Error) => void;
}

/**
 * Holds a job by beating. The lease ends when a beat finds another owner, and also, without any
 * answer from Redis, when the last good beat was sent too long ago by either clock: the monotonic
 * one stands still while a machine sleeps, the other one can be set.
 */
export class Lease {
  readonly #job: Job;
  readonly #options: LeaseOptions;
  readonly #redis: BeatRedis;
  readonly #lost = new AbortController();
  readonly #cancelled = new AbortController();
  readonly #timers: NodeJS.Timeout[];
  #renewed = now();
  #data: string | undefined;
  /** Counts what was noted, and what of it is stored. */
  #noted = 0;
  #stored = 0;
  #progress: () => JobProgress | undefined = () => undefined;
  #beating: Promise<void> | undefined;

  constructor(job: Job, options: LeaseOptions) {
    this.#job = job;
    this.#options = options;
    this.#redis = options.redis as BeatRedis;
    if (!('ferryBeat' in this.#redis)) {
      options.redis.defineCommand('ferryBeat', { numberOfKeys: 5, lua: BEAT });
    }
    const beatMs = Math.min(1_000, options.leaseMs / 6);
    this.#timers = [
      setInterval(() => void this.#beat(), beatMs),
      setInterval(() => this.#expireIfLate(), Math.min(500, options.leaseMs / 12)),
    ];
  }

  /** Aborted with LOCK_LOST when the lease ends: nothing may be done for the job any more. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborted with CANCELLED when an operator wants the job ended. Cleaning up is still ours. */
  get cancelled(): AbortSignal {
    return this.#cancelled.signal;
  }

  /** To be called before every request that writes to the target. @throws FerryError LOCK_LOST */
  assertHeld(): void {
    this.#expireIfLate();
    this.lost.throwIfAborted();
  }

  /** Asked at every beat for what is shown of the job. */
  reportProgress(progress: () => JobProgress): void {
    this.#progress = progress;
  }

  get stage(): Stage | undefined {
    return this.#progress()?.stage;
  }

  /** Undefined while it is not known how much it is. */
  get bytesLeft(): number | undefined {
    const { bytesTotal = 0, bytesSent = 0, bytesResent = 0 } = this.#progress() ?? {};
    return bytesTotal === 0 ? undefined : bytesTotal - (bytesSent - bytesResent);
  }

  /** Stored with the next beat. */
  note(data: unknown): void {
    this.#data = JSON.stringify(data);
    this.#noted += 1;
  }

  /**
   * Stores now, and proves on the way that the job is still ours.
   *
   * @throws FerryError LOCK_LOST; REDIS_UNAVAILABLE while Redis can't be reached but the lease holds
   */
  async save(data: unknown): Promise<void> {
    this.note(data);
    const own = this.#noted;
    await this.#beating;
    if (this.#stored < own) await this.#beat();
    this.assertHeld();
    if (this.#stored < own) {
      throw new FerryError('REDIS_UNAVAILABLE', 'the checkpoint could not be stored');
    }
  }

  /** No more beats: the job is somewhere else now. */
  dispose(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** A last beat, for what was noted; then no more. */
  async close(): Promise<void> {
    this.dispose();
    await this.#beating;
    if (!this.lost.aborted) await this.#beat();
  }

  #beat(): Promise<void> {
    this.#beating ??= this.#send().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  async #send(): Promise<void> {
    const { toKey, token, leaseMs, lineKey, runsKey, holdsPlace, onBeatError } = this.#options;
    const id = this.#job.id ?? '';
    const sentAt = now();
    const data = this.#data;
    const noted = this.#noted;
    const progress = this.#progress();
    try {
      const [outcome, wish] = await this.#redis.ferryBeat(
        `${toKey(id)}:lock`,
        toKey('stalled'),
        toKey(id),
        lineKey,
        runsKey,
        token,
        leaseMs,
        id,
        data ?? '',
        progress === undefined ? '' : JSON.stringify(progress),
        holdsPlace() ? 1 : '',
      );
      if (outcome !== 1) {
        this.#end(outcome === 0 ? 'another worker has the job' : 'the job is gone');
        return;
      }
      // Counted from when it was sent: the lock lives at least that long.
      this.#renewed = sentAt;
      this.#stored = noted;
      if (this.#noted === noted) this.#data = undefined;
      if (wish === 'cancel') {
        this.#cancelled.abort(new FerryError('CANCELLED', 'it was cancelled by an operator'));
      }
    } catch (error) {
      onBeatError(error as Error);
    }
  }

  #expireIfLate(): void {
    const { leaseMs } = this.#options;
    const { mono, wall } = now();
    const elapsed = Math.max(mono - this.#renewed.mono, wall - this.#renewed.wall);
    // The margin covers a request that is just going out.
    if (elapsed > leaseMs - leaseMs / 6) {
      this.#end('the lease could not be renewed in time');
    }
  }

  #end(why: string): void {
    this.#lost.abort(new FerryError('LOCK_LOST', why)); // the first reason stays
  }
}

function now(): { mono: number; wall: number } {
  return { mono: performance.now(), wall: Date.now() };
}
