import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
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
      say(job.id, options); // ids alone on stdout: scripts read them
      if (job.existing) process.stderr.write(`${job.name} is there already (${job.state})\n`);
    }
    return 0;
  } finally {
    await ferry.close();
  }
}
