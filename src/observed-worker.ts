import type { Redis } from 'ioredis';
import type { Config } from './config/load.ts';
import { classify, FerryError } from './errors.ts';
import type { Rates } from './jobs/batch/rates.ts';
import type { Brakes } from './jobs/brakes.ts';
import { PROBE_KEY } from './jobs/names.ts';
import type { QueueSet } from './jobs/queue-set.ts';
import type { Runner } from './jobs/runner.ts';
import { targetStates } from './jobs/target-states.ts';
import type { Log } from './jobs/upload-deps.ts';
import type { ListenAddress } from './observe/endpoints.ts';
import type { Metrics } from './observe/metrics.ts';
import type { Traces } from './observe/traces.ts';
import { assertTakesWrites } from './redis/checks.ts';
import { VERSION } from './version.ts';

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
    () => targetStates(observed, undefined),
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
      runner().idleMs > STUCK_MS ? 'Redis has answered no look for jobs for a minute' : undefined,
    async unready(): Promise<string | undefined> {
      try {
        await assertTakesWrites(redis, PROBE_KEY);
        return undefined;
      } catch (error) {
        return classify(error).message;
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

/** Undefined where nobody wants traces; loaded only where somebody does. */
export async function openTracesOf(config: Config, log: Log): Promise<Traces | undefined> {
  const wanted = config.traces();
  if (!wanted) return undefined;
  const { openTraces } = await import('./observe/traces.ts');
  return openTraces({ ...wanted, version: VERSION, log });
}
