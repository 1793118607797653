import { FerryError } from '../../errors.ts';
import type { Rates } from '../batch/rates.ts';
import { hasBegun, type JobData } from '../job-data.ts';
import type { InFlight } from './in-flight.ts';
import type { TargetLimits, Windows } from './limits.ts';

/** Whether a job may begin: yes, when something else has ended, or at a moment. */
export type Admission =
  | 'admitted'
  | 'full'
  | { readonly notBefore: number; readonly why: FerryError | undefined };

export interface AdmissionDeps {
  readonly inFlight: InFlight;
  readonly rates: Pick<Rates, 'ofTarget'>;
  /** Transfers to a target that are under way, over all workers. */
  readonly transfers: (target: string) => Promise<number>;
}

/**
 * Judges a job that has been fetched, before it touches its target.
 *
 * What has begun goes on whatever the limits are: giving it up would cost what it has sent.
 */
export async function admit(
  limits: TargetLimits,
  jobId: string,
  data: Pick<JobData, 'request' | 'checkpoint' | 'verdict'>,
  deps: AdmissionDeps,
): Promise<Admission> {
  const isBegun = hasBegun(data);
  const bytes = data.request.expectedBytes;
  if (!isBegun) {
    const later = await windowThatFits(limits, bytes, deps);
    if (later) {
      // A run that died before it touched the target may have left it.
      await deps.inFlight.release(limits, jobId);
      return later;
    }
  }
  return (await deps.inFlight.claim(limits, jobId, { bytes, isBegun })) ? 'admitted' : 'full';
}

/** When the next window opens, for what can't end inside the one that is open. */
async function windowThatFits(
  { name, windows, atWindowEnd }: TargetLimits,
  bytes: number,
  { rates, transfers }: AdmissionDeps,
): Promise<Exclude<Admission, string> | undefined> {
  if (!windows || atWindowEnd === 'trickle') return undefined;
  const now = Date.now();
  const closesAt = windows.closesAt(now);
  if (closesAt === undefined) return { notBefore: windows.opensAt(now), why: undefined };
  const rate = await rates.ofTarget(name);
  // Where no rate is known it has to be tried.
  if (rate === undefined) return undefined;
  // It gets its part of what the target gets; its own place is one of the transfers already.
  const ownMs = (bytes / (rate / Math.max(1, await transfers(name)))) * 1_000;
  if (now + ownMs <= closesAt) return undefined;
  const aloneMs = (bytes / rate) * 1_000;
  return { notBefore: windows.opensAt(closesAt), why: tooLong(windows, closesAt, aloneMs) };
}

const HOUR_MS = 3_600_000;
/** Windows that are looked through for one that is long enough: more than there are in a week. */
const LOOKED_AT = 20;

/** What fits into no window would wait for ever without a word. */
function tooLong(windows: Windows, from: number, neededMs: number): FerryError | undefined {
  let longest = 0;
  for (let i = 0, moment = from; i < LOOKED_AT; i += 1) {
    const opensAt = windows.opensAt(moment);
    const closesAt = windows.closesAt(opensAt);
    if (closesAt === undefined) break;
    longest = Math.max(longest, closesAt - opensAt);
    if (longest >= neededMs || !Number.isFinite(closesAt)) return undefined;
    moment = closesAt;
  }
  const hours = (ms: number): string => `${(ms / HOUR_MS).toFixed(1)} h`;
  return new FerryError(
    'WINDOW_TOO_SHORT',
    `at the rate of late it takes ${hours(neededMs)}, and the longest window has ${hours(longest)}`,
  );
}
