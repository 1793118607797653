import type { EntityState } from '../vcd/entity.ts';
import { readEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { pause } from './retry.ts';
import type { Upload } from './upload-deps.ts';

/**
 * The entity once the counts of its files have stood still for so long: what a broken connection or a
 * dead process sent may still be arriving.
 *
 * @throws FerryError as `readEntity`
 */
export async function untilSteady(
  upload: Upload,
  item: OwnItem,
  steadyMs: number,
): Promise<EntityState> {
  let last = await readEntity(upload, item);
  for (;;) {
    await pause(steadyMs, upload.context.signal);
    const now = await readEntity(upload, item);
    if (countsOf(now) === countsOf(last)) return now;
    last = now;
  }
}

/** As `untilSteady`, for an upload that somebody else began; an outage only makes it take longer. */
export function untilSettled(upload: Upload, item: OwnItem): Promise<EntityState> {
  const { deps, context } = upload;
  const { settleMs } = deps.settings;
  return deps.newPatience().repeat(() => untilSteady(upload, item, settleMs), context.signal);
}

function countsOf({ files }: EntityState): string {
  return files.map(({ name, bytesTransferred }) => `${name}=${bytesTransferred}`).join(' ');
}
