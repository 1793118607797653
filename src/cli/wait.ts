import type { Config } from '../config/load.ts';
import { isTargetFault } from '../errors.ts';
import { type Brake, type Ferry, type JobDetails, type JobView, openFerry } from '../index.ts';
import { followJobs, isOver } from '../job-changes.ts';
import type { JobError } from '../jobs/job-data.ts';
import { type GlobalOptions, jobJson, printJson } from './output.ts';
import { OwnWorker } from './own-worker.ts';
import { createProgressDisplay } from './progress.ts';
import { interruption, unlessInterrupted } from './signals.ts';

/**
 * Enqueues, shows progress, and waits for the end; works itself where nobody else does.
 *
 * @param done what is said of a job that was done before
 * @returns the exit status
 */
export async function enqueueAndWait(
  config: Config,
  options: GlobalOptions,
  {
    enqueue,
    done,
  }: {
    readonly enqueue: (ferry: Ferry) => Promise<JobDetails[]>;
    readonly done: (job: JobDetails) => string;
  },
): Promise<number> {
  const ferry = await openFerry(config);
  const own = new OwnWorker(ferry, config, options);
  const interrupt = interruption();
  const display = createProgressDisplay(options);
  try {
    let jobs = await unlessInterrupted(enqueue(ferry), interrupt.signal);
    const existing = new Set(jobs.filter((job) => job.existing).map(({ id }) => id));
    const ids = [...new Set(jobs.map(({ id }) => id))];
    for (const job of jobs.filter((one) => one.existing && one.state === 'completed')) {
      process.stderr.write(`${done(job)}\n`);
    }
    // What waits to be tried again is tried now, and its target: whoever asks may have mended it.
    const waiting = jobs.filter(({ state, error }) => state === 'waiting' || error !== null);
    await ferry.retry([...new Set(waiting.filter((job) => !isOver(job)).map(({ id }) => id))]);
    let faults: JobError[] = [];
    for await (jobs of followJobs(ferry, ids, interrupt.signal)) {
      display.show(jobs);
      faults = await faultsOf(ferry, jobs);
      if (faults.length > 0) break;
      if (!interrupt.signal.aborted) await own.standIn(jobs);
    }
    display.close();
    const shown = jobs.map((job) => jobJson({ ...job, existing: existing.has(job.id) }));
    return outcome(jobs, { shown, faults, interrupted: interrupt.signal.aborted, options });
  } finally {
    interrupt.close();
    await own.stop();
    await ferry.close();
  }
}

/**
 * What somebody has to mend before anything of these jobs goes on, which stay queued; empty while
 * there is one that does.
 */
async function faultsOf(ferry: Ferry, jobs: readonly JobDetails[]): Promise<JobError[]> {
  const open = jobs.filter((job) => !isOver(job));
  if (open.length === 0 || open.some(({ state }) => state === 'active')) return [];
  const brakes = await ferry.brakes().catch(() => new Map<string, Brake>());
  const faults = open.map((job): JobError | undefined => {
    const { state, error, target } = job;
    if (state === 'delayed' && error !== null && isTargetFault(error.code)) return error;
    const brake = brakes.get(target);
    return brake && { ...brake, permanent: false };
  });
  return faults.every((fault) => fault !== undefined) ? faults : [];
}

function outcome(
  jobs: readonly JobDetails[],
  {
    shown,
    faults,
    interrupted,
    options,
  }: { shown: JobView[]; faults: JobError[]; interrupted: boolean; options: GlobalOptions },
): number {
  const over = jobs.every(isOver);
  if (over || interrupted) {
    if (options.json) printJson(shown);
    if (over) return jobs.some(({ state }) => state === 'failed') ? 1 : 0;
    process.stderr.write('interrupted; the unfinished jobs stay queued\n');
    return 130;
  }
  if (options.json) {
    const { code, message, permanent, hint } = faults[0] as JobError;
    printJson({ error: { code, message, permanent, hint } });
    return 3;
  }
  const said = new Set(faults.map(({ message, hint }) => `${message}\n  ${hint}\n`));
  for (const text of said) process.stderr.write(text);
  return 3;
}
