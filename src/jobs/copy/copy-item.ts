import { createHash } from 'node:crypto';
import { classify, FerryError, isTargetFault } from '../../errors.ts';
import type { OpenImage } from '../../ovf/image.ts';
import { isSameHref, pathOf } from '../../vcd/address.ts';
import { MAX_RESTARTS } from '../budget.ts';
import { cleanUp } from '../clean-up.ts';
import { ItemLink } from '../download/item-link.ts';
import { leaveOrWarn } from '../download/leave-item.ts';
import { type LinkDeps, linkDeps } from '../download/link-deps.ts';
import { openRemoteImage } from '../download/remote-image.ts';
import { finish } from '../finish.ts';
import { findSame } from '../judge-item.ts';
import { CONTENT_KEY, withoutMarkAtEnd } from '../mark.ts';
import { startAnew } from '../start-anew.ts';
import { uploadByPull } from '../upload-by-pull.ts';
import type { OpenUpload, UploadDeps, UploadResult } from '../upload-deps.ts';
import { uploadMedia } from '../upload-media.ts';
import { uploadPackage } from '../upload-package.ts';
import type { Copy } from './copy.ts';
import { copyOnServer } from './copy-on-server.ts';

/**
 * Copies an item to another catalog: within one vCD by its own copy; between two, the ranges of one are
 * the source of the upload to the other, and nothing lies on a disk in between. As for any upload, how
 * much has arrived the server says, so that it goes on from there on both sides.
 */
export async function copyItem(copy: Copy): Promise<UploadResult> {
  const { request, context } = copy;
  await assertAfter(copy);
  const source = await sourceOf(copy);
  const link = await asSource(ItemLink.find(source, request.from, context), request.from.target);
  const contentKey = await contentKeyOf(source.vcd, link, copy);
  await assertOther(copy, source.vcd, link);
  const described = { ...withDescription(copy, link), contentKey };
  // Before anything is enabled, which costs the source's server a copy of all there is.
  const there = await findSame(described);
  const way = there ? 'none' : await wayOf(copy, source.vcd, link);
  if (way === 'server') return copyOnServer(described, link);
  const result = there ?? (await untilCopied(described, link));
  const warnings = await leaveSource(copy);
  return { ...result, warnings: [...result.warnings, ...warnings] };
}

/** Begins anew where the source has become another meanwhile. */
async function untilCopied(
  copy: Copy & { readonly contentKey: string },
  link: ItemLink,
): Promise<UploadResult> {
  const { deps, context } = copy;
  for (;;) {
    try {
      return await copyByRanges(copy, link);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = classify(error);
      const { restarts } = deps.checkpoint.current;
      if (failure.code !== 'SOURCE_CHANGED' || restarts >= MAX_RESTARTS) throw failure;
      await startAnew(copy, failure);
      await leaveSource(copy);
    }
  }
}

/**
 * Ends the reading from the source, after the copy's end or when it is given up.
 *
 * @returns warnings: nothing of it keeps a copy from its end
 */
export async function leaveSource(copy: Copy): Promise<string[]> {
  const { deps, context, request } = copy;
  const { offer } = deps.checkpoint.current;
  if (!offer) return [];
  let warnings: string[];
  try {
    warnings = await leaveOrWarn(await sourceOf(copy), offer.entityHref, context);
  } catch (error) {
    context.signal.throwIfAborted();
    warnings = [`the source is still enabled for download: ${classify(error).message}`];
  }
  for (const warning of warnings) deps.log.warn({ name: request.name }, warning);
  await deps.checkpoint.save({ offer: null });
  return warnings;
}

async function copyByRanges(
  copy: Copy & { readonly contentKey: string },
  link: ItemLink,
): Promise<UploadResult> {
  const { deps, context, contentKey, request } = copy;
  deps.meter.enter('enabling');
  deps.line.free(); // the source's server copies for as long as it takes
  const { target } = request.from;
  await asSource(link.open(), target);
  if (mayBePulled(copy, link)) {
    const pulled = await tryToPull(copy, link);
    if (pulled) return pulled;
  }
  await deps.line.take(context.signal);
  const image: OpenImage = await asSource(openRemoteImage(link), target);
  try {
    deps.found(image.warnings);
    const upload: OpenUpload = {
      ...copy,
      content: image.fingerprint,
      contentKey,
      sampleKey: undefined,
    };
    return await (image.kind === 'ovf' ? uploadPackage(upload, image) : uploadMedia(upload, image));
  } finally {
    await image.close();
  }
}

/** What has been begun by our own hand goes on so. */
function mayBePulled({ deps, request }: Copy, link: ItemLink): boolean {
  const { item, creating, pullRefused } = deps.checkpoint.current;
  if (!request.from.pull || pullRefused || link.entity.kind === 'media') return false;
  return (item === null && !creating) || deps.checkpoint.current.isPulled;
}

/**
 * Lets the other server fetch it by itself.
 *
 * @returns undefined where it can't: it may not reach the source, or not trust it
 */
async function tryToPull(
  copy: Copy & { readonly contentKey: string },
  link: ItemLink,
): Promise<UploadResult | undefined> {
  const { deps, request } = copy;
  await deps.checkpoint.save({ isPulled: true });
  const path = link.entity.download.descriptorHref ?? '';
  const pulled = { ...copy, request: { ...request, path, pull: true } };
  // Its address is another each time, and a secret.
  const content = createHash('sha256').update(copy.contentKey).digest('base64url');
  try {
    return await uploadByPull(pulled, content);
  } catch (error) {
    copy.context.signal.throwIfAborted();
    const failure = classify(error);
    if (!NOT_PULLED.has(failure.code)) throw failure;
    deps.log.warn(
      { name: request.name },
      `${request.target} does not fetch it by itself; this worker sends it`,
    );
    const ready = await cleanUp(pulled);
    if (ready) return finish(pulled, ready.item, ready.entity);
    await deps.checkpoint.save({ isPulled: false, pullRefused: true });
    return undefined;
  }
}

const NOT_PULLED: ReadonlySet<string> = new Set([
  'IMPORT_REJECTED',
  'IMPORT_FAILED',
  'VCD_REJECTED',
]);

/** Two targets may be two ways to one catalog. @throws FerryError NAME_TAKEN */
async function assertOther(
  { deps, request, context }: Copy,
  source: LinkDeps['vcd'],
  link: ItemLink,
): Promise<void> {
  if (source.origin !== deps.vcd.origin) return;
  const { items } = await deps.vcd.getCatalog(request.catalog, context);
  const holder = items.find(({ name }) => name === request.name);
  if (!holder || !isSameHref(holder.href, link.itemHref)) return;
  throw new FerryError('NAME_TAKEN', `${request.name} would be replaced by a copy of itself`);
}

/** By the server's own hand within one vCD, where this login sees both, and nothing else is asked for. */
async function wayOf(
  { deps, request, context }: Copy,
  source: LinkDeps['vcd'],
  link: ItemLink,
): Promise<'server' | 'ranges'> {
  if (source.origin !== deps.vcd.origin || request.storageProfile !== null) return 'ranges';
  const { copyHref } = await deps.vcd.getCatalog(request.catalog, context);
  if (copyHref === undefined || deps.checkpoint.current.offer) return 'ranges';
  try {
    await deps.vcd.getItem(link.itemHref, context);
    return 'server';
  } catch (error) {
    if (classify(error).code === 'ITEM_GONE') return 'ranges'; // not to be seen: another organisation's
    throw error;
  }
}

/** @throws FerryError SOURCE_PENDING while the job that brings it there is under way; ITEM_NOT_FOUND */
async function assertAfter({ deps, request }: Copy): Promise<void> {
  const { after, target, catalog, name } = request.from;
  if (after === null) return;
  // What has the name there otherwise is not what was to be copied.
  if (await deps.reservation.hasFailed(after)) {
    throw new FerryError(
      'ITEM_NOT_FOUND',
      `job ${after}, which was to bring it there, has failed`,
      {
        facts: { job: after },
        hint: `\`ovaferry retry ${after}\` first, then retry this one.`,
      },
    );
  }
  if (!(await deps.reservation.isUnderWay(after))) return;
  throw new FerryError(
    'SOURCE_PENDING',
    `job ${after} has not brought ${name} to ${target}/${catalog} yet`,
    { facts: { job: after } },
  );
}

/**
 * Names what the item holds: as the upload noted it that made it, else by what the server says of it. An
 * item that is edited has another version.
 */
async function contentKeyOf(
  vcd: LinkDeps['vcd'],
  link: ItemLink,
  { context, deps }: Copy,
): Promise<string> {
  const { href } = link.entity;
  const notes = await deps
    .newPatience()
    .repeat(() => vcd.getMetadata(href, context), context.signal)
    .catch((error: unknown) => {
      if (classify(error).kind !== 'permanent') throw error;
      return new Map<string, string>(); // who may not see notes has none
    });
  const noted = notes.get(CONTENT_KEY);
  if (noted !== undefined) return noted;
  const state = [pathOf(href), link.version, link.entity.created, link.entity.media?.size];
  return `v1:${createHash('sha256').update(JSON.stringify(state)).digest('hex')}`;
}

/** The source's own, unless another was asked for. */
function withDescription(copy: Copy, link: ItemLink): Copy {
  const { request } = copy;
  if (request.description !== '') return copy;
  // Whose that one is is not for the copy to say.
  const description = withoutMarkAtEnd(link.entity.description);
  return { ...copy, request: { ...request, description } };
}

/** What reading the source takes: faults of its target are not those of ours. */
async function sourceOf({ deps, request }: Copy): Promise<LinkDeps> {
  const { target } = request.from;
  return linkDeps(deps, translated(await asSource(deps.source(target), target), target));
}

function translated(vcd: UploadDeps['vcd'], target: string): UploadDeps['vcd'] {
  return new Proxy(vcd, {
    get(of, key) {
      const value: unknown = Reflect.get(of, key, of);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => asSource(Promise.resolve(value.apply(of, args)), target);
    },
  });
}

/** What goes wrong at the source is not the fault of the target that it goes to. */
async function asSource<T>(asking: Promise<T>, target: string): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    const failure = classify(error);
    const isRejected = failure.code === 'VCD_REJECTED';
    const isBusy = failure.code === 'TARGET_BUSY';
    if (!isRejected && !isBusy && !isTargetFault(failure.code)) throw failure;
    const code = isRejected ? 'SOURCE_UNREADABLE' : 'SOURCE_UNREACHABLE';
    throw new FerryError(code, `the source ${target}: ${failure.message}`, {
      cause: failure,
      hint: failure.hint,
      facts: { target },
    });
  }
}
