import type { LiveLimits } from './config/live-limits.ts';
import type { Config } from './config/load.ts';
import { FerryError } from './errors.ts';
import { Overview } from './jobs/batch/overview.ts';
import type { Brakes } from './jobs/brakes.ts';
import { JobViews } from './jobs/job-views.ts';
import { Notices } from './jobs/notify/notices.ts';
import { Watchman } from './jobs/notify/watchman.ts';
import type { QueueSet } from './jobs/queue-set.ts';
import type { RunnerOptions } from './jobs/runner.ts';
import type { Log } from './jobs/upload-deps.ts';
import { postSigned } from './observe/webhook.ts';
import { connectForBlocking } from './redis/connect.ts';

interface NotifyingParts {
  readonly redis: RunnerOptions['redis'];
  readonly queues: QueueSet;
  readonly brakes: Brakes;
  readonly limits: LiveLimits;
  readonly log: Log;
}

/** Tells whoever wants to be told; undefined where nobody does. */
export function startNotifying(
  { hooks }: Config,
  { redis, queues, brakes, limits, log }: NotifyingParts,
): { stop(): Promise<void> } | undefined {
  if (hooks.size === 0) return undefined;
  const blocking = connectForBlocking(redis.patient);
  const notices = new Notices({
    redis: blocking,
    subscribers: [...hooks.values()],
    async deliver(name, id, notice) {
      const hook = hooks.get(name);
      // Another worker may have it.
      if (!hook) throw new FerryError('CONFIG_INVALID', `there is no notify.${name}`);
      await postSigned(await hook.resolve(), id, notice);
    },
    onRefused: (hook, error) => log.warn({ hook }, `${error.message}; it is tried again`),
    onGivenUp: (hook, error) => log.error({ hook }, `nobody was told: ${error.message}`),
  });
  const views = new JobViews(redis.prompt, queues);
  const watchman = new Watchman({
    redis: redis.prompt,
    ...{ queues, brakes, notices },
    overview: new Overview({ redis: redis.prompt, queues, views }),
    limits: () => limits.current,
    onError: (error) => log.debug({ error: error.message }, 'watchman'),
  });
  return {
    async stop() {
      await watchman.close();
      await notices.close();
      blocking.disconnect();
    },
  };
}
