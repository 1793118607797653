import { classify } from '../errors.ts';
import { pathOf } from '../vcd/address.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import { isReady } from '../vcd/entity.ts';
import { removeUnlessReady } from './clean-up.ts';
import { isListed, TASK_PACE, untilTaskEnds } from './follow.ts';
import type { JobData } from './job-data.ts';
import { metadataOf } from './judge-item.ts';
import { findMark, type Owner, ownerText, UPLOAD_KEY, withoutMark } from './mark.ts';
import type { QueueSet } from './queue-set.ts';
import type { Reservations } from './reservations.ts';
import { Patience, pause } from './retry.ts';

/** What an upload of this installation left, and no job will see to any more. */
export interface Leftover {
  /** An item that nobody will finish; or one that is whole, but is still described as if it were not. */
  readonly what: 'item' | 'mark';
  readonly catalog: string;
  readonly name: string;
  /** The job that began it. */
  readonly job: string;
  readonly catalogItem: string;
  readonly entity: string;
}

export interface JanitorDeps {
  readonly vcd: VcdClient;
  readonly queues: QueueSet;
  readonly reservations: Reservations;
  /** Targets whose jobs may be working there: a vCD may be known by several names. */
  readonly targets: readonly string[];
  readonly installation: string;
}

/**
 * Looks through catalogs for what was left behind. Only what has our installation's mark and belongs to
 * no living job is found; everything else is left alone, also a mark that says whose a finished item
 * is where nothing could be noted on it.
 */
export async function findLeftovers(
  deps: JanitorDeps,
  catalogs: readonly string[],
  context: CallContext,
): Promise<Leftover[]> {
  const { vcd, installation, reservations } = deps;
  const found: Leftover[] = [];
  for (const catalog of catalogs) {
    const { items, loose } = await vcd.getCatalog(catalog, context);
    for (const { name, href } of [...items, ...loose]) {
      const item = await orGone(vcd.getItem(href, context));
      const mark = item && findMark(item.description);
      if (!item || mark?.installation !== installation) continue;
      const entity = await orGone(vcd.getEntity(item.entityHref, context));
      if (!entity) continue;
      const what = isReady(entity) ? 'mark' : 'item';
      if (what === 'mark' && !(await isNoted(deps, entity.href, mark, context))) continue;
      // Asked last: a job that began meanwhile is living by now.
      if (await reservations.isUnderWay(mark.jobId)) continue;
      if ((await itemsOfLivingJobs(deps)).has(pathOf(item.itemHref))) continue;
      const { itemHref, entityHref } = item;
      found.push({
        what,
        catalog,
        name,
        job: mark.jobId,
        catalogItem: itemHref,
        entity: entityHref,
      });
    }
  }
  return found;
}

async function isNoted(
  { vcd }: JanitorDeps,
  entityHref: string,
  mark: Owner,
  context: CallContext,
): Promise<boolean> {
  const notes = await metadataOf({ deps: { vcd }, context }, entityHref);
  return notes.get(UPLOAD_KEY) === ownerText(mark);
}

/** Removes a leftover. Returns when the catalog no longer lists it, or it has become ready. */
export async function removeLeftover(
  { vcd }: Pick<JanitorDeps, 'vcd'>,
  { what, catalog, catalogItem, entity }: Omit<Leftover, 'name' | 'job'>,
  context: CallContext,
): Promise<void> {
  const patience = new Patience({ limitMs: 60_000, onRetry: () => undefined });
  if (what === 'mark') {
    await patience.repeat(() => removeMark(vcd, entity, context), context.signal);
    return;
  }
  const removing = { deps: { vcd, assertOwned: () => undefined }, request: { catalog }, context };
  const item = { itemHref: catalogItem, entityHref: entity, taskHref: null };
  for (;;) {
    try {
      if (!(await isListed(removing, catalogItem))) return;
      if (await removeUnlessReady(removing, item)) return;
      await pause(500, context.signal);
    } catch (error) {
      await patience.afterFailure(error, context.signal);
    }
  }
}

async function removeMark(vcd: VcdClient, entityHref: string, context: CallContext): Promise<void> {
  const entity = await vcd.getEntity(entityHref, context);
  const description = withoutMark(entity.description);
  if (description === entity.description) return;
  const task = await vcd.edit(entity, { description }, context);
  await untilTaskEnds({ deps: { vcd, settings: TASK_PACE }, context }, task);
}

/** By path: jobs of several targets may reach one server by different names. */
async function itemsOfLivingJobs({ queues, targets }: JanitorDeps): Promise<ReadonlySet<string>> {
  const paths = new Set<string>();
  for (const queue of await queues.names(targets)) {
    const begun = await queues.of(queue).getJobs(['active', 'waiting', 'delayed']);
    for (const job of begun) {
      const href = (job?.data as JobData | undefined)?.checkpoint?.item?.itemHref;
      if (href !== undefined) paths.add(pathOf(href));
    }
  }
  return paths;
}

async function orGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (classify(error).code === 'ITEM_GONE') return undefined;
    throw error;
  }
}
