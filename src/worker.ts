import { randomUUID } from 'node:crypto';
import { bandwidthAt } from './config/bandwidth.ts';
import type { Config } from './config/load.ts';
import { FerryError } from './errors.ts';
import { redisOf } from './index.ts';
import { installationId } from './jobs/installation.ts';
import type { ProcessorSettings } from './jobs/processor.ts';
import { Runner, type RunnerOptions } from './jobs/runner.ts';
import { createThrottle } from './jobs/throttle.ts';
import type { Log } from './jobs/upload-deps.ts';
import { openImage } from './ovf/image.ts';
import { assertSuitable, inspectRedis } from './redis/checks.ts';
import { connectPatiently, connectPromptly, untilReady } from './redis/connect.ts';
import { VcdClient } from './vcd/client.ts';

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
    const installation = await installationId(redis.prompt);
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
  const clients = createClients(config);
  const runner = new Runner({
    redis,
    targets,
    concurrency: worker.concurrency,
    leaseMs: worker.lease,
    ...(only ? { only: only.ids } : {}),
    world: {
      vcdOf: (target) => clients.get(target),
      openImage,
      throttle: createThrottle(() => bandwidthAt(worker.bandwidth, worker.timezone, new Date())),
      settings: settingsOf(config),
      installation,
      log,
    },
  });
  await runner.start();
  return {
    async stop() {
      await runner.stop();
      clients.close();
    },
  };
}

function settingsOf({ worker }: Config): ProcessorSettings {
  return {
    // A dead worker's last bytes arrive within moments; a short lease wants a short wait.
    settleMs: Math.min(1_000, worker.lease / 15),
    filesInParallel: worker.filesInParallel,
    pollFirstMs: 100,
    pollLongestMs: 3_000,
    chunkBytes: worker.chunkSize,
    patienceMs: MINUTE,
    giveUpMs: DAY,
  };
}

interface Clients {
  get(target: string): Promise<VcdClient>;
  close(): void;
}

/** One client for each target, with one login, shared by all uploads of this process. */
function createClients(config: Config): Clients {
  const clients = new Map<string, Promise<VcdClient>>();
  return {
    get(name) {
      let client = clients.get(name);
      if (!client) {
        client = createClient(config, name);
        client.catch(() => clients.delete(name)); // a secret may be there the next time
        clients.set(name, client);
      }
      return client;
    },
    close() {
      for (const client of clients.values())
        void client.then((c) => c.close()).catch(() => undefined);
    },
  };
}

async function createClient(config: Config, name: string): Promise<VcdClient> {
  const target = config.targets.get(name);
  if (!target) throw new FerryError('TARGET_UNKNOWN', `there is no target ${name}`);
  const resolved = await target.resolve();
  const { url, org, ca, certificateSha256, insecure, proxy } = resolved;
  return new VcdClient({
    url,
    org,
    credentials: async () => (await target.resolve()).credentials,
    trust: {
      insecure,
      ...(ca === undefined ? {} : { ca }),
      ...(certificateSha256 === undefined ? {} : { certificateSha256 }),
      ...(proxy === undefined ? {} : { proxy }),
    },
  });
}
