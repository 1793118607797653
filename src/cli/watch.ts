import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../config/load.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { followJobs, isOver } from './follow.ts';
import { type GlobalOptions, jobJson, printJson } from './output.ts';
import { createProgressDisplay, type ProgressDisplay } from './progress.ts';
import { interruption } from './signals.ts';
import { select } from './status.ts';

interface WatchOptions extends GlobalOptions {
  readonly batch?: string;
}

const LOOK_MS = 500;

export async function watch(ids: string[], options: WatchOptions): Promise<number> {
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  const interrupt = interruption();
  const display = options.json ? jsonLines() : createProgressDisplay(options);
  try {
    const named = options.batch === undefined ? ids : await idsOfBatch(ferry, options.batch);
    if (named.length === 0 && options.batch === undefined) {
      await watchAll(ferry, display, interrupt.signal);
      return 130;
    }
    let jobs: JobDetails[] = [];
    for await (jobs of followJobs(ferry, named, interrupt.signal)) display.show(jobs);
    if (!jobs.every(isOver)) return 130;
    return jobs.some(({ state }) => state === 'failed') ? 1 : 0;
  } finally {
    display.close();
    interrupt.close();
    await ferry.close();
  }
}

async function idsOfBatch(ferry: Ferry, batch: string): Promise<string[]> {
  const jobs = await select(ferry, [], { batch, limit: Number.MAX_SAFE_INTEGER });
  return jobs.map(({ id }) => id);
}

/** What runs now, whatever it is, until it is interrupted. */
async function watchAll(
  ferry: Ferry,
  display: ProgressDisplay,
  signal: AbortSignal,
): Promise<void> {
  const watched = new Set<string>();
  while (!signal.aborted) {
    const active = await ferry.list({ states: ['active'], limit: 1_000 });
    for (const { id } of active) watched.add(id);
    const jobs = await ferry.getMany([...watched]);
    display.show(jobs);
    for (const job of jobs) if (isOver(job)) watched.delete(job.id);
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** One job a line, each time it has changed. */
function jsonLines(): ProgressDisplay {
  const said = new Map<string, string>();
  return {
    show(jobs) {
      for (const job of jobs) {
        const view = jobJson(job);
        const text = JSON.stringify(view);
        if (said.get(job.id) === text) continue;
        said.set(job.id, text);
        printJson(view);
      }
    },
    close: () => undefined,
  };
}
