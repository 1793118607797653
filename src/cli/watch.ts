import { loadConfig } from '../config/load.ts';
import { type JobDetails, openFerry } from '../index.ts';
import { changesOnly, followJobs, followRunning, isOver, jobsOf } from '../job-changes.ts';

import { type GlobalOptions, jobJson, printJson } from './output.ts';
import { createProgressDisplay, type ProgressDisplay } from './progress.ts';
import { interruption } from './signals.ts';

interface WatchOptions extends GlobalOptions {
  readonly batch?: string;
}

export async function watch(ids: string[], options: WatchOptions): Promise<number> {
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  const interrupt = interruption();
  const display = options.json ? jsonLines() : createProgressDisplay(options);
  try {
    const { batch } = options;
    const named = batch === undefined ? ids : (await jobsOf(ferry, batch)).map(({ id }) => id);
    if (named.length === 0 && batch === undefined) {
      for await (const jobs of followRunning(ferry, interrupt.signal)) display.show(jobs);
      return 130;
    }
    let jobs: JobDetails[] = [];
    for await (jobs of followJobs(ferry, named, interrupt.signal)) display.show(jobs);
    const isSeen = jobs.length > 0 || named.length === 0; // it may be interrupted before the first look
    if (!isSeen || !jobs.every(isOver)) return 130;
    return jobs.some(({ state }) => state === 'failed') ? 1 : 0;
  } finally {
    display.close();
    interrupt.close();
    await ferry.close();
  }
}

/** One job a line, each time it has changed. */
function jsonLines(): ProgressDisplay {
  const isNew = changesOnly();
  return {
    show(jobs) {
      for (const job of jobs) {
        const view = jobJson(job);
        if (isNew(job.id, view)) printJson(view);
      }
    },
    close: () => undefined,
  };
}
