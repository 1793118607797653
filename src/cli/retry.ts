import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { openFerry } from '../index.ts';
import { type GlobalOptions, showJobs } from './output.ts';

export async function retry(
  ids: string[],
  options: GlobalOptions & { readonly failed?: boolean },
): Promise<number> {
  if (ids.length === 0 && !options.failed) {
    throw new FerryError('USAGE', 'which jobs? Name them, or say --failed');
  }
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    const failed = options.failed
      ? await ferry.list({ states: ['failed'], limit: Number.MAX_SAFE_INTEGER })
      : [];
    const jobs = await ferry.retry([...ids, ...failed.map(({ id }) => id)]);
    showJobs(jobs, options);
    return 0;
  } finally {
    await ferry.close();
  }
}
