import { classify, FerryError } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import type { VcdClient } from '../vcd/client.ts';
import { isReady } from '../vcd/entity.ts';
import type { ItemReference } from '../vcd/item.ts';
import { mayReplace, maySkip } from './job-request.ts';
import {
  CONTENT_KEY,
  findMark,
  isOfContent,
  ownerIn,
  ownerText,
  SAMPLE_KEY,
  UPLOAD_KEY,
} from './mark.ts';
import { takeName } from './replace.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';

/**
 * Decides about an item that has the name already.
 *
 * @returns the result if it is what was wanted; undefined if it is to be replaced
 * @throws FerryError NAME_TAKEN
 */
export async function judge(upload: OpenUpload, href: string): Promise<UploadResult | undefined> {
  const { deps, request, context, owner, contentKey } = upload;
  const item = await deps.vcd.getItem(href, context);
  const { itemHref, entityHref } = item;
  const notes = await metadataOf(upload, entityHref);
  const result = (warnings: readonly string[]): Promise<UploadResult> =>
    resultOf(upload, item, warnings);
  const { creating } = deps.checkpoint.current;
  if (notes.get(UPLOAD_KEY) === ownerText(owner) && (creating || !request.again)) {
    // Ours, and ready: a run before this one came that far, or a Redis that has lost it.
    const own = { itemHref, entityHref, taskHref: null };
    const warnings = mayReplace(request) ? await takeName(upload, own) : [];
    return result(creating ? warnings : [RECOGNISED, ...warnings]);
  }
  if (!request.again && (await isUploaded(upload, item, notes))) return result([RECOGNISED]);
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

const RECOGNISED = 'recognised: this upload was there already, and nothing was sent';

/**
 * Whether an upload of this installation has put the same there and is over: then this job's upload is
 * done, whatever has become of what Redis knew of it.
 */
async function isUploaded(
  upload: OpenUpload,
  item: ItemReference,
  notes: ReadonlyMap<string, string>,
): Promise<boolean> {
  const { deps, context, owner, content, contentKey, sampleKey } = upload;
  const mark = findMark(item.description);
  const { installation, jobId } = ownerIn(notes) ?? mark ?? {};
  if (installation !== owner.installation || jobId === undefined) return false;
  const isPrevious = jobId === upload.request.previous;
  // The same content is as good, unless it is to be put there anew, with all that is asked for.
  const isSame = isPrevious || (upload.request.ifExists !== 'replace' && isSameContent());
  if (!isSame || (await deps.reservation.isUnderWay(jobId))) return false;
  return isReady(await deps.vcd.getEntity(item.entityHref, context));

  function isSameContent(): boolean {
    const noted = notes.get(CONTENT_KEY);
    // What is known for sure decides.
    if (contentKey !== undefined && noted !== undefined) return noted === contentKey;
    if (sampleKey !== undefined && notes.get(SAMPLE_KEY) === sampleKey) return true;
    // Where nothing may be noted, the mark stays.
    return mark !== undefined && isOfContent(mark, content);
  }
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

/** What is noted on an entity; nothing where that may not be seen. */
export async function metadataOf(
  {
    deps,
    context,
  }: Pick<Upload, 'context'> & { readonly deps: { readonly vcd: Pick<VcdClient, 'getMetadata'> } },
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
