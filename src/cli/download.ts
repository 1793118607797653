import { loadConfig } from '../config/load.ts';
import type { DownloadOrder, Ferry, JobDetails } from '../index.ts';
import { enqueueAndLeave } from './enqueue.ts';
import { itemsOf } from './items.ts';
import { commonOptionsOf, type WaitingOptions } from './sources.ts';
import { enqueueAndWait } from './wait.ts';

export interface DownloadOptions extends WaitingOptions {
  readonly ifExists: 'fail' | 'skip' | 'replace';
  readonly output?: string;
  readonly ova?: boolean;
}

/** Fetches items of catalogs to a folder. */
export async function download(args: string[], options: DownloadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const { enqueueOptions, ...common } = commonOptionsOf(options);
  const { output: folder, ifExists } = options;
  const format = options.ova ? 'ova' : 'files';
  const orders = (await itemsOf(args, config)).map(
    ({ item, size }): DownloadOrder => ({
      ...{ ...common, item, expectedBytes: size, folder, format, ifExists },
    }),
  );
  const enqueue = (ferry: Ferry): Promise<JobDetails[]> => ferry.download(orders, enqueueOptions);
  if (options.detach) return enqueueAndLeave(config, options, enqueue);
  return enqueueAndWait(config, options, {
    enqueue,
    done: ({ name, result }) =>
      `${name} was fetched before: ${result?.path}; --again fetches it anew`,
  });
}
