import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { type BatchState, type Ferry, type JobDetails, openFerry } from '../index.ts';
import { batchLines } from './batch.ts';
import { brakeLine, type GlobalOptions, printJson, say, showJobs } from './output.ts';

interface StatusOptions extends GlobalOptions {
  readonly batch?: string;
  readonly batches?: boolean;
  readonly summary?: boolean;
  readonly failed?: boolean;
  readonly target?: string;
  readonly limit: number;
}

export async function status(ids: string[], options: StatusOptions): Promise<number> {
  const { batch, batches, summary } = options;
  if (summary && batch === undefined) {
    throw new FerryError('USAGE', '--summary goes with --batch NAME');
  }
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    if (batches) showBatches(await ferry.batches(), options);
    else if (batch !== undefined && (summary || !options.json)) {
      showBatches([await ferry.batch(batch)], options);
    }
    if (!batches && !summary) showJobs(await select(ferry, ids, options), options);
    for (const [target, brake] of await ferry.brakes()) {
      if (options.target !== undefined && options.target !== target) continue;
      process.stderr.write(`${brakeLine(target, brake)}\n`);
    }
    if (!options.json && ids.length === 0 && batch === undefined && !batches) {
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

function showBatches(states: readonly BatchState[], options: StatusOptions): void {
  if (options.json) printJson(options.batches ? states : states[0]);
  else for (const state of states) say(batchLines(state, options.color).join('\n'), options);
}

/** By ids in their order; else newest first, narrowed. */
export async function select(
  ferry: Ferry,
  ids: readonly string[],
  { batch, failed, target, limit }: Omit<StatusOptions, 'color'>,
): Promise<JobDetails[]> {
  if (ids.length > 0) return ferry.getMany(ids);
  if (batch === undefined) {
    return ferry.list({
      targets: target === undefined ? undefined : [target],
      ...(failed ? { states: ['failed'] } : {}),
      limit,
    });
  }
  const jobs = await ferry.jobsOfBatch(batch);
  return jobs
    .filter((job) => (!failed || job.state === 'failed') && (!target || job.target === target))
    .sort((a, b) => b.enqueuedAt.localeCompare(a.enqueuedAt));
}
