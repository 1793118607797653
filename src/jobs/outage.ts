import { classify } from '../errors.ts';
import type { CallContext } from '../vcd/api.ts';
import type { Checkpoint, Outage } from './job-data.ts';
import type { CheckpointStore } from './upload-deps.ts';

/** By these nobody at the target has answered; what stands in front of it may have. */
const OUT_OF_REACH: ReadonlySet<string> = new Set([
  'NETWORK',
  'SERVER_UNAVAILABLE',
  'TRANSFER_STALLED',
  'HOST_NOT_FOUND',
]);
/** A single answer in the middle of an outage does not end it: transfers take longer than that. */
const ONE_OUTAGE_MS = 15 * 60_000;

/**
 * Notes in a job's checkpoint since when its target is out of reach, and when it answered again, over
 * all runs: what a transfer session loses by that is not lost by the job.
 *
 * @param target the origin of its API; other servers that the job speaks to are not looked at
 * @param onCall is told as well
 */
export function notingOutages(
  checkpoint: Pick<CheckpointStore, 'current' | 'note'>,
  target: string,
  onCall?: CallContext['onCall'],
): NonNullable<CallContext['onCall']> {
  return (label, origin) => {
    const onEnd = onCall?.(label, origin);
    return (end) => {
      onEnd?.(end);
      if (origin.origin !== target) return;
      const { current } = checkpoint;
      const outage = afterCall(current, hasAnswered(end), Date.now());
      if (outage !== current.outage) checkpoint.note({ outage });
    };
  };
}

/** Undefined for what says nothing: a call that we ended ourselves. */
function hasAnswered({ status, error }: { status?: number; error?: unknown }): boolean | undefined {
  if (status !== undefined) return status < 500;
  return OUT_OF_REACH.has(classify(error).code) ? false : undefined;
}

/** @param now milliseconds since the epoch, as everything here */
export function afterCall(
  { outage, progressedAt }: Pick<Checkpoint, 'outage' | 'progressedAt'>,
  answered: boolean | undefined,
  now: number,
): Outage | null {
  if (answered === undefined) return outage;
  if (answered) return outage?.until === null ? { ...outage, until: now } : outage;
  if (outage?.until === null) return outage;
  const goesOn =
    outage !== null && outage.until > (progressedAt ?? 0) && now - outage.until < ONE_OUTAGE_MS;
  return { since: goesOn ? outage.since : now, until: null };
}

/** How long the target was out of reach since bytes last got through, in milliseconds. */
export function outageMs(
  { outage, progressedAt }: Pick<Checkpoint, 'outage' | 'progressedAt'>,
  now: number,
): number {
  if (outage === null) return 0;
  return Math.max(0, (outage.until ?? now) - Math.max(outage.since, progressedAt ?? 0));
}
