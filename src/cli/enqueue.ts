import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
import { jobJson, jobLine, printJson, say } from './output.ts';
import { enqueueOptionsOf, ordersOf, type UploadOptions } from './sources.ts';

export async function enqueue(args: string[], options: UploadOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const orders = await ordersOf(args, options);
  const enqueueOptions = enqueueOptionsOf(options);
  const ferry = await openFerry(config);
  try {
    const jobs = await ferry.enqueue(orders, enqueueOptions);
    if (options.json) printJson(jobs.map(jobJson));
    for (const job of options.json ? [] : jobs) {
      say(job.existing ? `${jobLine(job, options.color)} (existing)` : job.id, options);
    }
    return 0;
  } finally {
    await ferry.close();
  }
}
