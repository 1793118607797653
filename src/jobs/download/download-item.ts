import { join } from 'node:path';
import { isTaken, kindOf } from '../../destination/part-file.ts';
import { classify, FerryError } from '../../errors.ts';
import type { Receipt } from '../batch/ledger.ts';
import { MAX_RESTARTS } from '../budget.ts';
import type { Download, UploadResult } from '../upload-deps.ts';
import { begin, exists, finishFiles, nameFiles, removeFiles } from './destination.ts';
import { fetchPart } from './fetch-part.ts';
import { ItemLink } from './item-link.ts';
import { leaveOrWarn } from './leave-item.ts';
import { linkDeps } from './link-deps.ts';
import {
  descriptorName,
  type LocalPlan,
  type MemberDigests,
  pathOf,
  planOf,
} from './local-plan.ts';
import { openRemoteImage } from './remote-image.ts';

/**
 * Fetches an item of a catalog: enables it for download, reads its descriptor, fetches of each file what
 * the disk lacks, and gives the files their names when all of them are whole. First start and resume
 * are the same path, because each step first looks what there is (guide, "Download a vApp or vApp
 * Template as OVF", "Download a Media Image").
 */
export async function downloadItem(download: Download): Promise<UploadResult> {
  const { deps, request, context } = download;
  const { download: state, offer } = deps.checkpoint.current;
  if (state?.whole) {
    // Whatever has become of the item since: it is here.
    await nameFiles(download, state);
    return done(download, state.whole, { path: state.path, entityHref: offer?.entityHref });
  }
  const link = await ItemLink.find(linkDeps(download.deps), request, context);
  const { entity } = link;
  const kind = entity.kind === 'media' ? 'media' : 'ovf';
  // A media image's ending is only seen while it is enabled.
  const path = state?.path ?? pathOf(request, entity);
  await claimPath(download, path);
  const found = { catalogItem: link.itemHref, entity: entity.href, kind } as const;
  if (!state && (await isTaken(path))) {
    const isFolder = kind === 'ovf' && request.format === 'files';
    const { ifExists } = request;
    // The descriptor gets its name last: a folder without one is not whole.
    const proof = isFolder ? join(path, descriptorName(request)) : path;
    if (ifExists === 'skip' && (await kindOf(proof)) === 'file') {
      return { ...found, path, removedAt: null, warnings: [`skipped: ${path} is there already`] };
    }
    if (ifExists === 'fail' || ((await kindOf(path)) === 'folder') !== isFolder) throw exists(path);
  }
  const files = await fetchAll(download, link, { path, found });
  return done(download, { ...found, files }, { path, entityHref: entity.href });
}

/** @throws FerryError DESTINATION_EXISTS where another download makes the same; NAME_RESERVED to wait for it */
async function claimPath({ deps, request }: Download, path: string): Promise<void> {
  try {
    await deps.reservation.claim(`path:${path}`);
  } catch (error) {
    const { code, message } = classify(error);
    if (code !== 'NAME_TAKEN') throw error;
    throw new FerryError('DESTINATION_EXISTS', `${request.name}: ${message}, to ${path}`, {
      cause: error,
    });
  }
}

async function done(
  { deps, context }: Download,
  { files, ...found }: Found & { readonly files: Receipt['files'] },
  { path, entityHref }: { readonly path: string; readonly entityHref: string | undefined },
): Promise<UploadResult> {
  const warnings = entityHref === undefined ? [] : await leaveOrWarn(deps, entityHref, context);
  deps.meter.enter('done');
  return { ...found, path, removedAt: null, warnings, files };
}

type Found = Pick<UploadResult, 'catalogItem' | 'entity'> & { readonly kind: 'ovf' | 'media' };

/** Whatever a download that has come to nothing leaves: on the disk, and on the server. */
export async function cleanUpDownload(download: Download): Promise<void> {
  const { deps } = download;
  const { download: state } = deps.checkpoint.current;
  if (state) await removeFiles(download, state);
  await leaveOffer(download);
  await deps.checkpoint.save({ download: null, offer: null });
}

/** The item is not read from any more, for now. */
export async function leaveOffer({ deps, context, request }: Download): Promise<void> {
  const { offer } = deps.checkpoint.current;
  if (!offer) return;
  const warnings = await leaveOrWarn(deps, offer.entityHref, context);
  for (const warning of warnings) deps.log.warn({ name: request.name }, warning);
}

/** Begins anew where what came turned out to be wrong, or the server offers something else by now. */
async function fetchAll(
  download: Download,
  link: ItemLink,
  to: { readonly path: string; readonly found: Found },
): Promise<Receipt['files']> {
  const { deps, context, request } = download;
  for (;;) {
    try {
      return await fetchOnce(download, link, to);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = classify(error);
      const { restarts, download: state } = deps.checkpoint.current;
      if (!ANEW.has(failure.code) || restarts >= MAX_RESTARTS) throw failure;
      deps.log.warn({ name: request.name }, `${failure.message}; it is fetched anew`);
      deps.meter.restart();
      if (state) await removeFiles(download, state);
      await leaveOffer(download);
      const bytesLost = deps.meter.lost;
      await deps.checkpoint.save({
        restarts: restarts + 1,
        bytesLost,
        download: null,
        offer: null,
      });
    }
  }
}

const ANEW: ReadonlySet<string> = new Set(['SOURCE_CHANGED', 'DIGEST_MISMATCH']);

async function fetchOnce(
  download: Download,
  link: ItemLink,
  { path, found }: { readonly path: string; readonly found: Found },
): Promise<Receipt['files']> {
  const { deps, context, request } = download;
  deps.meter.enter('enabling');
  deps.line.free(); // vCD copies for as long as it takes
  await link.open();
  await deps.line.take(context.signal);
  deps.meter.enter('describing');
  const image = await openRemoteImage(link);
  try {
    deps.found(image.warnings);
    const begunAt = new Date(deps.checkpoint.current.download?.begunAt ?? Date.now());
    const plan = await planOf(request, image, { path, begunAt });
    deps.meter.expect(plan.files.map(({ name, source: { size } }) => ({ name, size })));
    await begin(download, plan, begunAt);
    deps.meter.enter('transferring');
    const digests = await fetchFiles(download, plan);
    const files = receivedFiles(plan, digests);
    await finishFiles(download, plan, { digests, result: { ...found, files } });
    return files;
  } finally {
    await image.close();
  }
}

/** Several files at once. */
async function fetchFiles(download: Download, plan: LocalPlan): Promise<MemberDigests> {
  const digests = new Map<string, readonly string[]>();
  const waiting = [...plan.files];
  await inLanes(download, async (own) => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      digests.set(file.name, await fetchPart(own, plan.folder, file));
    }
  });
  return plan.members.map(({ file, wish }) => digests.get(file)?.[wish] ?? '');
}

/** The first failure stops the others, and is the one that is told. */
async function inLanes(download: Download, work: (own: Download) => Promise<void>): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([download.context.signal, failed.signal]);
  const own: Download = { ...download, context: { ...download.context, signal } };
  const lanes = Array.from({ length: download.deps.settings.filesInParallel }, async () => {
    try {
      await work(own);
    } catch (error) {
      failed.abort(error);
    }
  });
  await Promise.all(lanes);
  download.context.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
}

function receivedFiles({ members }: LocalPlan, digests: MemberDigests): Receipt['files'] {
  return members.map(({ name, size, isVouchedFor }, i) => ({
    ...{ name, size, digest: `sha256:${digests[i]}`, verified: isVouchedFor },
  }));
}
