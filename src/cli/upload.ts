import { loadConfig } from '../config/load.ts';
import { enqueueOptionsOf, ordersOf, type UploadOptions } from './sources.ts';
import { enqueueWithThen } from './then.ts';
import { enqueueAndWait } from './wait.ts';

/** Enqueues uploads, shows progress, and waits for the end. */
export async function upload(args: string[], options: UploadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const orders = await ordersOf(args, options, config);
  const enqueueOptions = enqueueOptionsOf(options);
  if (options.dryRun) return (await import('./dry-run.ts')).dryRun(config, orders, options);
  return enqueueAndWait(config, options, {
    enqueue: (ferry) =>
      enqueueWithThen(ferry, orders, { enqueueOptions, options, targets: config.targets }),
    done: ({ name, state }) => `${name} was uploaded before (${state}); --again uploads it anew`,
  });
}
