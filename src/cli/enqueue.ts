import { loadConfig } from '../config/load.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { isOver } from '../job-changes.ts';
import { queueOfJob } from '../jobs/names.ts';
import { jobJson, printJson, say } from './output.ts';
import { enqueueOptionsOf, ordersOf, type UploadOptions } from './sources.ts';

export async function enqueue(args: string[], options: UploadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const orders = await ordersOf(args, options, config);
  const enqueueOptions = enqueueOptionsOf(options);
  if (options.dryRun) return (await import('./dry-run.ts')).dryRun(config, orders, options);
  const ferry = await openFerry(config);
  try {
    const jobs = await ferry.enqueue(orders, enqueueOptions);
    if (options.json) printJson(jobs.map(jobJson));
    for (const job of options.json ? [] : jobs) {
      // Scripts read ids alone; people want to know which is which.
      const place = `${job.name} → ${job.target}/${job.catalog}`;
      say(process.stdout.isTTY ? `${job.id}  ${place}` : job.id, options);
      if (job.existing) process.stderr.write(`${job.name} is there already (${job.state})\n`);
    }
    for (const line of await unserved(ferry, jobs)) process.stderr.write(`${line}\n`);
    return 0;
  } finally {
    await ferry.close();
  }
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
