import { classify, FerryError } from '../../errors.ts';
import { isReady } from '../../vcd/entity.ts';
import type { ItemReference } from '../../vcd/item.ts';
import { isUnderWay, type TaskState } from '../../vcd/task.ts';
import { claimItem, findOwn } from '../claim-item.ts';
import type { ItemLink } from '../download/item-link.ts';
import { finish } from '../finish.ts';
import { accidentsPass, slowPace, untilEntity, untilTaskEnds } from '../follow.ts';
import { pause } from '../retry.ts';
import type { OpenUpload, UploadResult } from '../upload-deps.ts';
import type { Copy } from './copy.ts';

const LOOKS_AFTER_END = 5;

/**
 * Lets a vCD copy an item of its own (guide, "Copy or Move a Catalog Item"). The new item is known by our
 * mark in its description, as any that an upload makes.
 */
export async function copyOnServer(
  copy: Copy & { readonly contentKey: string },
  link: ItemLink,
): Promise<UploadResult> {
  const { deps, context, contentKey } = copy;
  const upload: OpenUpload = { ...copy, content: contentKey.slice(-43), contentKey };
  const claim = await claimItem(upload, 0, async (catalog, { name, description }) => {
    const wanted = { name, description, sourceHref: link.itemHref };
    const { copyTask } = deps.checkpoint.current;
    // What was asked for before is under way, though it is not listed yet.
    const task = copyTask
      ? await findTask(upload, copyTask)
      : await deps.vcd.copyItem(catalog.copyHref ?? '', wanted, context);
    if (task && !copyTask) await deps.checkpoint.save({ copyTask: task.href });
    return untilListed(upload, task);
  });
  if ('there' in claim) return claim.there;
  deps.line.free(); // no byte of it goes over our line
  deps.meter.enter('importing');
  const ready = await untilEntity(
    upload,
    claim.item,
    (entity) => (isReady(entity) ? entity : undefined),
    slowPace(upload),
  );
  return finish(upload, claim.item, ready);
}

/** Undefined once vCD has forgotten it. */
async function findTask(
  { deps, context }: OpenUpload,
  href: string,
): Promise<TaskState | undefined> {
  try {
    return await deps.vcd.getTask(href, context);
  } catch (error) {
    if (classify(error).code === 'ITEM_GONE') return undefined;
    throw error;
  }
}

/**
 * The task says nothing of what it makes: that is found by our mark.
 *
 * @throws FerryError what the task failed by
 */
async function untilListed(
  upload: OpenUpload,
  begun: TaskState | undefined,
): Promise<ItemReference> {
  const { deps, context } = upload;
  const { pollFirstMs, pollLongestMs } = deps.settings;
  const patience = deps.newPatience();
  let task = begun;
  let pauseMs = pollFirstMs;
  for (let looks = 0; ; ) {
    const own = await patience.repeat(() => findOwn(upload), context.signal);
    if (own) return own;
    patience.progressed();
    // One that has ended without it made nothing; cells that lag behind are given a while.
    if (!task || !isUnderWay(task)) looks += 1;
    if (looks > LOOKS_AFTER_END) {
      await deps.checkpoint.save({ copyTask: null });
      await accidentsPass(untilTaskEnds(upload, task));
      throw new FerryError('SERVER_UNAVAILABLE', 'the copy is not in the catalog');
    }
    await pause(pauseMs, context.signal);
    pauseMs = Math.min(pauseMs * 2, pollLongestMs);
    const { href } = task ?? {};
    if (href !== undefined) {
      task = await patience.repeat(() => findTask(upload, href), context.signal);
    }
  }
}
