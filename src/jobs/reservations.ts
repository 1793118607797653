import type { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';
import { compareAndSet } from './compare-and-set.ts';
import type { JobData } from './job-data.ts';
import type { JobRequest } from './job-request.ts';
import { RESERVED_KEY } from './names.ts';
import type { QueueSet } from './queue-set.ts';

/**
 * Which job may make or replace the item of a name. By the catalog's URN: two targets may be two ways
 * to one vCD. A reservation of a job that is over counts for nothing.
 */
export class Reservations {
  readonly #redis: Redis;
  readonly #queues: QueueSet;

  constructor(redis: Redis, queues: QueueSet) {
    this.#redis = redis;
    this.#queues = queues;
  }

  /**
   * @returns the place, to be given back
   * @throws FerryError NAME_TAKEN, or NAME_RESERVED where it is worth waiting
   */
  async claim(
    catalogUrn: string,
    { request, checkpoint }: Pick<JobData, 'request' | 'checkpoint'>,
    jobId: string,
  ): Promise<string> {
    const isBegun = checkpoint.item !== null;
    // Two items may be called alike on a disk.
    const isDownload = request.operation === 'download';
    const field = JSON.stringify(isDownload ? [catalogUrn] : [catalogUrn, request.name]);
    for (;;) {
      const holder = (await this.#redis.hget(RESERVED_KEY, field)) ?? '';
      if (holder === jobId) return field;
      if (holder !== '') await this.#assertOver(holder, request, isBegun);
      const now = await compareAndSet(this.#redis, RESERVED_KEY, {
        field,
        seen: holder,
        next: jobId,
      });
      if (now === jobId) return field;
    }
  }

  async release(field: string, jobId: string): Promise<void> {
    await compareAndSet(this.#redis, RESERVED_KEY, { field, seen: jobId, next: '' });
  }

  /** Whether a job will go on with what it began, by itself or, where its item was kept, by `retry`. */
  async isLiving(jobId: string): Promise<boolean> {
    const job = await this.#queues.findJob(jobId);
    if (!job || (await job.getState()) !== 'failed') return this.isUnderWay(jobId);
    return (job.data as JobData).checkpoint?.item !== null;
  }

  /** Whether a job will go on by itself. */
  async isUnderWay(jobId: string): Promise<boolean> {
    const state = (await (await this.#queues.findJob(jobId))?.getState()) ?? 'unknown';
    return state !== 'completed' && state !== 'failed' && state !== 'unknown';
  }

  async hasFailed(jobId: string): Promise<boolean> {
    return (await (await this.#queues.findJob(jobId))?.getState()) === 'failed';
  }

  async #assertOver(
    holder: string,
    { ifExists, name, operation }: JobRequest,
    isBegun: boolean,
  ): Promise<void> {
    const job = await this.#queues.findJob(holder);
    const state = await job?.getState();
    if (!job || state === 'completed' || state === 'failed' || state === 'unknown') return;
    const facts = { name, job: holder };
    const { verdict, checkpoint } = job.data as JobData;
    // Who has an item there does not wait for one that has none, and waits itself.
    if (isBegun && state !== 'active' && !checkpoint.item && !checkpoint.creating) return;
    const ending = verdict !== null;
    // Who has an item there already waits, and keeps it.
    if (ifExists === 'fail' && !ending && !isBegun) {
      throw new FerryError(
        'NAME_TAKEN',
        operation === 'upload'
          ? `job ${holder} is uploading an item ${name} there`
          : `job ${holder} is making the same`,
        {
          facts,
        },
      );
    }
    throw new FerryError('NAME_RESERVED', `job ${holder} is working on ${name} there`, {
      facts,
    });
  }
}
