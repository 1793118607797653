import { classify, FerryError } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import type { CatalogState } from '../vcd/catalog.ts';
import type { ItemReference } from '../vcd/item.ts';
import { chooseStorage } from './choose-storage.ts';
import { getBegunCatalog } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { mayReplace, maySkip } from './job-request.ts';
import {
  CONTENT_KEY,
  findMark,
  interimName,
  isOfContent,
  markText,
  ownerText,
  UPLOAD_KEY,
} from './mark.ts';
import { takeName } from './replace.ts';
import { pause } from './retry.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';

/** What is to be made; how differs between templates and media. */
export type CreateItem = (
  catalog: CatalogState,
  item: {
    readonly name: string;
    readonly description: string;
    readonly storageProfileHref: string | undefined;
  },
) => Promise<ItemReference>;

/** The item to fill, or what makes filling one needless. */
export type Claim =
  | { readonly item: OwnItem; readonly isNew: boolean }
  | { readonly there: UploadResult };

/**
 * The item that this job began, or a new one.
 *
 * Intent before action: that a request is about to create something is saved first, and the request
 * carries our mark, so that after a crash or a lost reply the leftover is found and adopted, even
 * where nothing is remembered. An item is never taken for ours by name, owner or time.
 *
 * @param bytes that the item will take at least
 */
export async function claimItem(
  upload: OpenUpload,
  bytes: number,
  create: CreateItem,
): Promise<Claim> {
  const { deps, context } = upload;
  const { item, content } = deps.checkpoint.current;
  const patience = deps.newPatience();
  if (item) {
    if (content !== null) assertSameContent(content === upload.content);
    await patience.repeat(() => claimName(upload), context.signal);
    return { item, isNew: false };
  }
  deps.meter.enter('creating');
  for (;;) {
    try {
      return await claimOnce(upload, bytes, create);
    } catch (error) {
      const failure = classify(error);
      const isOfServer = failure.code === 'NAME_TAKEN' && failure.facts['status'] !== undefined;
      // Taken by ourselves, perhaps: the reply to an earlier request may have been lost.
      if (isOfServer && (await findOwn(upload))) {
        await pause(deps.settings.pollFirstMs, context.signal);
        continue;
      }
      await patience.afterFailure(failure, context.signal);
    }
  }
}

/** Before anything else, also for an item that has been begun: another job may be at its name. */
async function claimName(upload: OpenUpload): Promise<CatalogState> {
  const { deps, request, context } = upload;
  const catalog = deps.checkpoint.current.item
    ? await getBegunCatalog(upload)
    : await deps.vcd.getCatalog(request.catalog, context);
  await deps.reservation.claim(catalog.urn);
  return catalog;
}

async function claimOnce(upload: OpenUpload, bytes: number, create: CreateItem): Promise<Claim> {
  const { deps, request } = upload;
  const catalog = await claimName(upload);
  const holder = catalog.items.find(({ name }) => name === request.name);
  const own = await findOwn(upload, catalog);
  if (own) {
    if (holder && !isSameHref(holder.href, own.itemHref)) {
      await rememberReplaced(upload, own, holder.href);
    }
    return { item: await remember(upload, own), isNew: false };
  }
  const there = holder && (await judge(upload, holder.href));
  if (there) return { there };

  const storageProfileHref = await chooseStorage(upload, bytes);
  await deps.checkpoint.save({ creating: true, retried: false, content: upload.content });
  deps.assertOwned();
  const replaces = holder && idOf(holder.href);
  const mark = markText({ ...upload.owner, content: upload.content, replaces });
  const made = await create(catalog, {
    name: holder || request.pull ? interimName(request, upload.owner) : request.name,
    description: [request.description, mark].filter((part) => part !== '').join('\n'),
    storageProfileHref,
  });
  return { item: await remember(upload, made), isNew: true };
}

/**
 * Decides about an item that has the name already.
 *
 * @returns the result if it is what was wanted; undefined if it is to be replaced
 * @throws FerryError NAME_TAKEN
 */
async function judge(upload: OpenUpload, href: string): Promise<UploadResult | undefined> {
  const { deps, request, context, owner, contentKey } = upload;
  const item = await deps.vcd.getItem(href, context);
  const { itemHref, entityHref } = item;
  const notes = await metadataOf(upload, entityHref);
  const result = (warnings: readonly string[]): Promise<UploadResult> =>
    resultOf(upload, item, warnings);
  if (notes.get(UPLOAD_KEY) === ownerText(owner)) {
    // Ours, and ready: a run before this one came that far.
    const own = { itemHref, entityHref, taskHref: null };
    const warnings = mayReplace(request) ? await takeName(upload, own) : [];
    return result(warnings);
  }
  const isSame = contentKey !== undefined && notes.get(CONTENT_KEY) === contentKey;
  if (maySkip(request) && isSame) {
    return result([SKIPPED]);
  }
  const mark = findMark(item.description);
  const leftover = mark?.installation === owner.installation;
  if (leftover && (await deps.reservation.isLiving(mark.jobId))) {
    // What has failed and was kept there waits for a person; so waiting for it would be for ever.
    const isWorthWaiting =
      request.ifExists !== 'fail' && (await deps.reservation.isUnderWay(mark.jobId));
    const code = isWorthWaiting ? 'NAME_RESERVED' : 'NAME_TAKEN';
    throw new FerryError(code, `job ${mark.jobId} has begun the item ${request.name} there`, {
      facts: { job: mark.jobId },
      hint: `\`ovaferry retry ${mark.jobId}\` goes on with it if it has failed, \`ovaferry cancel\` removes it.`,
    });
  }
  const { replaces } = deps.checkpoint.current;
  // Only what was seen at the start may be replaced, however often the upload is begun anew.
  if (mayReplace(request) && (!replaces || isSameHref(replaces.itemHref, itemHref))) {
    await deps.checkpoint.save({ replaces: { itemHref, entityHref } });
    return undefined;
  }
  throw new FerryError('NAME_TAKEN', `${request.catalog} has an item ${request.name} already`, {
    facts: { catalog: request.catalog, name: request.name },
    ...(leftover
      ? { hint: `It is what an upload left behind: \`ovaferry janitor ${request.target}\`.` }
      : {}),
  });
}

const SKIPPED = 'skipped: an item of this name has the same content already';

/** The item of the name, where it holds the same, and that is enough. */
export async function findSame(
  upload: Upload & { readonly contentKey: string },
): Promise<UploadResult | undefined> {
  const { deps, request, context, contentKey } = upload;
  // What has been begun is gone on with.
  if (!maySkip(request) || deps.checkpoint.current.item) return undefined;
  const { items } = await deps.vcd.getCatalog(request.catalog, context);
  const holder = items.find(({ name }) => name === request.name);
  if (!holder) return undefined;
  const item = await deps.vcd.getItem(holder.href, context);
  const notes = await metadataOf(upload, item.entityHref);
  return notes.get(CONTENT_KEY) === contentKey ? resultOf(upload, item, [SKIPPED]) : undefined;
}

async function resultOf(
  { deps, context }: Upload,
  { itemHref, entityHref }: ItemReference,
  warnings: readonly string[],
): Promise<UploadResult> {
  const { lease } = await deps.vcd.getEntity(entityHref, context);
  const removedAt = lease?.ends ?? null;
  return { catalogItem: itemHref, entity: entityHref, removedAt, warnings };
}

async function metadataOf(
  { deps, context }: Upload,
  entityHref: string,
): Promise<ReadonlyMap<string, string>> {
  try {
    return await deps.vcd.getMetadata(entityHref, context);
  } catch (error) {
    const { kind, code } = classify(error);
    // Who may not see notes has none of ours.
    if (kind !== 'permanent' && code !== 'ITEM_GONE') throw error;
    return new Map();
  }
}

async function remember(
  upload: OpenUpload,
  { itemHref, entityHref }: ItemReference,
): Promise<OwnItem> {
  const item: OwnItem = { itemHref, entityHref, taskHref: null };
  await upload.deps.checkpoint.save({ item, content: upload.content });
  return item;
}

/** The item that ours was begun beside; what is called so now may be another. */
async function rememberReplaced(
  { deps, context }: OpenUpload,
  own: ItemReference,
  href: string,
): Promise<void> {
  if (deps.checkpoint.current.replaces || findMark(own.description)?.replaces !== idOf(href))
    return;
  const { itemHref, entityHref } = await deps.vcd.getItem(href, context);
  await deps.checkpoint.save({ replaces: { itemHref, entityHref } });
}

function idOf(href: string): string {
  return href.slice(href.lastIndexOf('/') + 1);
}

function assertSameContent(same: boolean): void {
  if (same) return;
  throw new FerryError(
    'SOURCE_CHANGED',
    'a file of the package was changed since its upload began',
  );
}

/**
 * The unfinished item that this job began, by the mark in its description. One of a job that this
 * Redis does not know any more is ours as well, if it is of the very same files.
 */
export async function findOwn(
  upload: Upload & { readonly content?: string },
  seen?: CatalogState,
): Promise<ItemReference | undefined> {
  const { deps, request, context, owner, content } = upload;
  const catalog = seen ?? (await deps.vcd.getCatalog(request.catalog, context));
  const names = [request.name, interimName(request, owner)];
  for (const { name, href } of [...catalog.items, ...catalog.loose]) {
    if (!names.includes(name)) continue;
    const item = await deps.vcd.getItem(href, context);
    // A server that fetches a package by itself writes over our mark; but nobody else has that name.
    if (request.pull && name === interimName(request, owner)) return item;
    const mark = findMark(item.description);
    if (mark?.installation !== owner.installation) continue;
    const isOwn = mark.jobId === owner.jobId;
    if (!isOwn && (content === undefined || !isOfContent(mark, content))) continue;
    if (!isOwn && (await deps.reservation.isLiving(mark.jobId))) continue;
    if (content !== undefined) assertSameContent(isOfContent(mark, content));
    return item;
  }
  return undefined;
}

/**
 * Whether the catalog has an item of this job other than the one that is remembered, unfinished or
 * ready: what is remembered may be out of date.
 */
export async function hasAnother(upload: Upload & { readonly content?: string }): Promise<boolean> {
  const { deps, request, context, owner } = upload;
  const remembered = deps.checkpoint.current.item?.itemHref;
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  const isOther = ({ href }: { readonly href: string }): boolean =>
    !remembered || !isSameHref(href, remembered);
  const others = {
    ...catalog,
    items: catalog.items.filter(isOther),
    loose: catalog.loose.filter(isOther),
  };
  if (await findOwn(upload, others)) return true;
  const holder = others.items.find(({ name }) => name === request.name);
  if (!holder) return false;
  const { entityHref } = await deps.vcd.getItem(holder.href, context);
  return (await metadataOf(upload, entityHref)).get(UPLOAD_KEY) === ownerText(owner);
}

/** Where items of a kind are created. @throws FerryError CATALOG_FORBIDDEN */
export function addHrefOf(catalog: CatalogState, kind: 'ovf' | 'media'): string {
  const href = kind === 'media' ? catalog.addMediaHref : catalog.addTemplateHref;
  if (href !== undefined) return href;
  throw new FerryError('CATALOG_FORBIDDEN', `nothing may be added to the catalog ${catalog.name}`, {
    facts: { catalog: catalog.name },
  });
}
