import { randomUUID } from 'node:crypto';
import { bandwidthAt } from './config/bandwidth.ts';
import type { Config } from './config/load.ts';
import { redisOf } from './index.ts';
import { Brakes } from './jobs/brakes.ts';
import { Ceilings } from './jobs/ceilings.ts';
import { createLoginLock } from './jobs/login-lock.ts';
import { INSTALLATION_KEY } from './jobs/names.ts';
import type { ProcessorSettings } from './jobs/processor.ts';
import { QueueSet } from './jobs/queue-set.ts';
import { Reservations } from './jobs/reservations.ts';
import { Runner, type RunnerOptions } from './jobs/runner.ts';
import { StorageShares } from './jobs/storage-shares.ts';
import { createThrottle } from './jobs/throttle.ts';
import type { Log } from './jobs/upload-deps.ts';
import { openImage } from './ovf/image.ts';
import { assertSuitable, inspectRedis } from './redis/checks.ts';
import { connectPatiently, connectPromptly, untilReady } from './redis/connect.ts';
import { installationId } from './redis/installation.ts';
import { openTargets } from './targets.ts';

/** A worker that runs until it is stopped. */
export interface RunningWorker {
  /** Hands every job back; within five seconds. */
  stop(): Promise<void>;
}

export interface WorkerOptions {
  /** Work on these jobs of these targets alone. */
  readonly only?: { readonly ids: ReadonlySet<string>; readonly targets: readonly string[] };
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/**
 * The composition root of the daemon: configuration → connections, clients, settings → runner.
 *
 * @throws FerryError REDIS_UNAVAILABLE, REDIS_UNSUITABLE
 */
export async function startWorker(
  config: Config,
  log: Log,
  { only }: WorkerOptions = {},
): Promise<RunningWorker> {
  const { address, release } = await redisOf(config);
  const name = `ovaferry-worker-${randomUUID().slice(0, 8)}`;
  const redis = {
    patient: connectPatiently(address, name),
    prompt: connectPromptly(address, name),
    subscriber: connectPatiently(address, name),
  };
  const leave = (): void => {
    for (const connection of Object.values(redis)) connection.disconnect();
  };
  try {
    for (const connection of Object.values(redis)) await untilReady(connection, address);
    for (const warning of assertSuitable(await inspectRedis(redis.prompt))) log.warn({}, warning);
    const { dataDir } = config;
    const where = { key: INSTALLATION_KEY, address, dataDir };
    const installation = await installationId(redis.prompt, where);
    return await startRunner(config, { redis, installation, log, only });
  } catch (error) {
    leave(); // open connections would keep the process
    throw error;
  } finally {
    release();
  }
}

interface RunnerParts {
  readonly redis: RunnerOptions['redis'];
  readonly installation: string;
  readonly log: Log;
  readonly only: WorkerOptions['only'];
}

async function startRunner(
  config: Config,
  { redis, installation, log, only }: RunnerParts,
): Promise<RunningWorker> {
  const { worker } = config;
  const targets = [...config.targets.values()].filter(
    ({ name }) => !only || only.targets.includes(name),
  );
  for (const warning of targets.flatMap((target) => target.warnings)) log.warn({}, warning);
  const brakes = new Brakes(redis.prompt);
  const queues = new QueueSet(redis.prompt);
  const reservations = new Reservations(redis.prompt, queues);
  const targetsOpen = openTargets(config, (target) =>
    createLoginLock({ redis: redis.prompt, brakes }, target),
  );
  const runner = new Runner({
    redis,
    targets,
    concurrency: worker.concurrency,
    leaseMs: worker.lease,
    ...(only ? { only: only.ids } : {}),
    isDown: (target) => targetsOpen.isDown(target),
    world: {
      access: (target) => targetsOpen.get(target),
      openImage,
      throttle: createThrottle(() => bandwidthAt(worker.bandwidth, worker.timezone, new Date())),
      settings: settingsOf(config),
      installation,
      brakes,
      ceilings: new Ceilings(redis.prompt, queues),
      reservations,
      storage: new StorageShares(redis.prompt, reservations),
      log,
    },
  });
  await runner.start();
  return {
    async stop() {
      await runner.stop();
      targetsOpen.close();
    },
  };
}

function settingsOf({ worker }: Config): ProcessorSettings {
  return {
    // A dead worker's last bytes arrive within moments; a short lease wants a short wait, but one that
    // is longer than a beat, within which a worker learns that its job was given to another.
    settleMs: worker.settle ?? Math.min(3_000, worker.lease / 5),
    resettleMs: Math.min(1_000, worker.lease / 15),
    filesInParallel: worker.filesInParallel,
    pollFirstMs: 100,
    pollLongestMs: 3_000,
    importFirstMs: 300,
    importLongestMs: 5_000,
    chunkBytes: worker.chunkSize,
    patienceMs: MINUTE,
    giveUpMs: DAY,
  };
}
