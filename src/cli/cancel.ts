import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { openFerry } from '../index.ts';
import { followJobs, isOver, jobsOf } from '../job-changes.ts';
import { type GlobalOptions, showJobs } from './output.ts';
import { OwnWorker } from './own-worker.ts';

const WAIT_MS = 30_000;

interface CancelOptions extends GlobalOptions {
  readonly batch?: string;
}

/** Leaves the wish, and waits for its fulfilment; cleans up itself where no worker does. */
export async function cancel(named: string[], options: CancelOptions): Promise<number> {
  const { batch } = options;
  if ((batch === undefined) === (named.length === 0)) {
    throw new FerryError('USAGE', 'which jobs? Name them, or say --batch NAME');
  }
  const config = loadConfig({ file: options.config, redis: options.redis });
  const ferry = await openFerry(config);
  const own = new OwnWorker(ferry, config, options);
  try {
    const before = batch === undefined ? await ferry.getMany(named) : await jobsOf(ferry, batch);
    const ids = before.filter((job) => batch === undefined || !isOver(job)).map(({ id }) => id);
    for (const { id, state, name } of before) {
      if (batch !== undefined || state !== 'completed') continue;
      process.stderr.write(`${id} was completed before: ${name} stays where it is\n`);
    }
    await ferry.requestCancel(ids);
    let jobs = await ferry.getMany(ids);
    for await (jobs of followJobs(ferry, ids, AbortSignal.timeout(WAIT_MS)))
      await own.standIn(jobs);
    for (const { id } of jobs.filter((job) => !isOver(job))) {
      process.stderr.write(`${id} is not cancelled yet; it will be when its target answers\n`);
    }
    showJobs(jobs, options);
    return 0;
  } finally {
    await own.stop();
    await ferry.close();
  }
}
