import { classify } from '../errors.ts';
import { type EntityState, isReady } from '../vcd/entity.ts';
import { untilEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import type { Upload, UploadResult } from './upload-deps.ts';

/** So often must the server ask for bytes that we sent before they are sent again. */
const LOOKS_UNTIL_MISSING = 4;

/**
 * Follows the import to its end; undefined if the server still waits for bytes, although it accepted
 * every one: then what it lacks has to be sent.
 *
 * A task that waits for its turn may wait for ever: the import has no time limit of ours.
 */
export async function untilImported(
  upload: Upload,
  item: OwnItem,
): Promise<EntityState | undefined> {
  upload.deps.meter.enter('importing');
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

/** Takes our mark out of the description. The item is there: what fails now is a warning. */
export async function finish(
  upload: Upload,
  item: OwnItem,
  entity: EntityState,
): Promise<UploadResult> {
  const { deps, request, context, token } = upload;
  const warnings: string[] = [];
  if (entity.description.includes(token)) {
    try {
      const patience = deps.newPatience();
      await patience.repeat(
        () => deps.vcd.setDescription(entity, request.description, context),
        context.signal,
      );
    } catch (error) {
      context.signal.throwIfAborted();
      warnings.push(`the description still has our mark: ${classify(error).message}`);
    }
  }
  deps.meter.enter('done');
  return { catalogItem: item.itemHref, entity: item.entityHref, warnings };
}
