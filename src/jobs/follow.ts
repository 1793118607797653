import { classify, FerryError } from '../errors.ts';
import { isSameHref } from '../vcd/address.ts';
import type { CatalogState } from '../vcd/catalog.ts';
import { assertAlive, type EntityState, endedByItself } from '../vcd/entity.ts';
import { isUnderWay, type TaskState } from '../vcd/task.ts';
import type { OwnItem } from './job-data.ts';
import { pause } from './retry.ts';
import type { Upload } from './upload-deps.ts';

/** So often nobody may be seen at work before the task is asked. */
const IDLE_LOOKS = 8;
const LONG_WAIT_MS = 60_000;
/** Waits for a human being, who takes the time it takes. */
const QUARANTINED = 14;

/** For tasks outside of jobs, which nobody waits for but a person. */
export const TASK_PACE = { pollFirstMs: 100, pollLongestMs: 3_000 };

/** How often the server is asked. */
interface Pace {
  readonly firstMs: number;
  readonly longestMs: number;
  readonly growth: number;
  /** Nothing can have happened yet. */
  readonly waitFirst: boolean;
}

/** For what takes the server moments. */
function quickPace({ deps }: Upload): Pace {
  const { pollFirstMs, pollLongestMs } = deps.settings;
  return { firstMs: pollFirstMs, longestMs: pollLongestMs, growth: 2, waitFirst: false };
}

/** For imports: a short one is seen at once, and of those that take minutes to hours little is asked. */
export function slowPace({ deps }: Upload): Pace {
  const { importFirstMs, importLongestMs } = deps.settings;
  return {
    firstMs: importFirstMs,
    longestMs: importLongestMs,
    growth: Number.POSITIVE_INFINITY,
    waitFirst: true,
  };
}

function nextPause(ms: number, { growth, longestMs }: Pace): number {
  return Math.min(ms * growth, longestMs);
}

/** What following a task takes. */
interface TaskFollowing extends Pick<Upload, 'context'> {
  readonly deps: {
    readonly vcd: Pick<Upload['deps']['vcd'], 'getTask'>;
    readonly settings: Pick<Upload['deps']['settings'], 'pollFirstMs' | 'pollLongestMs'>;
  };
}

/**
 * Waits for the end of a task that we have asked for.
 *
 * @throws FerryError VCD_REJECTED with vCD's own words if it failed, ITEM_BUSY if that passes
 */
export async function untilTaskEnds(
  { deps, context }: TaskFollowing,
  begun: TaskState | undefined,
): Promise<void> {
  let pauseMs = deps.settings.pollFirstMs;
  let task = begun;
  while (task && isUnderWay(task)) {
    await pause(pauseMs, context.signal);
    pauseMs = Math.min(pauseMs * 2, deps.settings.pollLongestMs);
    task = await deps.vcd.getTask(task.href, context);
  }
  if (!task || task.status === 'success') return;
  const said = task.error?.message || `its task ended as ${task.status}`;
  const { minorCode = '', majorCode = 0 } = task.error ?? {};
  const isPassing = /BUSY|LIMITS_EXCEEDED/.test(minorCode);
  throw new FerryError(isPassing ? 'ITEM_BUSY' : 'VCD_REJECTED', said, {
    // It was hardly what was asked for that was wrong: a cell may have been restarted.
    facts: { minorCode, isAccident: majorCode >= 500 || !task.error },
  });
}

/** What failed by an accident of the server's may be asked for again. */
export async function accidentsPass<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const failure = classify(error);
    if (failure.facts['isAccident'] !== true) throw failure;
    throw new FerryError('SERVER_UNAVAILABLE', failure.message, { cause: failure });
  }
}

/**
 * Looks at the entity until it is as wanted: at once, then after 0.1 s, growing to 3 s. A server
 * that is out of reach is waited for; one that says that the upload has failed ends it.
 *
 * @param isDone undefined to look again
 * @throws FerryError IMPORT_REJECTED, IMPORT_FAILED, TRANSFER_EXPIRED, REMOVED_ON_SERVER
 */
export async function untilEntity<T>(
  upload: Upload,
  item: OwnItem,
  isDone: (entity: EntityState) => T | undefined,
  pace: Pace = quickPace(upload),
): Promise<T> {
  const { deps, context } = upload;
  const patience = deps.newPatience();
  let pauseMs = pace.firstMs;
  let idleLooks = 0;
  const startedAt = performance.now();
  if (pace.waitFirst) {
    await pause(pauseMs, context.signal);
    pauseMs = nextPause(pauseMs, pace);
  }
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
    // Whoever waits for the server for so long does not keep others from the line.
    if (performance.now() - startedAt > LONG_WAIT_MS) deps.line.free();
    await pause(pauseMs, context.signal);
    pauseMs = nextPause(pauseMs, pace);
  }
}

/**
 * Nobody seems to work on the entity any more, and it is not as wanted: its task says why.
 *
 * @throws FerryError IMPORT_REJECTED, IMPORT_FAILED, REMOVED_ON_SERVER; SERVER_UNAVAILABLE where nothing is known
 */
async function assertTaskRuns({ deps, context }: Upload, entity: EntityState): Promise<void> {
  const taskHref = deps.checkpoint.current.item?.taskHref;
  if (!taskHref) {
    throw new FerryError('SERVER_UNAVAILABLE', 'no task works on the item, and it is not ready', {
      facts: { status: entity.status },
    });
  }
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
    'IMPORT_FAILED',
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
async function whyGone(upload: Upload, item: OwnItem, error: FerryError): Promise<FerryError> {
  if (await isListed(upload, item.itemHref)) return error;
  // An upload that failed is removed by ourselves, which may have been forgotten since.
  const failed = await failureOfTask(upload);
  if (failed) return failed;
  const { name, catalog } = upload.request;
  return new FerryError(
    'REMOVED_ON_SERVER',
    `the unfinished item ${name} was removed from the catalog ${catalog}`,
    { cause: error },
  );
}

/** What the upload's task failed by, as long as vCD remembers it. */
async function failureOfTask({ deps, context }: Upload): Promise<FerryError | undefined> {
  const taskHref = deps.checkpoint.current.item?.taskHref;
  if (!taskHref) return undefined;
  try {
    const task = await deps.vcd.getTask(taskHref, context);
    assertAlive({ status: 0, tasks: [task] }, taskHref);
    return undefined;
  } catch (error) {
    const failure = classify(error);
    if (endedByItself(failure)) return failure;
    if (failure.kind === 'transient') throw failure;
    return undefined;
  }
}

/** What reading a catalog takes. */
interface CatalogReading extends Pick<Upload, 'context'> {
  readonly deps: { readonly vcd: Pick<Upload['deps']['vcd'], 'getCatalog'> };
  readonly request: Pick<Upload['request'], 'catalog'>;
}

/**
 * The catalog of an upload that was begun.
 *
 * @throws FerryError CATALOG_FORBIDDEN if it is not to be seen: that proves nothing of what is in it
 */
export async function getBegunCatalog({
  deps,
  request,
  context,
}: CatalogReading): Promise<CatalogState> {
  try {
    return await deps.vcd.getCatalog(request.catalog, context);
  } catch (error) {
    const { code, message } = classify(error);
    if (code !== 'CATALOG_NOT_FOUND' && code !== 'ITEM_GONE') throw error;
    throw new FerryError('CATALOG_FORBIDDEN', `${message}, although an upload to it was begun`, {
      cause: error,
    });
  }
}

/** Whether the catalog still has an item. @throws FerryError as `getBegunCatalog` */
export async function isListed(reading: CatalogReading, itemHref: string): Promise<boolean> {
  const { items, loose } = await getBegunCatalog(reading);
  return [...items, ...loose].some(({ href }) => isSameHref(href, itemHref));
}
