import { classify } from '../errors.ts';
import { isReady } from '../vcd/entity.ts';
import { findLeftover } from './claim-item.ts';
import { NO_CHECKPOINT } from './job-data.ts';
import type { Upload } from './upload-deps.ts';

/**
 * Takes what this job began off the server: its task is cancelled, upon which vCD removes the item
 * itself; where it does not, the item is removed. An item that has become ready is left alone.
 *
 * @returns false if the item is ready, so that there was nothing to clean up
 * @throws FerryError transient, if the server could not be cleaned within the patience
 */
export async function cleanUp(upload: Upload): Promise<boolean> {
  const { deps, context } = upload;
  const patience = deps.newPatience();
  for (;;) {
    try {
      const item = deps.checkpoint.current.item ?? (await findLeftover(upload));
      if (!item) return true;
      const entity = await deps.vcd.getEntity(item.entityHref, context);
      if (isReady(entity)) return false;
      for (const { cancelHref } of entity.tasks) {
        if (cancelHref !== undefined) await deps.vcd.cancelTask(cancelHref, context);
      }
      await deps.vcd.remove(item.itemHref, context);
    } catch (error) {
      const failure = classify(error);
      if (failure.code !== 'ITEM_GONE') {
        await patience.afterFailure(failure, context.signal);
        continue;
      }
    }
    const { restarts } = deps.checkpoint.current;
    await deps.checkpoint.save({ ...NO_CHECKPOINT, restarts, bytesResent: deps.meter.resent });
    return true;
  }
}
