import { vdcView } from './jobs/deploy.ts';
import type { UploadRequest } from './jobs/job-request.ts';
import type { JobDetails } from './jobs/job-view.ts';
import { isSameHref } from './vcd/address.ts';
import type { VcdClient } from './vcd/client.ts';
import type { Listed } from './vcd/vdc.ts';

/** So long a producer waits for a target to answer; the worker has more time. */
const PATIENCE_MS = 10_000;

/** An upload that is asked for again, and the job that has done it. */
export interface DoneUpload {
  readonly request: UploadRequest;
  readonly job: JobDetails;
}

/**
 * Looks whether what was uploaded is still in its catalog: one look at each catalog, whatever number of
 * uploads asks for it.
 *
 * @param open lends a client of a target
 * @returns ids of the jobs whose items are not there, or may not be: where the target can't be asked from
 *   here, the worker looks before it sends anything
 */
export async function findGone(
  open: (target: string) => Promise<VcdClient>,
  done: readonly DoneUpload[],
  patienceMs = PATIENCE_MS,
): Promise<ReadonlySet<string>> {
  const catalogs = new Map<string, DoneUpload[]>();
  for (const one of done) {
    const { target, catalog, deploy } = one.request;
    const key = JSON.stringify([target, catalog, deploy !== null]);
    const known = catalogs.get(key);
    if (known) known.push(one);
    else catalogs.set(key, [one]);
  }
  const gone = new Set<string>();
  const silent = new Set<string>();
  for (const uploads of catalogs.values()) {
    const request = uploads[0]?.request as UploadRequest;
    // One that is away is waited for once, and does not use up the time of the others.
    const items = silent.has(request.target)
      ? undefined
      : await itemsIn(open, request, AbortSignal.timeout(patienceMs));
    if (items === undefined) silent.add(request.target);
    for (const { job } of uploads) {
      const own = job.result?.catalogItem ?? '';
      const found = items?.find(({ href }) => isSameHref(href, own));
      // Under another name it is not what is asked for.
      if (found?.name !== job.name) gone.add(job.id);
    }
  }
  return gone;
}

/** Undefined where that can't be told from here: without the secret, or while nobody answers. */
async function itemsIn(
  open: (target: string) => Promise<VcdClient>,
  { target, catalog, deploy }: UploadRequest,
  signal: AbortSignal,
): Promise<readonly Listed[] | undefined> {
  try {
    const vcd = await open(target);
    try {
      const view = deploy ? vdcView(vcd, deploy) : vcd;
      const { items } = await view.getCatalog(catalog, { signal, requestId: 'ovaferry-enqueue' });
      return items;
    } finally {
      vcd.close();
    }
  } catch {
    return undefined;
  }
}
