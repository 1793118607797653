import type { Redis } from 'ioredis';
import { type Config, loadConfig } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { JobDetails, JobState, JobView } from './jobs/job-view.ts';
import { type Counts, type EnqueueOptions, UploadQueues } from './jobs/queue.ts';
import { toRequests, type UploadOrder } from './orders.ts';
import { connectPromptly, type RedisAddress, untilReady } from './redis/connect.ts';
import { startEmbedded } from './redis/embedded.ts';

export { FerryError } from './errors.ts';
export type { Counts, EnqueueOptions, JobDetails, JobState, JobView, UploadOrder };

export interface FerryOptions {
  /** A configuration file; by default the one that the commands would find. */
  readonly config?: string | undefined;
  /** A `redis://` address, in place of the configured one. */
  readonly redis?: string | undefined;
}

/** What producers do with uploads. Every method throws FerryError REDIS_UNAVAILABLE while Redis is away. */
export interface Ferry {
  /**
   * Puts uploads into the queue and returns their jobs, in the order of `orders`. What is queued,
   * running or done already is returned with `existing: true`.
   *
   * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE; then nothing was enqueued
   */
  enqueue(orders: readonly UploadOrder[], options?: EnqueueOptions): Promise<JobDetails[]>;
  /** @throws FerryError JOB_NOT_FOUND */
  get(id: string): Promise<JobDetails>;
  /** Newest first. */
  list(query: {
    targets?: readonly string[] | undefined;
    states?: readonly JobState[];
    limit: number;
  }): Promise<JobDetails[]>;
  counts(targets?: readonly string[]): Promise<Counts>;
  retry(ids: readonly string[]): Promise<JobDetails[]>;
  /** Returns as soon as the wish is stored; the jobs end as `failed` with `CANCELLED`. */
  requestCancel(ids: readonly string[]): Promise<void>;
  /** True while some worker takes the target's jobs. */
  isServed(target: string): Promise<boolean>;
  close(): Promise<void>;
}

/** Opens the queues for a program that produces uploads. The commands use nothing else. */
export function createFerry(options: FerryOptions = {}): Promise<Ferry> {
  return openFerry(loadConfig({ file: options.config, redis: options.redis }));
}

/** As `createFerry`, for a configuration that has been read already. */
export async function openFerry(config: Config): Promise<Ferry> {
  const { address, release } = await redisOf(config);
  let redis: Redis;
  try {
    redis = connectPromptly(address, 'ovaferry');
    await untilReady(redis, address);
  } finally {
    release();
  }
  const queues = new UploadQueues(redis);
  return {
    enqueue: async (orders, enqueueOptions) =>
      queues.enqueue(await toRequests(orders, config.targets), enqueueOptions),
    get: (id) => queues.get(id),
    list: (query) => queues.list(query),
    counts: (targets) => queues.counts(targets),
    retry: (ids) => queues.retry(ids),
    requestCancel: (ids) => queues.requestCancel(ids),
    isServed: (target) => queues.isServed(target),
    async close() {
      await queues.close();
      redis.disconnect();
    },
  };
}

/** The configured Redis, or the private one. `release` when a connection of one's own is open. */
export async function redisOf(
  config: Config,
): Promise<{ address: RedisAddress; release: () => void }> {
  const url = config.redisUrl();
  if (url === undefined) return startEmbedded(config.dataDir);
  if (!/^rediss?:\/\//.test(url)) {
    throw new FerryError('CONFIG_INVALID', '`redis` is not a redis:// or rediss:// address');
  }
  return { address: { url }, release: () => undefined };
}
