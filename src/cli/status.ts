import { loadConfig } from '../config/load.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { brakeLine, type GlobalOptions, say, showJobs } from './output.ts';

interface StatusOptions extends GlobalOptions {
  readonly batch?: string;
  readonly failed?: boolean;
  readonly target?: string;
  readonly limit: number;
}

export async function status(ids: string[], options: StatusOptions): Promise<number> {
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    const jobs = await select(ferry, ids, options);
    showJobs(jobs, options);
    for (const [target, brake] of await ferry.brakes()) {
      if (options.target !== undefined && options.target !== target) continue;
      process.stderr.write(`${brakeLine(target, brake)}\n`);
    }
    if (!options.json && ids.length === 0 && options.batch === undefined) {
      const counts = await ferry.counts(
        options.target === undefined ? undefined : [options.target],
      );
      const words = Object.entries(counts).map(([state, count]) => `${count} ${state}`);
      say(words.join(', '), options);
    }
    return 0;
  } finally {
    await ferry.close();
  }
}

/** By ids in their order; else newest first, narrowed. */
export async function select(
  ferry: Ferry,
  ids: readonly string[],
  { batch, failed, target, limit }: Omit<StatusOptions, 'color'>,
): Promise<JobDetails[]> {
  if (ids.length > 0) return Promise.all(ids.map((id) => ferry.get(id)));
  const jobs = await ferry.list({
    targets: target === undefined ? undefined : [target],
    ...(failed ? { states: ['failed'] } : {}),
    limit: batch === undefined ? limit : Number.MAX_SAFE_INTEGER,
  });
  return batch === undefined ? jobs : jobs.filter((job) => job.batch === batch);
}
