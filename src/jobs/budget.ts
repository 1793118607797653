import { FerryError } from '../errors.ts';
import type { Upload } from './upload-deps.ts';

/** Transfers that expire without a byte sent would otherwise be started again for ever. */
export const MAX_RESTARTS = 10;

/**
 * A job sends at most its own size again by itself, or `resendFloorBytes` if that is more: what is
 * small is no burden to a line, and is lost as a whole each time. Then somebody has to decide.
 *
 * @throws FerryError RESEND_LIMIT
 */
export function assertWithinBudget({ deps, request }: Upload): void {
  const { bytesTotal } = deps.meter.snapshot();
  const { restarts } = deps.checkpoint.current;
  const { lost } = deps.meter;
  const limit = Math.max(bytesTotal, deps.settings.resendFloorBytes);
  if (lost <= limit && restarts <= MAX_RESTARTS) return;
  throw new FerryError(
    'RESEND_LIMIT',
    `${request.name} was started ${restarts + 1} times, and the server lost ${lost} bytes that it had confirmed`,
    { facts: { restarts, lost, limit } },
  );
}
