import type { Config } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import type { CopyOrder, EnqueueOptions, Ferry, JobDetails, UploadOrder } from '../index.ts';
import { placeOf } from '../order-parts.ts';
import type { UploadOptions } from './sources.ts';

/**
 * Enqueues uploads, and for each the copies that go on from where it arrives: what crosses a slow line
 * crosses it once.
 *
 * @throws FerryError USAGE
 */
export async function enqueueWithThen(
  ferry: Ferry,
  orders: readonly UploadOrder[],
  {
    enqueueOptions,
    options,
    targets,
  }: { enqueueOptions: EnqueueOptions; options: UploadOptions; targets: Config['targets'] },
): Promise<JobDetails[]> {
  const { then = [] } = options;
  if (then.length === 0) return ferry.enqueue(orders, enqueueOptions);
  if (new Set(orders.map(({ to }) => to)).size > 1) {
    throw new FerryError('USAGE', '--then goes on from one place: say --to once', {
      hint: 'The first target is --to; all others are --then.',
    });
  }
  // What is wrong with them is said before anything is enqueued.
  for (const to of then) placeOf(to, targets);
  const jobs = await ferry.enqueue(orders, enqueueOptions);
  const copies = jobs.flatMap((job) => then.map((to) => copyOf(job, to, options)));
  return [...jobs, ...(await ferry.copy(copies, enqueueOptions))];
}

function copyOf(
  { id, target, catalog, name, batch, bytesTotal }: JobDetails,
  to: string,
  { ifExists, keepFailed, storageProfile }: UploadOptions,
): CopyOrder {
  return {
    ...{ item: `${target}/${catalog}/${name}`, to, after: id, pull: true },
    ...{ ifExists, keepFailed, storageProfile, expectedBytes: bytesTotal },
    ...(batch === null ? {} : { batch }),
  };
}
