import { randomBytes } from 'node:crypto';
import { classify, FerryError } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import type { CatalogState } from '../vcd/catalog.ts';
import { isReady } from '../vcd/entity.ts';
import type { ItemReference } from '../vcd/item.ts';
import { chooseStorage } from './choose-storage.ts';
import { getBegunCatalog } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { judge, metadataOf } from './judge-item.ts';
import {
  describedWith,
  findMark,
  interimName,
  isOfContent,
  markText,
  ownerText,
  UPLOAD_KEY,
} from './mark.ts';
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
  for (let looks = 0; ; looks += 1) {
    try {
      return await claimOnce(upload, bytes, create);
    } catch (error) {
      const failure = classify(error);
      const isOfServer = failure.code === 'NAME_TAKEN' && failure.facts['status'] !== undefined;
      // Taken by ourselves, perhaps: the reply to an earlier request may have been lost.
      if (isOfServer && (await findOwn(upload))) {
        const { pollFirstMs, pollLongestMs } = deps.settings;
        await pause(Math.min(pollFirstMs * 2 ** looks, pollLongestMs), context.signal);
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
  const creation = deps.checkpoint.current.creation ?? randomBytes(8).toString('hex');
  await deps.checkpoint.save({ creating: true, retried: false, content: upload.content, creation });
  deps.assertOwned();
  const replaces = holder && idOf(holder.href);
  const mark = markText({ ...upload.owner, content: upload.content, replaces });
  const made = await create(catalog, {
    name: holder || request.pull ? interimName(request, upload.owner) : request.name,
    description: describedWith(request.description, mark),
    storageProfileHref,
  });
  return { item: await remember(upload, made), isNew: true };
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
    // What another one has finished is not begun: its mark stays where nothing may be noted.
    if (!isOwn && isReady(await deps.vcd.getEntity(item.entityHref, context))) continue;
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
