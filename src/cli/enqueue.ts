import { type Config, loadConfig } from '../config/load.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { isOver } from '../job-changes.ts';
import { queueOfJob } from '../jobs/names.ts';
import { type GlobalOptions, jobJson, placeOf, printJson, say } from './output.ts';
import { enqueueOptionsOf, ordersOf, type UploadOptions } from './sources.ts';
import { enqueueWithThen } from './then.ts';

export async function enqueue(args: string[], options: UploadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const orders = await ordersOf(args, options, config);
  const enqueueOptions = enqueueOptionsOf(options);
  if (options.dryRun) return (await import('./dry-run.ts')).dryRun(config, orders, options);
  return enqueueAndLeave(config, options, (ferry) =>
    enqueueWithThen(ferry, orders, { enqueueOptions, options, targets: config.targets }),
  );
}

/** Enqueues and returns at once. */
export async function enqueueAndLeave(
  config: Config,
  options: GlobalOptions,
  enqueueThem: (ferry: Ferry) => Promise<JobDetails[]>,
): Promise<number> {
  const ferry = await openFerry(config);
  try {
    await showEnqueued(ferry, await enqueueThem(ferry), options);
    return 0;
  } finally {
    await ferry.close();
  }
}

/** Says which jobs there are now, and which of them nobody works on. */
async function showEnqueued(
  ferry: Ferry,
  jobs: readonly JobDetails[],
  options: GlobalOptions,
): Promise<void> {
  if (options.json) printJson(jobs.map(jobJson));
  for (const job of options.json ? [] : jobs) {
    // Scripts read ids alone; people want to know which is which.
    say(process.stdout.isTTY ? `${job.id}  ${placeOf(job)}` : job.id, options);
    if (job.existing) process.stderr.write(`${job.name} is there already (${job.state})\n`);
  }
  for (const line of await unserved(ferry, jobs)) process.stderr.write(`${line}\n`);
}

/** Nothing goes on by itself where nobody works. */
async function unserved(ferry: Ferry, jobs: readonly JobDetails[]): Promise<string[]> {
  const open = jobs.filter((job) => !isOver(job));
  const lines: string[] = [];
  for (const queue of new Set(open.map(({ id }) => queueOfJob(id)))) {
    const { target, pool } = open.find(({ id }) => queueOfJob(id) === queue) as JobDetails;
    if (await ferry.isServed(target, pool ?? undefined)) continue;
    const which = pool === null ? 'ovaferry worker' : `ovaferry worker --pool ${pool}`;
    lines.push(`no worker takes the jobs of ${target} yet: start \`${which}\``);
  }
  return lines;
}
