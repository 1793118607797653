import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { type JobDetails, openFerry } from '../index.ts';
import { bytes, type GlobalOptions, showJobs } from './output.ts';

interface RetryOptions extends GlobalOptions {
  readonly failed?: boolean;
  readonly batch?: string;
}

export async function retry(ids: string[], options: RetryOptions): Promise<number> {
  const { batch } = options;
  const failed = options.failed || batch !== undefined;
  if (ids.length === 0 && !failed) {
    throw new FerryError('USAGE', 'which jobs? Name them, or say --failed or --batch NAME');
  }
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    for (const job of await ferry.getMany([...new Set(ids)])) {
      if (job.state === 'failed' || job.state === 'delayed') sayWhatSurvives(job);
      if (job.state !== 'completed') continue;
      process.stderr.write(`${job.id} is completed: there is nothing to be tried again\n`);
    }
    const jobs = await ferry.retry([...new Set(ids)]);
    const others = failed ? await ferry.retryFailed({ batch }) : { jobs: [], replaced: [] };
    for (const job of others.jobs) sayWhatSurvives(job);
    for (const { name, id } of others.replaced) {
      process.stderr.write(`${name} is left alone: another job took the place of ${id}\n`);
    }
    showJobs([...jobs, ...others.jobs.filter(({ id }) => !ids.includes(id))], options);
    return 0;
  } finally {
    await ferry.close();
  }
}

/** What of it need not be sent again. */
function sayWhatSurvives({ name, operation, bytesOnServer, bytesTotal }: JobDetails): void {
  const where = operation === 'download' ? 'here' : 'on the server';
  const unless = operation === 'download' ? '' : ', unless it has ended the transfer meanwhile';
  const text =
    bytesOnServer > 0
      ? `goes on: ${bytes(bytesOnServer)} of ${bytes(bytesTotal)} are ${where}${unless}`
      : `starts anew: nothing of it is ${where}`;
  process.stderr.write(`${name} ${text}\n`);
}
