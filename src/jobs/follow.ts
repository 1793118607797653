import { classify, FerryError } from '../errors.ts';
import { assertAlive, type EntityState, isUnderWay, type TaskState } from '../vcd/entity.ts';
import type { OwnItem } from './job-data.ts';
import { pause } from './retry.ts';
import type { Upload } from './upload-deps.ts';

/** So often nobody may be seen at work before the task is asked. */
const IDLE_LOOKS = 8;
/** Waits for a human being, who takes the time it takes. */
const QUARANTINED = 14;

/**
 * Looks at the entity until it is as wanted: at once, then after 0.1 s, growing to 3 s. A server
 * that is out of reach is waited for; one that says that the upload has failed ends it.
 *
 * @param isDone undefined to look again
 * @throws FerryError IMPORT_REJECTED, TRANSFER_EXPIRED, REMOVED_ON_SERVER
 */
export async function untilEntity<T>(
  upload: Upload,
  item: OwnItem,
  isDone: (entity: EntityState) => T | undefined,
): Promise<T> {
  const { deps, context } = upload;
  const patience = deps.newPatience();
  let pauseMs = deps.settings.pollFirstMs;
  let idleLooks = 0;
  for (;;) {
    const entity = await patience.repeat(() => readEntity(upload, item), context.signal);
    patience.progressed();
    const done = isDone(entity);
    if (done !== undefined) return done;
    const idle = !entity.tasks.some(isUnderWay) && entity.status !== QUARANTINED;
    idleLooks = idle ? idleLooks + 1 : 0;
    if (idleLooks >= IDLE_LOOKS) {
      await assertTaskRuns(upload, entity);
      idleLooks = 0;
    }
    await pause(pauseMs, context.signal);
    pauseMs = Math.min(pauseMs * 2, deps.settings.pollLongestMs);
  }
}

/**
 * Nobody seems to work on the entity any more, and it is not as wanted: its task says why.
 *
 * @throws FerryError IMPORT_REJECTED, REMOVED_ON_SERVER; SERVER_UNAVAILABLE where nothing is known
 */
async function assertTaskRuns({ deps, context }: Upload, entity: EntityState): Promise<void> {
  const taskHref = deps.checkpoint.current.item?.taskHref;
  if (!taskHref) return;
  let task: TaskState;
  try {
    task = await deps.vcd.getTask(taskHref, context);
  } catch (error) {
    if (classify(error).code !== 'ITEM_GONE') throw error;
    throw new FerryError(
      'SERVER_UNAVAILABLE',
      `the task of the upload is gone, and the item is not ready (status ${entity.status})`,
      { cause: error },
    );
  }
  if (isUnderWay(task)) return;
  assertAlive({ ...entity, tasks: [task] }, taskHref);
  throw new FerryError(
    'IMPORT_REJECTED',
    `the task of the upload ended as ${task.status}, but the item is not ready (status ${entity.status})`,
    { facts: { status: entity.status } },
  );
}

/**
 * The entity as it is now, if its upload can still succeed.
 *
 * @throws FerryError as `untilEntity`
 */
export async function readEntity(upload: Upload, item: OwnItem): Promise<EntityState> {
  const { deps, context } = upload;
  deps.assertOwned();
  let entity: EntityState;
  try {
    entity = await deps.vcd.getEntity(item.entityHref, context);
  } catch (error) {
    if (!(error instanceof FerryError) || error.code !== 'ITEM_GONE') throw error;
    throw await whyGone(upload, item, error);
  }
  await rememberTask(upload, item, entity);
  assertAlive(entity, deps.checkpoint.current.item?.taskHref ?? undefined);
  return entity;
}

/** The task that the upload began with: an entity may list older and later ones, too. */
async function rememberTask({ deps }: Upload, item: OwnItem, entity: EntityState): Promise<void> {
  const taskHref = entity.tasks[0]?.href;
  if (deps.checkpoint.current.item?.taskHref || !taskHref) return;
  const { itemHref, entityHref } = item;
  await deps.checkpoint.save({ item: { itemHref, entityHref, taskHref } });
}

/** vCD answers 403 for what is gone as for what one may not see; only the catalog tells. */
async function whyGone(
  { deps, request, context }: Upload,
  item: OwnItem,
  error: FerryError,
): Promise<FerryError> {
  const catalog = await deps.vcd.getCatalog(request.catalog, context);
  if (catalog.items.some(({ href }) => href === item.itemHref)) return error;
  return new FerryError(
    'REMOVED_ON_SERVER',
    `the unfinished item ${request.name} was removed from the catalog ${request.catalog}`,
    { cause: error },
  );
}
