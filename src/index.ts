import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { assertCopies, assertDownloads, assertOrders } from './check-orders.ts';
import { type Config, loadConfig } from './config/load.ts';
import { suggestion } from './config/suggest.ts';
import { type CopyOrder, toCopies } from './copy-orders.ts';
import { type DownloadOrder, toDownloads } from './download-orders.ts';
import { classify, FerryError } from './errors.ts';
import type { Ferry, FerryOptions, Retried } from './ferry.ts';
import { type ChangesQuery, JobWatch, jobChanges, jobsOf } from './job-changes.ts';
import type { Receipt } from './jobs/batch/ledger.ts';
import type { BatchState } from './jobs/batch/overview.ts';
import type { Brake } from './jobs/brakes.ts';
import type { EnqueueOptions, WantedUpload } from './jobs/enqueue.ts';
import type { JanitorDeps, Leftover } from './jobs/janitor.ts';
import type { JobDetails, JobState, JobView } from './jobs/job-view.ts';
import { INSTALLATION_KEY } from './jobs/names.ts';
import { type Counts, type PlannedUpload, UploadQueues } from './jobs/queue.ts';
import { QueueSet } from './jobs/queue-set.ts';
import { Reservations } from './jobs/reservations.ts';
import type { TargetState } from './jobs/target-states.ts';
import { findTarget, splitPlace } from './order-parts.ts';
import { toUploads, type UploadOrder } from './orders.ts';
import { askedOf, connectTo } from './redis-of.ts';

export { FerryError } from './errors.ts';
export type {
  BatchState,
  Brake,
  ChangesQuery,
  CopyOrder,
  Counts,
  DownloadOrder,
  EnqueueOptions,
  Ferry,
  FerryOptions,
  JobDetails,
  JobState,
  JobView,
  JobWatch,
  Leftover,
  PlannedUpload,
  Receipt,
  Retried,
  TargetState,
  UploadOrder,
};

/** Opens the queues for a program that produces uploads. The commands use nothing else. */
export function createFerry(options: FerryOptions = {}): Promise<Ferry> {
  return openFerry(loadConfig({ file: options.config, redis: options.redis }));
}

/** As `createFerry`, for a configuration that has been read already. */
export async function openFerry(config: Config): Promise<Ferry> {
  const redis = await connectTo(config, 'ovaferry');
  const asked = askedOf(config);
  const queues = new UploadQueues(redis);
  const closing = new AbortController();
  const looks: Pick<Ferry, 'getMany' | 'list' | 'jobsOfBatch' | 'batch'> = {
    getMany: (ids) => asked(() => queues.getMany(ids)),
    list: (query) => asked(() => queues.list(query)),
    jobsOfBatch: (name) => asked(() => queues.jobsOfBatch(name)),
    async batch(name) {
      const limits = await config.limits();
      return asked(() => queues.batch(name, limits)).catch(async (error: unknown) => {
        if (classify(error).code !== 'BATCH_NOT_FOUND') throw error;
        const meant = suggestion(name, await asked(() => queues.batchNames()));
        throw new FerryError('BATCH_NOT_FOUND', `there is no batch ${name}${meant}`, {
          facts: { batch: name },
        });
      });
    },
  };
  const { getMany, list, jobsOfBatch, batch } = looks;
  const untilClosed = (query: ChangesQuery): ChangesQuery => ({
    ...query,
    signal: AbortSignal.any([closing.signal, ...(query.signal ? [query.signal] : [])]),
  });
  /** What was uploaded once and is gone is uploaded again. */
  const withoutGone = async (
    uploads: readonly WantedUpload[],
    enqueueOptions?: EnqueueOptions,
  ): Promise<readonly WantedUpload[]> => {
    const standing = await asked(() => queues.standing(uploads, enqueueOptions));
    const done = uploads.flatMap(({ request }, i) => {
      const job = standing[i];
      return job?.state === 'completed' ? [{ request, job }] : [];
    });
    if (done.length === 0) return uploads;
    // Loaded by those commands alone that speak to a target: the others are to start at once.
    const { findGone } = await import('./still-there.ts');
    const { createClient } = await import('./targets.ts');
    const gone = await findGone((target) => createClient(() => config, target), done);
    return againWhere(gone, uploads, standing);
  };
  return {
    async enqueue(orders, enqueueOptions) {
      assertOrders(orders, enqueueOptions);
      const uploads = await toUploads(orders, config.targets);
      const wanted = await withoutGone(uploads, enqueueOptions);
      return asked(() => queues.enqueue(wanted, enqueueOptions));
    },
    async download(orders, enqueueOptions) {
      assertDownloads(orders, enqueueOptions);
      const downloads = await toDownloads(orders, config.targets);
      const standing = await asked(() => queues.standing(downloads));
      // What was fetched once and is gone is fetched again. Only this machine's disks can be looked at.
      const done = standing.filter((job) => job?.state === 'completed' && job.pool === null);
      const ids = done.flatMap((job) => job?.id ?? []);
      const receipts = await asked(() => queues.receipts(ids));
      const gone = new Set(ids.filter((_id, i) => isGone(receipts[i])));
      const wanted = againWhere(gone, downloads, standing);
      return asked(() => queues.enqueue(wanted, enqueueOptions));
    },
    async copy(orders, enqueueOptions) {
      assertCopies(orders, enqueueOptions);
      const copies = await toCopies(orders, config.targets);
      const wanted = await withoutGone(copies, enqueueOptions);
      return asked(() => queues.enqueue(wanted, enqueueOptions));
    },
    async standing(orders, enqueueOptions) {
      assertOrders(orders, enqueueOptions);
      const uploads = await toUploads(orders, config.targets);
      const wanted = await withoutGone(uploads, enqueueOptions);
      return asked(() => queues.standing(wanted, enqueueOptions));
    },
    brakes: () => asked(() => queues.brakes()),
    async resume(target) {
      findTarget(target, config.targets);
      return asked(() => queues.resume(target));
    },
    async leftovers(place, signal = new AbortController().signal) {
      const { findLeftovers } = await import('./jobs/janitor.ts');
      const { deps, catalogs } = await janitorOf(config, redis, place);
      try {
        const wanted =
          catalogs ?? (await deps.vcd.listCatalogs({ signal })).map(({ name }) => name);
        return await asked(() => findLeftovers(deps, wanted, { signal }));
      } finally {
        deps.vcd.close();
      }
    },
    async removeLeftovers(place, leftovers, signal = new AbortController().signal) {
      const { removeLeftover } = await import('./jobs/janitor.ts');
      const { deps } = await janitorOf(config, redis, place);
      try {
        for (const leftover of leftovers) await removeLeftover(deps, leftover, { signal });
      } finally {
        deps.vcd.close();
      }
    },
    get: (id) => asked(() => queues.get(id)),
    getMany,
    list,
    async targets() {
      const limits = await config.limits();
      return asked(() => queues.targets(limits));
    },
    async forecast(uploads) {
      const limits = await config.limits();
      const ends = await asked(() => queues.forecast(uploads, limits));
      return ends.map((end) => (end === undefined ? undefined : new Date(end)));
    },
    async batches(atMost) {
      const limits = await config.limits();
      return asked(() => queues.batches(limits, atMost));
    },
    batch,
    jobsOfBatch,
    changes: (query = {}) => jobChanges(looks, untilClosed(query)),
    watch: (query = {}) => new JobWatch(looks, untilClosed(query)),
    receipts: (ids) => asked(() => queues.receipts(ids)),
    counts: (targets) => asked(() => queues.counts(targets)),
    retry: (ids) => asked(() => queues.retry(ids)),
    async retryFailed({ batch: name } = {}) {
      const all =
        name === undefined
          ? await list({ states: ['failed'], limit: Number.MAX_SAFE_INTEGER })
          : await jobsOf(looks, name);
      return asked(() => retryUnlessReplaced(queues, all));
    },
    noteRemoved: (id, catalogItem) => asked(() => queues.noteRemoved(id, catalogItem)),
    requestCancel: (ids) => asked(() => queues.requestCancel(ids)),
    isServed: (target, pool) => asked(() => queues.isServed(target, pool)),
    async close() {
      closing.abort(); // whoever follows jobs is done
      await queues.close();
      redis.disconnect();
    },
  };
}

/** Whether something of what a download has made is not there any more, or is not as it was. */
function isGone(receipt: Receipt | undefined): boolean {
  const { path, files = [] } = receipt ?? {};
  if (!path) return false;
  const sizeOf = (file: string): number | undefined =>
    statSync(file, { throwIfNoEntry: false })?.size;
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    // An archive has more than its files; what has less was cut.
    const least = files.reduce((sum, { size }) => sum + size, 0);
    return (sizeOf(path) ?? -1) < least;
  }
  return files.some(({ name, size }) => sizeOf(join(path, name)) !== size);
}

/** Of all that have failed some may have been enqueued again since. */
async function retryUnlessReplaced(
  queues: UploadQueues,
  all: readonly JobDetails[],
): Promise<Retried> {
  const jobs: JobDetails[] = [];
  const replaced: JobDetails[] = [];
  for (const job of all) {
    // What somebody has cancelled was not wanted any more.
    if (job.state !== 'failed' || job.error?.code === 'CANCELLED') continue;
    try {
      jobs.push(...(await queues.retry([job.id])));
    } catch (error) {
      if (classify(error).code !== 'USAGE') throw error;
      replaced.push(job);
    }
  }
  return { jobs, replaced };
}

/** What stands for an order, and has gone since, is done once more. */
function againWhere<T extends { readonly again?: boolean | undefined }>(
  gone: ReadonlySet<string>,
  wanted: readonly T[],
  standing: readonly (JobDetails | null | undefined)[],
): readonly T[] {
  return wanted.map((one, i) => (gone.has(standing[i]?.id ?? '') ? { ...one, again: true } : one));
}

async function janitorOf(
  config: Config,
  redis: Redis,
  place: string,
): Promise<{ deps: JanitorDeps; catalogs: readonly string[] | undefined }> {
  // Loaded by those commands alone that speak to a target: the others are to start at once.
  const { createClient } = await import('./targets.ts');
  const { target, catalog } = splitPlace(place);
  findTarget(target, config.targets);
  const queues = new QueueSet(redis);
  const installation = await askedOf(config)(() => redis.get(INSTALLATION_KEY));
  return {
    deps: {
      vcd: await createClient(() => config, target),
      queues,
      reservations: new Reservations(redis, queues),
      targets: [...config.targets.keys()],
      installation: installation ?? '',
    },
    catalogs: catalog === undefined ? undefined : [catalog],
  };
}
