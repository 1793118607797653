import { FerryError } from '../errors.ts';
import { assertWithinBudget } from './budget.ts';
import { cleanUp } from './clean-up.ts';
import { outageMs } from './outage.ts';
import type { Upload } from './upload-deps.ts';

/** What a server could not fetch so many times it can't fetch. */
const MAX_PULLS = 3;

/** Removes what the server has given up, so that the item can be made anew. */
export async function startAnew(upload: Upload, cause: FerryError): Promise<void> {
  const { deps, request } = upload;
  deps.log.warn({ name: request.name }, `${cause.message}; it is made anew`);
  if (!isNobodysLoss(upload, cause)) {
    if (request.pull) await countPull(upload, cause);
    else await countLoss(upload);
  } else if (!request.pull) deps.meter.giveUp();
  await cleanUp(upload);
}

/**
 * A quota is raised by a person, who thereby decides that it be sent again. And a session dies while
 * nobody can reach the target for longer than it lives, whatever we do.
 */
function isNobodysLoss({ deps }: Upload, { code }: FerryError): boolean {
  if (code === 'QUOTA_EXCEEDED') return true;
  const outage = outageMs(deps.checkpoint.current, Date.now());
  return code === 'TRANSFER_EXPIRED' && outage >= deps.settings.sessionIdleMs;
}

async function countLoss(upload: Upload): Promise<void> {
  upload.deps.meter.restart();
  await countRestart(upload);
}

/** @throws FerryError RESEND_LIMIT */
export async function countRestart(upload: Upload): Promise<void> {
  const { meter, checkpoint } = upload.deps;
  await checkpoint.save({ restarts: checkpoint.current.restarts + 1, bytesLost: meter.lost });
  assertWithinBudget(upload);
}

async function countPull({ deps }: Upload, cause: FerryError): Promise<void> {
  const restarts = deps.checkpoint.current.restarts + 1;
  await deps.checkpoint.save({ restarts });
  if (restarts > MAX_PULLS) throw new FerryError('IMPORT_REJECTED', cause.message, { cause });
}
