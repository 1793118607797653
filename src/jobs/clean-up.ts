import { classify, FerryError } from '../errors.ts';
import { type EntityState, isReady } from '../vcd/entity.ts';
import { isLoose } from '../vcd/item.ts';
import { findOwn } from './claim-item.ts';
import { isListed } from './follow.ts';
import { NO_CHECKPOINT, type OwnItem } from './job-data.ts';
import { asPulled } from './pulled.ts';
import { tryToPutBack } from './replace.ts';
import { pause } from './retry.ts';
import type { Upload, UploadDeps } from './upload-deps.ts';

/** A server that takes its time to remove something is not asked for it again and again. */
const LONGEST_PAUSE_MS = 30_000;

/** What is left alone: an item that has become ready. */
export interface ReadyItem {
  readonly item: OwnItem;
  readonly entity: EntityState;
}

/**
 * Takes what this job began off the server: its task is cancelled, upon which vCD removes the item
 * itself; where it does not, the item is removed. Ends when the catalog no longer lists it.
 *
 * @returns the item if it has become ready: then nothing was cleaned up
 * @throws FerryError transient, if the server could not be cleaned within the patience
 */
export async function cleanUp(begun: Upload): Promise<ReadyItem | undefined> {
  const upload = asPulled(begun);
  const { deps, context } = upload;
  const patience = deps.newPatience();
  let pauseMs = deps.settings.pollFirstMs;
  for (;;) {
    try {
      const item = await findBegun(upload);
      const ready = item && (await removeUnlessReady(upload, item));
      if (ready) return ready;
      if (!item) break;
      await pause(pauseMs, context.signal);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    } catch (error) {
      await patience.afterFailure(error, context.signal);
    }
  }
  await tryToPutBack(upload);
  const { restarts, bytesLost, reserved, storage, contentKey, replaces } = deps.checkpoint.current;
  const { offer, isPulled, pullRefused } = deps.checkpoint.current;
  const kept = {
    ...{ restarts, bytesLost, reserved, storage, contentKey, replaces },
    ...{ offer, isPulled, pullRefused },
  };
  await deps.checkpoint.save({ ...NO_CHECKPOINT, ...kept, bytesResent: deps.meter.resent });
  return undefined;
}

/** The item that this job began, while the catalog lists it. */
async function findBegun(upload: Upload): Promise<OwnItem | undefined> {
  const { checkpoint, settings } = upload.deps;
  const { item, creating } = checkpoint.current;
  if (item && (await isListed(upload, item.itemHref))) return item;
  if (!item && !creating) return undefined;
  // What is remembered may be out of date, and a creation that was broken off may still be under way.
  let found = await findOwn(upload);
  if (!found && !item) {
    await pause(settings.settleMs, upload.context.signal);
    found = await findOwn(upload);
  }
  return found && { ...found, taskHref: null };
}

/** Where and with what an unfinished item is removed. */
export interface Removing extends Pick<Upload, 'context'> {
  readonly deps: Pick<UploadDeps, 'vcd' | 'assertOwned'>;
  readonly request: Pick<Upload['request'], 'catalog'>;
}

/**
 * Ends an item's upload and removes it. Whether it is gone says the catalog, a little later.
 *
 * @returns the item if it has become ready, which is left alone
 */
export async function removeUnlessReady(
  removing: Removing,
  item: OwnItem,
): Promise<ReadyItem | undefined> {
  const { deps, context } = removing;
  try {
    const entity = await deps.vcd.getEntity(item.entityHref, context);
    // What no catalog has is of no use to anybody.
    const isOfUse = entity.kind === 'vApp' || !isLoose(item);
    if (isReady(entity) && isOfUse) return { item, entity };
    deps.assertOwned();
    for (const { cancelHref } of entity.tasks) {
      if (cancelHref !== undefined) await deps.vcd.cancelTask(cancelHref, context);
    }
    await deps.vcd.remove(item.itemHref, context);
  } catch (error) {
    const failure = classify(error);
    if (failure.code !== 'ITEM_GONE') throw failure;
    // Forbidden, or gone since we looked: the catalog is asked again.
    if (!(await isListed(removing, item.itemHref))) return undefined;
    throw new FerryError('ITEM_BUSY', `${failure.message}, but the catalog still lists the item`, {
      cause: failure,
    });
  }
  return undefined;
}
