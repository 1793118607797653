import { classify, isTargetFault } from '../errors.ts';
import type { ReadyItem } from './clean-up.ts';
import { finish } from './finish.ts';
import { mayReplace } from './job-request.ts';
import { complete, type Ending, fail } from './outcome.ts';
import { asPulled } from './pulled.ts';
import { tryToPutBack } from './replace.ts';
import type { Upload, UploadResult } from './upload-deps.ts';

/** It had become ready meanwhile, and what is ready is not taken away. */
export async function keepReady(begun: Upload, ending: Ending, ready: ReadyItem): Promise<void> {
  const upload = asPulled(begun);
  const { item, entity } = ready;
  const { verdict } = ending.record.data;
  const { request } = upload;
  const isBeside = mayReplace(request) && entity.name !== request.name;
  let result: UploadResult;
  try {
    if (isBeside && verdict?.code === 'CANCELLED') return leaveBeside(upload, ending, ready);
    result = await finish(upload, item, entity);
  } catch (error) {
    const { kind, code } = classify(error);
    if (kind !== 'permanent' || isTargetFault(code)) throw error;
    await tryToPutBack(upload);
    return fail(ending); // it stays beside the item whose name it was to take
  }
  const late = `${verdict?.message ?? 'it failed'}, but the item was ready already`;
  await complete(ending, { ...result, warnings: [...result.warnings, late] });
}

/** Nothing is replaced by what was cancelled: the new item, which is ready, stays beside the old one. */
async function leaveBeside(
  upload: Upload,
  ending: Ending,
  { item, entity }: ReadyItem,
): Promise<void> {
  const { record } = ending;
  await tryToPutBack(upload);
  const named = { ...upload.request, name: entity.name, ifExists: 'fail' as const };
  await finish({ ...upload, request: named }, item, entity);
  const { verdict, checkpoint } = record.data;
  const message = `${verdict?.message}; the new item was ready and stays as ${entity.name}`;
  await record.save({
    verdict: verdict && { ...verdict, message },
    checkpoint: { ...checkpoint, item: null, creating: false },
  });
  return fail(ending);
}
