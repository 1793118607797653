import { type Job, UnrecoverableError } from 'bullmq';
import { FerryError, isTargetFault } from '../errors.ts';
import type { Clock } from '../redis/clock.ts';
import type { Ledger, Receipt } from './batch/ledger.ts';
import type { Rates } from './batch/rates.ts';
import type { Brakes } from './brakes.ts';
import type { Ceilings } from './ceilings.ts';
import { type Checkpoint, hasBegun, type JobProgress } from './job-data.ts';
import { toJobError } from './job-error.ts';
import type { JobRecord } from './job-record.ts';
import type { Lease } from './lease.ts';
import type { Begun } from './limits/begun.ts';
import type { InFlight } from './limits/in-flight.ts';
import type { Lanes } from './limits/lanes.ts';
import type { TargetLimits } from './limits/limits.ts';
import type { StorageShares } from './limits/storage-shares.ts';
import { queueOf } from './names.ts';
import type { Reservations } from './reservations.ts';
import { retryDelayMs } from './retry.ts';
import type { UploadResult } from './upload-deps.ts';

/** Told of every run that ended by itself. */
export interface RunObserver {
  ended(run: {
    readonly target: string;
    readonly outcome: 'completed' | 'failed';
    readonly code: string | undefined;
    /** Since its first run. */
    readonly ms: number;
    readonly bytesResent: number;
  }): void;
  /** It is tried again later. */
  postponed(run: { readonly target: string; readonly code: string }): void;
}

/** What the jobs of all workers have in common. */
export interface Shared {
  readonly brakes: Brakes;
  readonly ceilings: Ceilings;
  readonly reservations: Reservations;
  readonly storage: StorageShares;
  readonly ledger: Ledger;
  readonly rates: Rates;
  readonly lanes: Lanes;
  readonly inFlight: InFlight;
  readonly begun: Begun;
  readonly observer: RunObserver;
  /** True while a target does not answer this process. */
  readonly isDown: (target: string) => boolean;
  /** That all workers share: the one of this machine may be wrong. */
  readonly clock: Clock;
  /** As they are now. */
  readonly limitsOf: (target: string) => TargetLimits;
}

/** A run that is to be ended. */
export interface Ending extends Shared {
  readonly job: Job;
  readonly token: string;
  readonly lease: Lease;
  readonly record: JobRecord;
  readonly progress: () => JobProgress;
}

/** How long is waited for what does not come right by itself. */
export interface GivingUp {
  /** How long nothing may move before the job fails for good. */
  readonly giveUpMs: number;
  /** A target may be out of reach for so long, and no job gives up. */
  readonly outageMs: number;
}

const SLOW_FIRST_DELAY_MS = 30_000;
const LONGEST_DELAY_MS = 10 * 60_000;
/** Between runs that all fail in the same way, while the target is up. */
const LONGEST_FRUITLESS_MS = 5 * 60_000;
const IDLE_MS = 10 * 60_000;
/** Nothing that a job does brings their end nearer, so it is never given up for them. */
const OUTSIDE: ReadonlySet<string> = new Set([
  'WORKER_OVERLOADED',
  'SOURCE_UNREACHABLE',
  'NAME_RESERVED',
  'TARGET_BUSY',
  'WINDOW_CLOSED',
  'DESTINATION_FULL',
  'DESTINATION_UNREACHABLE',
  'SOURCE_PENDING',
]);
/** What takes its time is asked for seldom. */
const SLOW: ReadonlySet<string> = new Set([
  'SOURCE_UNREACHABLE',
  'IMPORT_FAILED',
  'DESTINATION_FULL',
  'DESTINATION_UNREACHABLE',
]);

export async function complete(ending: Ending, result: UploadResult): Promise<void> {
  const { job, token, lease, record, brakes } = ending;
  const attempts = record.data.attempts + 1;
  const warnings = [...new Set([...record.data.warnings, ...result.warnings])];
  await record.save({ attempts, error: null, failingSince: null, verdict: null, warnings });
  await giveBack(ending);
  await ending.ledger.record(receiptOf(ending, result));
  await lease.close();
  const { files: _files, ...shown } = result; // the receipt has them
  await job.moveToCompleted(shown, token, false);
  for (const warning of result.warnings) record.say('warn', warning);
  record.say('info', result.path === undefined ? 'is in the catalog' : `is in ${result.path}`);
  tellEnd(ending, 'completed');
  const { target } = record.data.request;
  await brakes.countSuccess(target).catch(() => undefined);
  await ending.ceilings.raise(target).catch(() => undefined);
  await brakes.forgetWish(target, record.id).catch(() => undefined);
}

function tellEnd({ record, observer, progress }: Ending, outcome: 'completed' | 'failed'): void {
  const { startedAt, verdict, request } = record.data;
  const code = outcome === 'failed' ? verdict?.code : undefined;
  const ms = Date.now() - (startedAt ?? Date.now());
  const { bytesResent } = progress();
  observer.ended({ target: request.target, outcome, code, ms, bytesResent });
}

function receiptOf({ job, record, progress }: Ending, result: UploadResult): Receipt {
  const { request, attempts, startedAt, checkpoint, requestIds, warnings } = record.data;
  const { operation, kind, source, target, catalog, name, batch, expectedBytes, deadline } =
    request;
  const { catalogItem, entity, removedAt } = result;
  const files = result.files ?? [];
  const bytes = files.reduce((sum, { size }) => sum + size, 0) || expectedBytes;
  const finishedAt = Date.now();
  return {
    ...{ v: 1, id: record.id, operation, kind: kind ?? result.kind ?? null, source },
    ...{ target, catalog, name, batch, catalogItem, entity },
    ...{ task: checkpoint.item?.taskHref ?? null, requestIds, files, bytes },
    ...{ bytesSent: progress().bytesSent, bytesResent: progress().bytesResent },
    ...{ attempts, enqueuedAt: job.timestamp, startedAt: startedAt ?? finishedAt, finishedAt },
    ...{ removedAt, warnings, deadline, path: result.path ?? null },
  };
}

/** The verdict stands; what is left to do has been done. */
export async function fail(ending: Ending): Promise<void> {
  const { job, token, lease, record, brakes } = ending;
  const { verdict, attempts, request } = record.data;
  await record.save({ attempts: attempts + 1, error: verdict });
  await giveBack(ending);
  await lease.close();
  const reason = `${verdict?.code}: ${verdict?.message}`;
  await job.moveToFailed(new UnrecoverableError(reason), token, false);
  record.say('error', reason);
  tellEnd(ending, 'failed');
  await brakes.forgetWish(request.target, record.id).catch(() => undefined);
}

/** The room that was kept for it, and its name. What fails here counts for nothing once it is over. */
async function giveBack(ending: Ending): Promise<void> {
  const { record, reservations, storage, inFlight, limitsOf, lanes } = ending;
  const { reserved, item, storage: share } = record.data.checkpoint;
  const limits = limitsOf(record.data.request.target);
  await inFlight.release(limits, record.id).catch(() => undefined);
  const { target, pool, batch } = record.data.request;
  await lanes.leave(queueOf(target, pool), { id: record.id, batch }).catch(() => undefined);
  await ending.begun.remove(record.id).catch(() => undefined);
  if (share !== null) await storage.release(share, record.id).catch(() => undefined);
  // What was told to stay on the server keeps its name for `retry`.
  if (reserved === null || (record.data.verdict && item)) return;
  await reservations.release(reserved, record.id).catch(() => undefined);
}

/** Whether a failure is one after which, in the end, the job is given up. */
export function isOfJob(
  { code }: FerryError,
  { outage }: Pick<Checkpoint, 'outage'>,
  { isDown, outageMs }: { readonly isDown: boolean; readonly outageMs: number },
): boolean {
  if (isTargetFault(code) || OUTSIDE.has(code)) return false;
  const awayMs = outage === null ? 0 : Date.now() - outage.since;
  return !isDown || awayMs > outageMs;
}

/**
 * Handed over: nothing has happened to the job.
 *
 * @param why this process can't work on it; undefined where it stops
 */
export async function handOver(ending: Ending, why?: FerryError): Promise<void> {
  const { job, token, lease, record } = ending;
  if (why) record.note({ error: toJobError(why, record.data.request, false) });
  await lease.close();
  await takeTurn(ending);
  await job.moveToWait(token);
  if (why) record.say('warn', `${why.code}: ${why.message}; left to other workers`);
  else record.say('info', 'handed to the next worker');
}

/**
 * Whatever did not end the job: it waits for its next run.
 */
export async function postpone(
  ending: Ending,
  failure: FerryError,
  { giveUpMs, outageMs }: GivingUp,
): Promise<void> {
  const { job, token, lease, record, brakes } = ending;
  const { data } = record;
  const { request } = data;
  // A profile that is full for one upload may hold a smaller one, or another profile may.
  if (isTargetFault(failure.code) && failure.code !== 'STORAGE_FULL') {
    await brakes.pull(request.target, failure).catch(() => undefined);
  }
  const isServersLimit = failure.code === 'TARGET_BUSY' && failure.facts['status'] !== undefined;
  if (isServersLimit) await ending.ceilings.lower(request.target).catch(() => undefined);
  // Counted from the first failure in a row; what lies outside is not the job's to be counted.
  const isDown = ending.isDown(request.target);
  const isOwn = isOfJob(failure, data.checkpoint, { isDown, outageMs });
  const now = ending.clock.now();
  const begunAt = record.begunAt + now - Date.now();
  // Nor is the time in which nobody was there to run it.
  const wasIdle = begunAt - data.retryAt > IDLE_MS;
  const failing = wasIdle ? begunAt : (data.failingSince ?? now);
  const since = Math.max(failing, data.checkpoint.progressedAt ?? 0);
  if (isOwn && data.verdict === null && now - since > giveUpMs) {
    const gaveUp = new FerryError(
      'GAVE_UP',
      `nothing moved since ${new Date(since).toISOString()}, after ${data.attempts + 1} runs; the last failure: ${failure.message}`,
      { cause: failure },
    );
    record.note({ verdict: toJobError(gaveUp, request, true) });
  }
  const attempts = data.attempts + 1;
  const delayMs = delayOf(failure, { attempts, fruitlessMs: isDown ? 0 : now - since });
  const retryAt = now + delayMs;
  const error = toJobError(failure, request, false);
  const waitsForWindow = failure.code === 'WINDOW_CLOSED';
  record.note({ attempts, retryAt, failingSince: isOwn ? since : null, error, waitsForWindow });
  await lease.close();
  const seconds = Math.round(delayMs / 1000);
  record.say('warn', `${failure.code}: ${failure.message}; tried again in ${seconds} s`);
  ending.observer.postponed({ target: request.target, code: failure.code });
  await takeTurn(ending);
  if (hasBegun(record.data)) await ending.begun.add(record.id);
  await job.moveToDelayed(retryAt, token);
}

/** What has nothing on the server has not begun: it has its turn again, as it was enqueued. */
async function takeTurn({ job, record, lanes, inFlight, limitsOf }: Ending): Promise<void> {
  const { request } = record.data;
  if (hasBegun(record.data)) return;
  const { priority = 0 } = job.opts;
  const { target, batch, pool } = request;
  await inFlight.release(limitsOf(target), record.id).catch(() => undefined);
  await job.changePriority({ priority });
  const waiting = { id: record.id, batch, priority };
  await lanes.unserved(queueOf(target, pool), waiting, request.expectedBytes);
}

/**
 * What is everybody's, or takes its time, is asked for seldom; asking often may lock an account. So is what
 * has failed for long by a target that answers.
 *
 * @param fruitlessMs for how long nothing has moved, while the target could be reached
 */
function delayOf(
  failure: FerryError,
  { attempts, fruitlessMs }: { readonly attempts: number; readonly fruitlessMs: number },
): number {
  if (isTargetFault(failure.code) || SLOW.has(failure.code)) {
    return Math.min(SLOW_FIRST_DELAY_MS * 2 ** (attempts - 1), LONGEST_DELAY_MS);
  }
  const seldom = OUTSIDE.has(failure.code) ? 0 : Math.min(fruitlessMs / 4, LONGEST_FRUITLESS_MS);
  return Math.max(retryDelayMs(attempts, failure), Math.round(seldom));
}
