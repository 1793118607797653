import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { LiveLimits } from './config/live-limits.ts';
import type { Config } from './config/load.ts';
import { Ledger } from './jobs/batch/ledger.ts';
import { Rates } from './jobs/batch/rates.ts';
import { BodyLimits } from './jobs/body-limits.ts';
import { Brakes } from './jobs/brakes.ts';
import { Ceilings } from './jobs/ceilings.ts';
import { Forgetting } from './jobs/forget.ts';
import { Begun } from './jobs/limits/begun.ts';
import { InFlight } from './jobs/limits/in-flight.ts';
import { Lanes } from './jobs/limits/lanes.ts';
import type { Limits } from './jobs/limits/limits.ts';
import { countPlaces } from './jobs/limits/line.ts';
import { RateSeeker } from './jobs/limits/rate-seeker.ts';
import { Room } from './jobs/limits/room.ts';
import { sharedBucket } from './jobs/limits/shared-bucket.ts';
import { StorageShares } from './jobs/limits/storage-shares.ts';
import { createThrottle, localBucket } from './jobs/limits/throttle.ts';
import { createLoginLock } from './jobs/login-lock.ts';
import { INSTALLATION_KEY, PROBE_KEY, queueOf, targetOfQueue } from './jobs/names.ts';
import { ItemOffers } from './jobs/offers.ts';
import type { ProcessorSettings } from './jobs/processor-world.ts';
import { QueueSet } from './jobs/queue-set.ts';
import { Reservations } from './jobs/reservations.ts';
import { Runner, type RunnerOptions } from './jobs/runner.ts';
import type { Log, Throttle } from './jobs/upload-deps.ts';
import { startNotifying } from './notifying.ts';
import type { ListenAddress } from './observe/endpoints.ts';
import { openMetrics, openTracesOf, serveMetrics } from './observed-worker.ts';
import { assertPoolName } from './order-parts.ts';
import { openImage } from './ovf/image.ts';
import { assertSuitable, assertTakesWrites, inspectRedis } from './redis/checks.ts';
import { SharedClock } from './redis/clock.ts';
import {
  connectForMessages,
  connectPatiently,
  connectPromptly,
  untilReady,
} from './redis/connect.ts';
import { installationId } from './redis/installation.ts';
import { redisOf } from './redis-of.ts';
import { openTargets } from './targets.ts';

/** A worker that runs until it is stopped. */
export interface RunningWorker {
  /** Hands every job back; within five seconds. */
  stop(): Promise<void>;
  /** Reads the limits again; a change of the file is also seen without being told. */
  reload(): Promise<void>;
}

export interface WorkerOptions {
  /** Work on these jobs of these targets alone. */
  readonly only?: { readonly ids: ReadonlySet<string>; readonly queue: string };
  /** Besides jobs that every worker can do, those of these pools, whose sources it can see. */
  readonly pools?: readonly string[];
  /** Where metrics and health are served; by default where the configuration says. */
  readonly listen?: ListenAddress | undefined;
}

const MINUTE = 60_000;
/** What stops besides uploads may take so long; its connections are closed by then. */
const REST_MS = 500;
const HOUR = 60 * MINUTE;

/**
 * The composition root of the daemon: configuration → connections, clients, settings → runner.
 *
 * @throws FerryError REDIS_UNAVAILABLE, REDIS_UNSUITABLE
 */
export async function startWorker(
  config: Config,
  log: Log,
  { only, pools = [], listen = config.worker.listen }: WorkerOptions = {},
): Promise<RunningWorker> {
  const { address, release } = await redisOf(config);
  const name = `ovaferry-worker-${randomUUID().slice(0, 8)}`;
  const redis = {
    patient: connectPatiently(address, name),
    prompt: connectPromptly(address, name),
    subscriber: connectForMessages(address, name),
  };
  const leave = (): void => {
    for (const connection of Object.values(redis)) connection.disconnect();
  };
  try {
    for (const connection of Object.values(redis)) await untilReady(connection, address);
    for (const warning of assertSuitable(await inspectRedis(redis.prompt))) log.warn({}, warning);
    await assertTakesWrites(redis.prompt, PROBE_KEY);
    const { dataDir } = config;
    const where = { key: INSTALLATION_KEY, address, dataDir };
    const installation = await installationId(redis.prompt, where);
    for (const pool of pools) assertPoolName(pool);
    return await startRunner(config, { redis, installation, log, only, pools, listen });
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
  readonly pools: readonly string[];
  readonly listen: ListenAddress | undefined;
}

async function startRunner(
  config: Config,
  { redis, installation, log, only, pools, listen }: RunnerParts,
): Promise<RunningWorker> {
  const targets = [...config.targets.values()].filter(
    ({ name }) => !only || name === targetOfQueue(only.queue),
  );
  for (const warning of targets.flatMap((target) => target.warnings)) log.warn({}, warning);
  const started: { runner?: Runner } = {};
  const limits = await LiveLimits.open(config, {
    onChange() {
      log.info({}, 'limits are as the configuration says now');
      // It may change before there is a runner, which begins with what it says then.
      void started.runner?.applyLimits().catch((error: Error) => log.warn({}, error.message));
    },
    onError: (error) => log.error({}, `limits stay as they were: ${error.message}`),
  });
  const clock = new SharedClock(redis.prompt);
  await clock.measure();
  const brakes = new Brakes(redis.prompt, clock);
  const queues = new QueueSet(redis.prompt);
  const reservations = new Reservations(redis.prompt, queues);
  const room = new Room(redis.prompt, reservations);
  const lanes = new Lanes(redis.prompt, clock);
  const inFlight = new InFlight(redis.prompt, reservations);
  const begun = new Begun(redis.prompt, queues, clock);
  const rates = new Rates(redis.prompt);
  const seeker = new RateSeeker();
  const throttle = createThrottles(redis.prompt, () => limits.current);
  const targetsOpen = openTargets(
    () => limits.config,
    (target) => createLoginLock({ redis: redis.prompt, brakes }, target),
  );
  const observed = { redis: redis.prompt, queues, brakes, rates, runner: () => runner };
  const metrics = listen && !only ? await openMetrics(observed) : undefined;
  const traces = await openTracesOf(config, log);
  const runner = new Runner({
    redis,
    queues: only ? [only.queue] : targets.flatMap(({ name }) => queuesOf(name, pools)),
    limits: () => limits.current,
    lanes,
    begun,
    admission: { inFlight, rates, transfers: (target) => countPlaces(redis.prompt, target) },
    seeker,
    leaseMs: config.worker.lease,
    clock,
    ...(only ? { only: only.ids } : {}),
    isDown: (target) => targetsOpen.isDown(target),
    hasAnswered: (target) => targetsOpen.hasAnswered(target),
    answers: (target) => targetsOpen.answers(target),
    world: {
      access: (target) => targetsOpen.get(target),
      openImage,
      offers: new ItemOffers(redis.prompt, reservations),
      throttle,
      onSent(bytes, { target, batch }) {
        seeker.sent(bytes);
        metrics?.sent(target, bytes);
        rates.sent(bytes, { target, batch, isLimited: throttle(target).isBinding });
      },
      onImported(target, bytes, ms) {
        metrics?.imported(target, ms);
        void rates.imported(target, bytes, ms).catch(() => undefined);
      },
      observer: metrics?.observer ?? { ended: () => undefined, postponed: () => undefined },
      tracer: traces,
      bodyLimits: new BodyLimits(redis.prompt),
      isDown: (target) => targetsOpen.isDown(target),
      clock,
      settings: settingsOf(config),
      installation,
      brakes,
      ceilings: new Ceilings(redis.prompt, queues),
      reservations,
      storage: new StorageShares(room),
      ledger: new Ledger(redis.prompt),
      rates,
      lanes,
      inFlight,
      begun,
      limitsOf: (target) => runner.limitsOf(target),
      log,
    },
  });
  started.runner = runner;
  const endpoints =
    listen &&
    metrics &&
    (await serveMetrics(listen, metrics, observed).catch(async (error: unknown) => {
      limits.close();
      await runner.stop(); // it holds connections that would keep the process
      throw error;
    }));
  if (endpoints) log.info({ url: endpoints.url }, 'serves /metrics, /healthz and /readyz');
  await runner.start();
  const notifying = only
    ? undefined
    : startNotifying(config, { redis, queues, brakes, limits, log });
  const forgetting = only
    ? undefined
    : new Forgetting({
        redis: redis.prompt,
        queues,
        keepMs: () => config.worker.keep,
        onError: (error) => log.debug({ error: error.message }, 'forgetting'),
      });
  return {
    reload: () => limits.reload(),
    async stop() {
      limits.close();
      // First what others wait for: uploads go on elsewhere within seconds.
      await runner.stop();
      const rest = Promise.allSettled([
        ...[notifying?.stop(), endpoints?.close(), traces?.close(), forgetting?.close()],
      ]);
      await Promise.race([rest, sleep(REST_MS, undefined, { ref: false })]);
      targetsOpen.close();
    },
  };
}

function queuesOf(target: string, pools: readonly string[]): string[] {
  return [null, ...new Set(pools)].map((pool) => queueOf(target, pool));
}

/** What slows uploads down: this process's own limit, and those that it shares with others. */
function createThrottles(redis: Redis, limits: () => Limits): (target: string) => Throttle {
  const who = randomUUID();
  const now = <T>(timetable: { at(moment: number): T } | undefined): T | undefined =>
    timetable?.at(Date.now());
  const own = localBucket(() => now(limits().bandwidth));
  const throttles = new Map<string, Throttle>();
  return (target) => {
    const known = throttles.get(target);
    if (known) return known;
    const ofTarget = sharedBucket(redis, { name: () => `target ${target}`, who }, () =>
      now(limits().targets.get(target)?.bandwidth),
    );
    const ofLine = sharedBucket(redis, { name: () => `line ${limits().line?.name}`, who }, () =>
      now(limits().line?.bandwidth),
    );
    const throttle = createThrottle([own, ofTarget, ofLine]);
    throttles.set(target, throttle);
    return throttle;
  };
}

function settingsOf({ worker }: Config): ProcessorSettings {
  return {
    // A dead worker's last bytes arrive within moments; a short lease wants a short wait, but one that
    // is longer than a beat, within which a worker learns that its job was given to another.
    settleMs: worker.settle ?? Math.min(3_000, worker.lease / 5),
    resettleMs: Math.min(1_000, worker.lease / 15),
    filesInParallel: worker.filesInParallel,
    trickleEveryMs: worker.trickleEvery,
    pollFirstMs: 100,
    pollLongestMs: 3_000,
    importFirstMs: 300,
    importLongestMs: 5_000,
    chunkBytes: worker.chunkSize,
    resendFloorBytes: worker.resendFloor,
    sessionIdleMs: HOUR, // vCD's default (guide, "Transfer Session Timeout")
    patienceMs: MINUTE,
    giveUpMs: worker.giveUp,
    outageMs: worker.outage,
  };
}
