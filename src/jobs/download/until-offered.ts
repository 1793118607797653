import { classify, FerryError } from '../../errors.ts';
import type { CallContext } from '../../vcd/api.ts';
import { type EntityState, isReady } from '../../vcd/entity.ts';
import { isUnderWay } from '../../vcd/task.ts';
import { accidentsPass, untilTaskEnds } from '../follow.ts';
import { pause } from '../retry.ts';
import type { ItemPlace, LinkDeps } from './link-deps.ts';

const LOOKS_FOR_LINK = 20;

/**
 * An entity once it shows addresses for download. It is enabled unless somebody is at it already: an
 * earlier run of ours, another job; that takes vCD as long as copying what there is.
 *
 * @throws FerryError DOWNLOAD_FORBIDDEN, ITEM_NOT_FOUND; SERVER_UNAVAILABLE where nothing comes of it
 */
export async function untilOffered(
  deps: LinkDeps,
  href: string,
  { place, context }: { readonly place: ItemPlace; readonly context: CallContext },
): Promise<EntityState> {
  const { vcd, offers, newPatience, settings } = deps;
  const patience = newPatience();
  for (let looks = 0; ; ) {
    try {
      const entity = await orNotFound(vcd.getEntity(href, context), place);
      if (isOffered(entity)) return entity;
      const isAtWork = entity.tasks.some(isUnderWay);
      if (isAtWork) patience.progressed();
      if (!isAtWork && looks > LOOKS_FOR_LINK) {
        throw new FerryError('SERVER_UNAVAILABLE', `${entity.name} shows no address for download`);
      }
      // Where it can only be disabled, its addresses are to be shown yet.
      if (!isAtWork && entity.download.disableHref === undefined) {
        assertReady(entity, place);
        await offers.enabling(href);
        const task = await vcd.enableDownload(entity, context);
        await accidentsPass(untilTaskEnds({ deps, context }, task));
        patience.progressed();
      }
      looks += isAtWork ? 0 : 1;
      await pause(settings.pollFirstMs, context.signal);
    } catch (error) {
      await patience.afterFailure(error, context.signal);
    }
  }
}

function isOffered({ download }: EntityState): boolean {
  return download.descriptorHref !== undefined || download.file !== undefined;
}

/** @throws FerryError ITEM_BUSY while it is being made; VCD_REJECTED for one that came to nothing */
export function assertReady(entity: EntityState, { name, catalog }: ItemPlace): void {
  if (isReady(entity)) return;
  const isBeingMade = entity.status === 0 || entity.tasks.some(isUnderWay);
  throw new FerryError(
    isBeingMade ? 'ITEM_BUSY' : 'VCD_REJECTED',
    `the item ${name} in ${catalog} is not ready (status ${entity.status})`,
    { facts: { status: entity.status } },
  );
}

export async function orNotFound<T>(asking: Promise<T>, place: ItemPlace): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    if (classify(error).code === 'ITEM_GONE') throw notFound(place);
    throw error;
  }
}

export function notFound({ catalog, name, target }: ItemPlace): FerryError {
  return new FerryError('ITEM_NOT_FOUND', `there is no item ${name} in the catalog ${catalog}`, {
    facts: { catalog, name },
    hint: `\`ovaferry ls ${target}/${catalog}\` lists what is there.`,
  });
}
