import { FerryError } from '../errors.ts';
import { assertWithinBudget, MAX_RESTARTS } from './budget.ts';
import { cleanUp } from './clean-up.ts';
import type { Upload } from './upload-deps.ts';

/** Removes what the server has given up, so that the item can be made anew. */
export async function startAnew(upload: Upload, cause: FerryError): Promise<void> {
  const { deps, request } = upload;
  deps.log.warn({ name: request.name }, `${cause.message}; it is made anew`);
  const isQuota = cause.code === 'QUOTA_EXCEEDED';
  if (request.pull && !isQuota) await countPull(upload, cause);
  // A quota is raised by a person, who thereby decides that it be sent again.
  if (!request.pull && !isQuota) {
    deps.meter.restart();
    const restarts = deps.checkpoint.current.restarts + 1;
    await deps.checkpoint.save({ restarts, bytesLost: deps.meter.lost });
    assertWithinBudget(upload);
  }
  await cleanUp(upload);
}

/** What the server can't fetch several times, it can't fetch. */
async function countPull({ deps }: Upload, cause: FerryError): Promise<void> {
  const restarts = deps.checkpoint.current.restarts + 1;
  await deps.checkpoint.save({ restarts });
  if (restarts > MAX_RESTARTS) throw new FerryError('IMPORT_REJECTED', cause.message, { cause });
}
