import { classify } from '../../errors.ts';
import type { CallContext } from '../../vcd/api.ts';
import type { LinkDeps } from './link-deps.ts';

/**
 * Ends the reading from an item: it is disabled for download if we had enabled it and nobody else of ours
 * reads from it.
 */
async function leaveItem(
  { vcd, offers }: Pick<LinkDeps, 'vcd' | 'offers'>,
  entityHref: string,
  context: CallContext,
): Promise<void> {
  if (!(await offers.leave(entityHref))) return;
  try {
    await vcd.disableDownload(await vcd.getEntity(entityHref, context), context);
  } catch (error) {
    if (classify(error).code !== 'ITEM_GONE') throw error;
  }
  await offers.disabled(entityHref);
}

/**
 * As `leaveItem`, of a job that is done: what can't be taken back is told.
 *
 * @returns warnings
 */
export async function leaveOrWarn(
  deps: Pick<LinkDeps, 'vcd' | 'offers' | 'newPatience'>,
  entityHref: string,
  context: CallContext,
): Promise<string[]> {
  try {
    await deps.newPatience().repeat(() => leaveItem(deps, entityHref, context), context.signal);
    return [];
  } catch (error) {
    context.signal.throwIfAborted();
    return [`the item is still enabled for download: ${classify(error).message}`];
  }
}
