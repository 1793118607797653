import { classify } from '../errors.ts';
import { type EntityState, isReady } from '../vcd/entity.ts';
import { untilEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { CONTENT_KEY, findMark, ownerText, UPLOAD_KEY } from './mark.ts';
import { takeName } from './replace.ts';
import type { Upload, UploadResult } from './upload-deps.ts';

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
  const end = await untilEntity(upload, item, (entity) => {
    if (isReady(entity)) return { entity };
    // Counters of several cells lag behind each other, so one look proves nothing.
    missing = entity.files.some(isMissingBytes) ? missing + 1 : 0;
    return missing >= LOOKS_UNTIL_MISSING ? { entity: undefined } : undefined;
  });
  return end.entity;
}

function isMissingBytes({ size, bytesTransferred, uploadHref }: EntityState['files'][0]): boolean {
  return uploadHref !== undefined && size !== undefined && bytesTransferred < size;
}

/**
 * What is left to do with an item that is ready: it is noted on it who made it and of what, it gets
 * its name if another had that, and our mark is taken out of the description. Whose it is can be
 * told at every moment: the note comes before the mark goes.
 *
 * @throws FerryError NAME_TAKEN where it was to replace an item, and another has come in its place
 */
export async function finish(
  upload: Upload & { readonly contentKey?: string | undefined },
  item: OwnItem,
  entity: EntityState,
): Promise<UploadResult> {
  const { deps, request, context, owner, contentKey } = upload;
  const warnings: string[] = [];
  const attempt = async (what: string, step: () => Promise<void>): Promise<void> => {
    try {
      await deps.newPatience().repeat(step, context.signal);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = classify(error);
      if (failure.kind === 'cancelled') throw failure;
      warnings.push(`${what}: ${failure.message}`);
    }
  };
  const notes = {
    [UPLOAD_KEY]: ownerText(owner),
    ...(contentKey === undefined ? {} : { [CONTENT_KEY]: contentKey }),
  };
  deps.assertOwned();
  await attempt('who made the item could not be noted on it', () =>
    deps.vcd.addMetadata(entity.href, notes, context),
  );
  let named = entity;
  if (request.ifExists === 'replace') {
    const patience = deps.newPatience();
    warnings.push(...(await patience.repeat(() => takeName(upload, item), context.signal)));
    named = await patience.repeat(
      () => deps.vcd.getEntity(item.entityHref, context),
      context.signal,
    );
  }
  if (findMark(named.description)?.installation === owner.installation) {
    const { description } = request;
    await attempt('the description still has our mark', () =>
      deps.vcd.edit(named, { description }, context),
    );
  }
  deps.meter.enter('done');
  return { catalogItem: item.itemHref, entity: item.entityHref, warnings };
}
