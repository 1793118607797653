import type { Redis } from 'ioredis';
import { FerryError } from './errors.ts';
import type { Rates } from './jobs/batch/rates.ts';
import type { Brakes } from './jobs/brakes.ts';
import { toState } from './jobs/job-view.ts';
import { targetOfQueue } from './jobs/names.ts';
import type { QueueSet } from './jobs/queue-set.ts';
import type { Runner } from './jobs/runner.ts';
import type { ListenAddress } from './observe/endpoints.ts';
import type { Metrics, QueueFigures } from './observe/metrics.ts';

export interface Observed {
  readonly redis: Redis;
  readonly queues: QueueSet;
  readonly brakes: Brakes;
  readonly rates: Rates;
  readonly runner: () => Runner;
}

/** A look for jobs takes moments: after this nobody looks any more. */
const STUCK_MS = 60_000;

/** What a worker tells monitoring; loaded only where somebody listens. */
export async function openMetrics(observed: Observed): Promise<Metrics> {
  const { createMetrics } = await import('./observe/metrics.ts');
  return createMetrics(
    () => figuresOf(observed),
    () => observed.runner().running,
  );
}

export async function serveMetrics(
  address: ListenAddress,
  metrics: Metrics,
  { redis, runner }: Observed,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const { serveEndpoints } = await import('./observe/endpoints.ts');
  const watched = {
    unhealthy: (): string | undefined =>
      runner().idleMs > STUCK_MS ? 'it looks for no jobs any more' : undefined,
    async unready(): Promise<string | undefined> {
      try {
        await redis.ping();
        return undefined;
      } catch {
        return 'Redis is out of reach';
      }
    },
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
  };
  try {
    return await serveEndpoints(address, watched);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const { host, port } = address;
    throw new FerryError(
      'CONFIG_INVALID',
      `worker.listen: ${host} port ${port} can't be listened on (${code})`,
      { cause: error },
    );
  }
}

async function figuresOf({ queues, brakes, rates }: Observed): Promise<QueueFigures[]> {
  const held = await brakes.all();
  const figures = new Map<string, QueueFigures>();
  for (const name of await queues.names()) {
    const target = targetOfQueue(name);
    const queue = queues.of(name);
    const before = figures.get(target);
    const jobs: Record<string, number> = { ...before?.jobs };
    for (const [state, count] of Object.entries(await queue.getJobCounts())) {
      const known = toState(state);
      if (known) jobs[known] = (jobs[known] ?? 0) + count;
    }
    const [first] = await queue.getJobs(['wait', 'prioritized'], 0, 0, true);
    const age = first && (Date.now() - first.timestamp) / 1_000;
    const ages = [age, before?.oldestWaitingSeconds].filter((one) => one !== undefined);
    figures.set(target, {
      ...{ target, jobs },
      oldestWaitingSeconds: ages.length === 0 ? undefined : Math.max(...ages),
      rate: before?.rate ?? (await rates.ofTarget(target)),
      brake: held.get(target)?.code,
    });
  }
  return [...figures.values()];
}
