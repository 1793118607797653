import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
import { followJobs, isOver } from './follow.ts';
import { type GlobalOptions, showJobs } from './output.ts';
import { OwnWorker } from './own-worker.ts';

const WAIT_MS = 30_000;

/** Leaves the wish, and waits for its fulfilment; cleans up itself where no worker does. */
export async function cancel(ids: string[], options: GlobalOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const ferry = await openFerry(config);
  const own = new OwnWorker(ferry, config, options);
  try {
    await ferry.requestCancel(ids);
    let jobs = await Promise.all(ids.map((id) => ferry.get(id)));
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
