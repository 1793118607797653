import { classify, FerryError, isTargetFault } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import type { CatalogState } from '../vcd/catalog.ts';
import { isReady } from '../vcd/entity.ts';
import { untilTaskEnds } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { asideName, ownerText, REPLACED_KEY } from './mark.ts';
import { pause } from './retry.ts';
import type { Upload } from './upload-deps.ts';

/** One to move the old item aside, one to name the new one, and some for cells that lag. */
const MOST_RENAMES = 5;

/**
 * Gives the finished item its name. Where another has the name, that one is renamed aside, ours takes
 * the name, both are read back, and only then the other one is removed. Each step begins by reading
 * what the catalog says, so that it can be taken up again after any of them.
 *
 * @returns warnings
 * @throws FerryError NAME_TAKEN if somebody else's item has the name by now
 */
export async function takeName(upload: Upload, item: OwnItem): Promise<string[]> {
  const { deps, request, context } = upload;
  for (let tries = 0; ; tries += 1) {
    const catalog = await deps.vcd.getCatalog(request.catalog, context);
    const holder = catalog.items.find(({ name }) => name === request.name);
    if (holder && isSameHref(holder.href, item.itemHref)) break;
    if (tries > MOST_RENAMES) {
      throw new FerryError('ITEM_BUSY', `vCD does not give the item the name ${request.name}`);
    }
    // A cell may show the catalog as it was a moment ago.
    if (tries > 0) await pause(deps.settings.pollFirstMs * 2 ** tries, context.signal);
    deps.assertOwned();
    if (!holder) await rename(upload, item.entityHref, request.name, ownDescription(request));
    else await moveAside(upload, holder.href);
  }
  const entity = await deps.vcd.getEntity(item.entityHref, context);
  if (!isReady(entity) || entity.name !== request.name) {
    throw new FerryError('ITEM_BUSY', `${request.name} is not there yet as it should be`);
  }
  return removeReplaced(upload);
}

/** What a package that the server fetched says of itself stays, unless something else is wanted. */
function ownDescription({ pull, description }: Upload['request']): string | undefined {
  return pull && description === '' ? undefined : description;
}

/** Only the item that had the name when ours was begun may be moved out of the way. */
async function moveAside(upload: Upload, href: string): Promise<void> {
  const { deps, request, context, owner } = upload;
  const { replaces } = deps.checkpoint.current;
  if (!replaces || !isSameHref(replaces.itemHref, href)) {
    throw new FerryError(
      'NAME_TAKEN',
      `${request.catalog} has another item ${request.name} by now; the new one is there as it was uploaded, beside it`,
      { facts: { catalog: request.catalog, name: request.name } },
    );
  }
  const { entityHref } = replaces;
  try {
    // It says what became of it to whoever finds it, and to us if we remember nothing.
    const note = { key: REPLACED_KEY, type: 'string', value: ownerText(owner) } as const;
    await untilTaskEnds(upload, await deps.vcd.addMetadata(entityHref, [note], context));
  } catch (error) {
    if (classify(error).kind !== 'permanent') throw error; // who may not note it may still rename it
  }
  await rename(upload, entityHref, asideName(request, owner));
}

async function rename(
  upload: Upload,
  entityHref: string,
  name: string,
  description?: string,
): Promise<void> {
  const { deps, context } = upload;
  const entity = await deps.vcd.getEntity(entityHref, context);
  const to = { name, description: description ?? entity.description };
  await untilTaskEnds(upload, await deps.vcd.edit(entity, to, context));
}

/** Removes the item that was replaced. Ours is in its place: what fails now is a warning. */
async function removeReplaced(upload: Upload): Promise<string[]> {
  const { deps, request, context, owner } = upload;
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  const aside = findAside(catalog, upload);
  if (!aside) return [];
  if (!(await isReplaced(upload, aside.href))) return [];
  try {
    deps.assertOwned();
    await deps.newPatience().repeat(() => deps.vcd.remove(aside.href, context), context.signal);
    return [];
  } catch (error) {
    context.signal.throwIfAborted();
    const failure = classify(error);
    if (failure.kind === 'cancelled') throw failure;
    if (failure.code === 'ITEM_GONE') return [];
    return [`the replaced item is still there as ${asideName(request, owner)}: ${failure.message}`];
  }
}

/** Never by its name alone: by what was seen at the start, or by what we noted on it. */
async function isReplaced({ deps, context, owner }: Upload, itemHref: string): Promise<boolean> {
  const { replaces } = deps.checkpoint.current;
  if (replaces && isSameHref(replaces.itemHref, itemHref)) return true;
  const { entityHref } = await deps.vcd.getItem(itemHref, context);
  const notes = await deps.vcd.getMetadata(entityHref, context);
  return notes.get(REPLACED_KEY) === ownerText(owner);
}

function findAside(
  catalog: CatalogState,
  { request, owner }: Upload,
): CatalogState['items'][0] | undefined {
  const name = asideName(request, owner);
  return catalog.items.find((item) => item.name === name);
}

/**
 * After a failure the item that was to be replaced has its name again. Where that is not to be had, a
 * word has to do: the failure must not wait for it.
 */
export async function tryToPutBack(upload: Upload): Promise<void> {
  const { deps, request, context, owner } = upload;
  try {
    await deps.newPatience().repeat(() => putBackReplaced(upload), context.signal);
  } catch (error) {
    context.signal.throwIfAborted();
    const { kind, code, message } = classify(error);
    if (kind === 'transient' || kind === 'cancelled' || isTargetFault(code)) throw error;
    const name = asideName(request, owner);
    deps.log.warn({ name: request.name }, `the old item may be called ${name} now: ${message}`);
  }
}

async function putBackReplaced(upload: Upload): Promise<void> {
  const { deps, request, context } = upload;
  const { replaces } = deps.checkpoint.current;
  if (!replaces) return;
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  const aside = findAside(catalog, upload);
  if (!aside || !isSameHref(aside.href, replaces.itemHref)) return;
  if (catalog.items.some(({ name }) => name === request.name)) return;
  deps.assertOwned();
  await rename(upload, replaces.entityHref, request.name);
}
