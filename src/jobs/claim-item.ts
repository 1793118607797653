import { classify, FerryError } from '../errors.ts';
import type { CatalogState, ItemReference } from '../vcd/catalog.ts';
import type { OwnItem } from './job-data.ts';
import type { OpenUpload, Upload } from './upload-deps.ts';

/** How an item is made, which differs between templates and media. */
export type CreateItem = (catalog: CatalogState, description: string) => Promise<ItemReference>;

/**
 * The item that this job began, or a new one.
 *
 * Intent before action: that a request is about to create something is saved first, so that after a
 * crash or a lost reply the leftover is found by its token and adopted. An item is never taken for
 * ours by name, owner or time.
 */
export async function claimItem(
  upload: OpenUpload,
  create: CreateItem,
): Promise<OwnItem & { readonly isNew: boolean }> {
  const { checkpoint } = upload.deps;
  const { item, content } = checkpoint.current;
  if (item && content !== null && content !== upload.content) {
    throw new FerryError(
      'SOURCE_CHANGED',
      'a file of the package was changed since its upload began',
    );
  }
  if (item) return { ...item, isNew: false };
  upload.deps.meter.enter('creating');
  const patience = upload.deps.newPatience();
  for (;;) {
    try {
      const leftover = await findLeftover(upload);
      if (leftover) return { ...(await remember(upload, leftover)), isNew: false };
      return { ...(await createOnce(upload, create)), isNew: true };
    } catch (error) {
      const failure = classify(error);
      if (failure.code === 'NAME_TAKEN') {
        // Perhaps by ourselves: the reply to an earlier request may have been lost.
        const leftover = await findLeftover(upload);
        if (leftover) return { ...(await remember(upload, leftover)), isNew: false };
      }
      await patience.afterFailure(failure, upload.context.signal);
    }
  }
}

async function createOnce(upload: OpenUpload, create: CreateItem): Promise<OwnItem> {
  const { deps, request, context, token } = upload;
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  // Not every release says it by a code of its own when it refuses.
  if (catalog.items.some(({ name }) => name === request.name)) {
    throw new FerryError('NAME_TAKEN', `the catalog ${catalog.name} has an item ${request.name}`, {
      facts: { catalog: catalog.name, name: request.name },
    });
  }
  await deps.checkpoint.save({ creating: true, content: upload.content });
  deps.assertOwned();
  const description = [request.description, token].filter((part) => part !== '').join('\n');
  return remember(upload, await create(catalog, description));
}

async function remember(upload: Upload, { itemHref, entityHref }: ItemReference): Promise<OwnItem> {
  const item: OwnItem = { itemHref, entityHref, taskHref: null };
  await upload.deps.checkpoint.save({ item });
  return item;
}

/**
 * What a creating request of this job made whose reply never came: the item of our name whose
 * description has our token. Only looked for where such a request may have gone out.
 */
export async function findLeftover({
  deps,
  request,
  context,
  token,
}: Upload): Promise<ItemReference | undefined> {
  if (!deps.checkpoint.current.creating) return undefined;
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  for (const { name, href } of catalog.items) {
    if (name !== request.name) continue;
    const item = await deps.vcd.getItem(href, context);
    if (item.description.includes(token)) return item;
  }
  return undefined;
}

/** Where items of a kind are created. @throws FerryError CATALOG_FORBIDDEN */
export function addHrefOf(catalog: CatalogState, kind: 'ovf' | 'media'): string {
  const href = kind === 'media' ? catalog.addMediaHref : catalog.addTemplateHref;
  if (href !== undefined) return href;
  throw new FerryError('CATALOG_FORBIDDEN', `nothing may be added to the catalog ${catalog.name}`, {
    facts: { catalog: catalog.name },
  });
}
