import { classify } from '../errors.ts';
import { pathOf } from '../vcd/address.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import { isReady } from '../vcd/entity.ts';
import { removeUnlessReady } from './clean-up.ts';
import { isListed } from './follow.ts';
import type { JobData } from './job-data.ts';
import { findMark } from './mark.ts';
import type { QueueSet } from './queue-set.ts';
import type { Reservations } from './reservations.ts';
import { Patience, pause } from './retry.ts';

/** An unfinished item that an upload of this installation began, and that no job will finish. */
export interface Leftover {
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
 * Looks through catalogs for what was left behind. Only what has our installation's mark, is not
 * ready, and belongs to no living job is found; everything else is left alone.
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
      if (!entity || isReady(entity)) continue;
      // Asked last: a job that began meanwhile is living by now.
      if (await reservations.isUnderWay(mark.jobId)) continue;
      if ((await itemsOfLivingJobs(deps)).has(pathOf(item.itemHref))) continue;
      const { itemHref, entityHref } = item;
      found.push({ catalog, name, job: mark.jobId, catalogItem: itemHref, entity: entityHref });
    }
  }
  return found;
}

/** Removes a leftover. Returns when the catalog no longer lists it, or it has become ready. */
export async function removeLeftover(
  { vcd }: Pick<JanitorDeps, 'vcd'>,
  { catalog, catalogItem, entity }: Pick<Leftover, 'catalog' | 'catalogItem' | 'entity'>,
  context: CallContext,
): Promise<void> {
  const patience = new Patience({ limitMs: 60_000, onRetry: () => undefined });
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
