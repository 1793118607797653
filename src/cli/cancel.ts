import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
import { followJobs } from './follow.ts';
import { type GlobalOptions, jobJson, jobLine, printJson, say } from './output.ts';
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
    if (options.json) printJson(jobs.map(jobJson));
    for (const job of options.json ? [] : jobs) say(jobLine(job, options.color), options);
    return 0;
  } finally {
    await own.stop();
    await ferry.close();
  }
}
