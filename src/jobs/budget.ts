import { FerryError } from '../errors.ts';
import type { Upload } from './upload-deps.ts';

/** Transfers that expire without a byte sent would otherwise be begun for ever. */
export const MAX_RESTARTS = 3;

/**
 * A job sends at most its own size again by itself; then somebody has to decide.
 *
 * @throws FerryError RESEND_LIMIT
 */
export function assertWithinBudget({ deps, request }: Upload): void {
  const { bytesTotal } = deps.meter.snapshot();
  const { restarts } = deps.checkpoint.current;
  const { lost } = deps.meter;
  if (lost <= bytesTotal && restarts <= MAX_RESTARTS) return;
  throw new FerryError(
    'RESEND_LIMIT',
    `${request.name} was begun ${restarts + 1} times, and the server lost ${lost} bytes that it had confirmed`,
    { facts: { restarts, lost } },
  );
}
