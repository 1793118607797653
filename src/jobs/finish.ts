import { classify, type FerryError, isTargetFault } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import { type EntityState, isReady } from '../vcd/entity.ts';
import { isLoose } from '../vcd/item.ts';
import type { MetadataEntry } from '../vcd/metadata.ts';
import { getBegunCatalog, slowPace, untilEntity, untilTaskEnds } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { mayReplace } from './job-request.ts';
import {
  CONTENT_KEY,
  describedWith,
  findMark,
  markText,
  ownerText,
  SAMPLE_KEY,
  UPLOAD_KEY,
} from './mark.ts';
import { takeName } from './replace.ts';
import { pause } from './retry.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';

/** So often must the server ask for bytes that we sent before they are sent again. */
const LOOKS_UNTIL_MISSING = 4;

/**
 * Follows the import to its end, without a place on the line; undefined if the server still waits for
 * bytes, although it accepted every one: then what it lacks has to be sent.
 *
 * A task that waits for its turn may wait for ever: the import has no time limit of ours.
 */
export async function untilImported(
  upload: Upload,
  item: OwnItem,
): Promise<EntityState | undefined> {
  upload.deps.meter.enter('importing');
  upload.deps.line.free();
  let missing = 0;
  const startedAt = performance.now();
  const end = await untilEntity(
    upload,
    item,
    (entity) => {
      if (isReady(entity)) return { entity };
      // Counters of several cells lag behind each other, so one look proves nothing.
      missing = entity.files.some(isMissingBytes) ? missing + 1 : 0;
      return missing >= LOOKS_UNTIL_MISSING ? { entity: undefined } : undefined;
    },
    slowPace(upload),
  );
  if (end.entity) upload.deps.onImported(performance.now() - startedAt);
  return end.entity;
}

function isMissingBytes({ size, bytesTransferred, uploadHref }: EntityState['files'][0]): boolean {
  return uploadHref !== undefined && size !== undefined && bytesTransferred < size;
}

/**
 * What is left to do with an item that is ready: it is noted on it who made it and of what, it gets
 * its name if another had that, and our mark is taken out of the description. Whose it is can be
 * told at every moment: the note comes before the mark goes, which stays where the note is refused.
 *
 * @throws FerryError NAME_TAKEN where it was to replace an item, and another has come in its place
 */
export async function finish(
  upload: Upload & Partial<Pick<OpenUpload, 'contentKey' | 'sampleKey'>>,
  begun: OwnItem,
  entity: EntityState,
): Promise<UploadResult> {
  const { deps, request, context, owner } = upload;
  const warnings: string[] = [];
  const attempt = async (what: string, step: () => Promise<void>): Promise<void> => {
    const refusal = await refusalOf(upload, step);
    if (refusal) warnings.push(`${what}: ${refusal.message}`);
  };
  const isReplacing = mayReplace(request) || request.pull;
  deps.assertOwned();
  const ours = ownNotes(upload);
  const note = (notes: readonly MetadataEntry[]) => async (): Promise<void> =>
    untilTaskEnds(upload, await deps.vcd.addMetadata(entity.href, notes, context));
  let refused = await refusalOf(upload, note([...ours, ...request.metadata]));
  if (refused && request.metadata.length > 0) {
    warnings.push(`what is to be noted on the item could not be noted: ${refused.message}`);
    // What is wrong with the user's notes must not keep ours off.
    refused = await refusalOf(upload, note(ours));
  }
  const { leaseSeconds } = request;
  if (leaseSeconds !== null && entity.kind === 'vAppTemplate') {
    await attempt('its lease could not be set', async () =>
      untilTaskEnds(upload, await deps.vcd.setLease(entity.href, leaseSeconds, context)),
    );
  }
  const item = await intoCatalog(upload, begun, entity);
  let named = entity;
  const patience = deps.newPatience();
  if (isReplacing) {
    warnings.push(...(await patience.repeat(() => takeName(upload, item), context.signal)));
  }
  if (isReplacing || leaseSeconds !== null) {
    const read = (): Promise<EntityState> => deps.vcd.getEntity(item.entityHref, context);
    named = await patience.repeat(read, context.signal);
  }
  const mark = findMark(named.description);
  const isMarked = mark?.installation === owner.installation;
  const wanted =
    refused && mark && isMarked
      ? describedWith(request.description, markText(mark))
      : request.description;
  // A package that the server fetched brings a description of its own.
  const isStrange = request.pull && wanted !== '' && named.description !== wanted;
  if (isStrange || (isMarked && named.description !== wanted)) {
    await attempt('the description still has our mark', async () =>
      untilTaskEnds(upload, await deps.vcd.edit(named, { description: wanted }, context)),
    );
  }
  deps.meter.enter('done');
  const removedAt = named.lease?.ends ?? null;
  return { catalogItem: item.itemHref, entity: item.entityHref, removedAt, warnings };
}

/**
 * Where uploads go to a virtual data centre, what is ready is added to the catalog last. A reply that was
 * lost is found: the catalog has an item of our entity then.
 */
async function intoCatalog(
  { deps, request, context }: Upload,
  item: OwnItem,
  entity: EntityState,
): Promise<OwnItem> {
  if (entity.kind === 'vApp' || !isLoose(item)) return item;
  const add = async (): Promise<OwnItem> => {
    const { items, addItemHref } = await getBegunCatalog({ deps, request, context });
    const listed = items.find(({ name }) => name === entity.name);
    const there = listed && (await deps.vcd.getItem(listed.href, context));
    const isOurs = there !== undefined && isSameHref(there.entityHref, item.entityHref);
    deps.assertOwned();
    const { itemHref } = isOurs
      ? there
      : await deps.vcd.addToCatalog(addItemHref ?? '', entity, context);
    return { ...item, itemHref };
  };
  const added = await deps.newPatience().repeat(add, context.signal);
  await deps.checkpoint.save({ item: added });
  return added;
}

/** It may be a passing one, of a cell that lags behind or was restarted. */
const LOOKS_UNTIL_REFUSED = 3;

/**
 * Does what an item that is ready can do without.
 *
 * @returns what it was refused by for good
 * @throws FerryError whatever passes by itself, and faults of the target: the job goes on from here later
 */
async function refusalOf(
  { deps, context }: Upload,
  step: () => Promise<void>,
): Promise<FerryError | undefined> {
  for (let looks = 1; ; looks += 1) {
    try {
      await deps.newPatience().repeat(step, context.signal);
      return undefined;
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = classify(error);
      const mayPass = failure.code === 'ITEM_GONE' || failure.facts['isAccident'] === true;
      const isFinal = failure.kind === 'permanent' && !isTargetFault(failure.code);
      if (mayPass ? looks >= LOOKS_UNTIL_REFUSED : isFinal) return failure;
      if (!mayPass) throw failure;
      await pause(deps.settings.pollFirstMs * 4 ** looks, context.signal);
    }
  }
}

/** Who made the item, and of what. */
function ownNotes({ owner, contentKey, sampleKey }: Parameters<typeof finish>[0]): MetadataEntry[] {
  const own = {
    [UPLOAD_KEY]: ownerText(owner),
    [CONTENT_KEY]: contentKey,
    [SAMPLE_KEY]: sampleKey,
  };
  return Object.entries(own).flatMap(([key, value]): MetadataEntry[] =>
    value === undefined ? [] : [{ key, type: 'string', value }],
  );
}
