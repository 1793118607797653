import { loadConfig } from '../config/load.ts';
import { isTargetFault } from '../errors.ts';
import { type JobDetails, type JobView, openFerry } from '../index.ts';
import { followJobs, isOver } from './follow.ts';
import { jobJson, printJson } from './output.ts';
import { OwnWorker } from './own-worker.ts';
import { createProgressDisplay } from './progress.ts';
import { interruption } from './signals.ts';
import { enqueueOptionsOf, ordersOf, type UploadOptions } from './sources.ts';

/** Enqueues, shows progress, and waits; works itself where nobody else does. */
export async function upload(args: string[], options: UploadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const orders = await ordersOf(args, options);
  const enqueueOptions = enqueueOptionsOf(options);
  const ferry = await openFerry(config);
  const own = new OwnWorker(ferry, config, options);
  const interrupt = interruption();
  const display = createProgressDisplay(options);
  try {
    let jobs = await ferry.enqueue(orders, enqueueOptions);
    const existing = new Set(jobs.filter((job) => job.existing).map(({ id }) => id));
    const ids = [...new Set(jobs.map(({ id }) => id))];
    // What waits to be tried again is tried now: whoever asks may have mended the cause.
    const waiting = jobs.filter(({ state, error }) => state === 'delayed' && error !== null);
    await ferry.retry([...new Set(waiting.map(({ id }) => id))]);
    for await (jobs of followJobs(ferry, ids, interrupt.signal)) {
      display.show(jobs);
      if (jobs.filter((job) => !isOver(job)).every(hasTargetFault)) break;
      if (!interrupt.signal.aborted) await own.standIn(jobs);
    }
    display.close();
    const shown = jobs.map((job) => jobJson({ ...job, existing: existing.has(job.id) }));
    return outcome(jobs, { shown, interrupted: interrupt.signal.aborted, options });
  } finally {
    interrupt.close();
    await own.stop();
    await ferry.close();
  }
}

/** Nothing here can be done until somebody mends the target; the job stays queued. */
function hasTargetFault({ state, error }: JobDetails): boolean {
  return state === 'delayed' && error !== null && isTargetFault(error.code);
}

function outcome(
  jobs: readonly JobDetails[],
  {
    shown,
    interrupted,
    options,
  }: { shown: JobView[]; interrupted: boolean; options: UploadOptions },
): number {
  const over = jobs.every(isOver);
  if (over || interrupted) {
    if (options.json) printJson(shown);
    if (over) return jobs.some(({ state }) => state === 'failed') ? 1 : 0;
    process.stderr.write('interrupted; the unfinished jobs stay queued\n');
    return 130;
  }
  const faults = jobs.filter(hasTargetFault).flatMap(({ error }) => error ?? []);
  if (options.json) {
    printJson({ error: faults[0] });
    return 3;
  }
  const said = new Set(faults.map(({ message, hint }) => `${message}\n  ${hint}\n`));
  for (const text of said) process.stderr.write(text);
  return 3;
}
