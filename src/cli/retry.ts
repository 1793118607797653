import { loadConfig } from '../config/load.ts';
import { classify, FerryError } from '../errors.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { bytes, type GlobalOptions, showJobs } from './output.ts';

export async function retry(
  ids: string[],
  options: GlobalOptions & { readonly failed?: boolean },
): Promise<number> {
  if (ids.length === 0 && !options.failed) {
    throw new FerryError('USAGE', 'which jobs? Name them, or say --failed');
  }
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    const failed = options.failed
      ? await ferry.list({ states: ['failed'], limit: Number.MAX_SAFE_INTEGER })
      : [];
    for (const id of new Set(ids)) sayWhatSurvives(await ferry.get(id));
    const jobs = await ferry.retry([...new Set(ids)]);
    for (const job of failed) {
      // What somebody has cancelled was not wanted any more.
      if (job.error?.code === 'CANCELLED' || ids.includes(job.id)) continue;
      jobs.push(...(await retryUnlessReplaced(ferry, job)));
    }
    showJobs(jobs, options);
    return 0;
  } finally {
    await ferry.close();
  }
}

/** Of all that have failed some may have been enqueued again since. */
async function retryUnlessReplaced(ferry: Ferry, job: JobDetails): Promise<JobDetails[]> {
  try {
    const jobs = await ferry.retry([job.id]);
    sayWhatSurvives(job);
    return jobs;
  } catch (error) {
    const failure = classify(error);
    if (failure.code !== 'USAGE') throw failure;
    process.stderr.write(`${job.name} is left alone: ${failure.message}\n`);
    return [];
  }
}

/** Beforehand: what of it need not be sent again. */
function sayWhatSurvives({ name, state, bytesOnServer, bytesTotal }: JobDetails): void {
  if (state !== 'failed' && state !== 'delayed') return;
  const text =
    bytesOnServer > 0
      ? `goes on: ${bytes(bytesOnServer)} of ${bytes(bytesTotal)} are on the server, unless it has ended the transfer meanwhile`
      : 'starts anew: nothing of it is on the server';
  process.stderr.write(`${name} ${text}\n`);
}
