import { classify, FerryError } from './errors.ts';
import { TASK_PACE, untilTaskEnds } from './jobs/follow.ts';
import { findMark, ownerIn } from './jobs/mark.ts';
import { Patience } from './jobs/retry.ts';
import { isSameHref } from './vcd/address.ts';
import type { CallContext } from './vcd/api.ts';
import type { VcdClient } from './vcd/client.ts';
import { isReady } from './vcd/entity.ts';
import type { TaskState } from './vcd/task.ts';

/** What is to become of an item. */
export type Change =
  | { readonly kind: 'move'; readonly catalog: string }
  | { readonly kind: 'rename'; readonly name: string }
  | { readonly kind: 'describe'; readonly description: string }
  | { readonly kind: 'remove' }
  | { readonly kind: 'sync' };

/** An item of a catalog of one target. */
export interface KeptItem {
  readonly catalog: string;
  readonly name: string;
  readonly href: string;
}

const PATIENCE_MS = 60_000;

/**
 * Does one thing to one item and follows its task to the end. After a failure it looks first whether it
 * was done all the same: a reply may have been lost.
 *
 * @throws FerryError what vCD says; ITEM_NOT_FOUND; USAGE for an item that an upload is still filling
 */
export async function changeItem(
  vcd: VcdClient,
  item: KeptItem,
  change: Change,
  context: CallContext,
): Promise<void> {
  const patience = new Patience({ limitMs: PATIENCE_MS, onRetry: () => undefined });
  for (let isFirst = true; ; isFirst = false) {
    try {
      if (!isFirst && (await isDone(vcd, item, change, context))) return;
      const task = await begin(vcd, item, change, context);
      return await untilTaskEnds({ deps: { vcd, settings: TASK_PACE }, context }, task);
    } catch (error) {
      const failure = classify(error);
      if (failure.code !== 'ITEM_GONE') await patience.afterFailure(failure, context.signal);
      else if (change.kind === 'remove') return;
      else throw notThere(item, failure);
    }
  }
}

/** The job of an upload that has made an item; undefined where nothing says so, or may be read. */
export async function madeBy(
  vcd: VcdClient,
  { href }: KeptItem,
  context: CallContext,
): Promise<string | undefined> {
  try {
    const { entityHref, description } = await vcd.getItem(href, context);
    const notes = await vcd.getMetadata(entityHref, context);
    return (ownerIn(notes) ?? findMark(description))?.jobId;
  } catch {
    context.signal.throwIfAborted();
    return undefined;
  }
}

/** Fills a subscribed catalog from its source. @throws FerryError VCD_REJECTED for any other catalog */
export async function syncCatalog(
  vcd: VcdClient,
  name: string,
  context: CallContext,
): Promise<void> {
  const patience = new Patience({ limitMs: PATIENCE_MS, onRetry: () => undefined });
  await patience.repeat(async () => {
    const { syncHref } = await vcd.getCatalog(name, context);
    const task = await vcd.sync(syncableHref(syncHref, `the catalog ${name}`), context);
    await untilTaskEnds({ deps: { vcd, settings: TASK_PACE }, context }, task);
  }, context.signal);
}

async function begin(
  vcd: VcdClient,
  item: KeptItem,
  change: Change,
  context: CallContext,
): Promise<TaskState | undefined> {
  const { itemHref, entityHref, syncHref, description } = await vcd.getItem(item.href, context);
  if (change.kind === 'sync') return vcd.sync(syncableHref(syncHref, item.name), context);
  const entity = await vcd.getEntity(entityHref, context);
  const mark = findMark(description);
  if (mark && !isReady(entity)) {
    throw new FerryError('USAGE', `job ${mark.jobId} is still uploading ${item.name}`, {
      facts: { job: mark.jobId },
      hint: `\`ovaferry cancel ${mark.jobId}\` ends it; \`ovaferry janitor\` finds what no job will finish.`,
    });
  }
  if (change.kind === 'remove') return vcd.remove(itemHref, context);
  if (change.kind === 'move') {
    const { moveHref } = await vcd.getCatalog(change.catalog, context);
    if (moveHref === undefined) {
      throw new FerryError('VCD_REJECTED', `nothing may be moved to the catalog ${change.catalog}`);
    }
    const moved = { name: item.name, description: entity.description, sourceHref: itemHref };
    return vcd.copyItem(moveHref, moved, context);
  }
  const name = change.kind === 'rename' ? change.name : entity.name;
  const text = change.kind === 'describe' ? change.description : entity.description;
  return vcd.edit(entity, { name, description: text }, context);
}

async function isDone(
  vcd: VcdClient,
  item: KeptItem,
  change: Change,
  context: CallContext,
): Promise<boolean> {
  if (change.kind === 'sync') return false;
  const place = change.kind === 'move' ? change.catalog : item.catalog;
  const { items } = await vcd.getCatalog(place, context);
  const listed = items.find(({ href }) => isSameHref(href, item.href));
  if (change.kind === 'remove') return listed === undefined;
  if (change.kind === 'move') {
    // Moved, it may have another address.
    return items.some(({ name }) => name === item.name) && !(await isListed(vcd, item, context));
  }
  if (change.kind === 'rename') return listed?.name === change.name;
  const { description } = await vcd.getItem(item.href, context);
  return description === change.description;
}

async function isListed(vcd: VcdClient, item: KeptItem, context: CallContext): Promise<boolean> {
  const { items } = await vcd.getCatalog(item.catalog, context);
  return items.some(({ href }) => isSameHref(href, item.href));
}

function syncableHref(href: string | undefined, what: string): string {
  if (href !== undefined) return href;
  throw new FerryError('VCD_REJECTED', `${what} can't be synchronised`, {
    hint: 'Only subscribed catalogs and their items have a source that they are filled from.',
  });
}

function notThere({ catalog, name }: KeptItem, cause: FerryError): FerryError {
  return new FerryError('ITEM_NOT_FOUND', `there is no item ${name} in ${catalog} any more`, {
    cause,
  });
}
