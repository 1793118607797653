import { type Job, UnrecoverableError } from 'bullmq';
import { classify, type FerryError, isTargetFault } from '../errors.ts';
import { boundLog } from './bound-log.ts';
import { cleanUp } from './clean-up.ts';
import { isCopy } from './copy/copy.ts';
import { leaveSource } from './copy/copy-item.ts';
import { cleanUpDownload, downloadItem, leaveOffer } from './download/download-item.ts';
import { type Checkpoint, hasBegun, type JobProgress, parseJobData } from './job-data.ts';
import { toJobError } from './job-error.ts';
import { JobRecord } from './job-record.ts';
import type { JobRequest } from './job-request.ts';
import { keepReady } from './keep-ready.ts';
import { transferWindow } from './limits/transfer-window.ts';
import { Meter } from './meter.ts';
import { targetOfJob } from './names.ts';
import { complete, type Ending, fail, handOver, postpone } from './outcome.ts';
import { type ProcessorWorld, type Run, requestIdOf } from './processor-world.ts';
import { tryToPutBack } from './replace.ts';
import { isUnreachable } from './retry.ts';
import { RunTrace, type Span } from './run-trace.ts';
import { runUpload } from './run-upload.ts';
import type { Download, Upload, UploadResult, Work } from './upload-deps.ts';
import { workOf } from './work-of.ts';

/**
 * Failures for good that come from the server: three equal ones in a row are hardly three accidents. Not
 * what it says of a package: ten bad ones hold nobody else.
 */
const OF_SERVER: ReadonlySet<string> = new Set(['VCD_REJECTED', 'RESEND_LIMIT', 'GAVE_UP']);

/**
 * BullMQ's side of an upload: reads the job's data, tells the story, and moves the job to where its
 * outcome belongs. No upload logic lives here.
 */
export async function processJob(world: ProcessorWorld, run: Run): Promise<void> {
  const { job, lease, token } = run;
  const target = targetOfJob(job.id ?? '');
  const log = boundLog(world.log, { job: job.id, target, request: requestIdOf(run) });
  let record: JobRecord;
  try {
    record = new JobRecord(job.id ?? '', parseJobData(job.data), { lease, log });
  } catch (error) {
    await lease.close();
    await job.moveToFailed(new UnrecoverableError(String(error)), token, false);
    const id = job.id ?? '';
    await world.brakes.forgetWish(target, id).catch(() => undefined);
    return;
  }
  const { batch } = record.data.request;
  const trace = new RunTrace(world.tracer?.beginRun(jobOf(run), attributesOf(run, record)));
  const window = transferWindow(() => world.limitsOf(target));
  const meter = new Meter(progressBefore(job, record.data.checkpoint), {
    onSent(bytes) {
      // What trickles says nothing about how fast it could go.
      if (window.phase() === 'open') world.onSent(bytes, { target, batch });
    },
    onEnter: (stage) => trace.enter(stage),
  });
  const ending: Ending = {
    ...{ ...world, job, token, lease, record },
    observer: trace.observing(world.observer),
    progress: () => meter.snapshot(),
  };
  lease.reportProgress(() => meter.snapshot());
  try {
    // The first beat also brings a wish that was left while the job waited.
    const requestIds = [...record.data.requestIds, requestIdOf(run)].slice(-KEPT_REQUEST_IDS);
    // What kept the last run from its end is over, or will be said again.
    const error = record.data.verdict;
    await record.save({ startedAt: record.data.startedAt ?? Date.now(), requestIds, error });
    record.say('info', record.data.checkpoint.item ? 'goes on' : 'begins');
    if (await endUnbegun(ending)) return;
    const access = await world.access(target);
    const parts = { record, meter, access, log, onCall: trace.onCall };
    await tell(workOf(world, run, parts), ending);
  } catch (error) {
    const failure = classify(lease.lost.aborted ? lease.lost.reason : error);
    // Whether it was the line or the whole target is known then, before this job's next run is due.
    if (isUnreachable(failure)) void askAgain(world, target).catch(() => undefined);
    // Whatever the job needs now, somebody else does it.
    if (failure.code === 'LOCK_LOST') log.warn({}, failure.message);
    else if (failure.code === 'SHUTDOWN') await handOver(ending);
    else if (isForOthers(failure, ending, world.isDown(target))) await handOver(ending, failure);
    else await postpone(ending, failure, world.settings);
  } finally {
    trace.end();
  }
}

async function askAgain({ access }: ProcessorWorld, target: string): Promise<void> {
  const { gate } = await access(target);
  await gate.answers(new AbortController().signal);
}

/** Not begun, and of a target that this process can't reach: another worker may. */
function isForOthers(failure: FerryError, { record }: Ending, isDown: boolean): boolean {
  const isTransient = failure.kind === 'transient' && !isTargetFault(failure.code);
  return isDown && isTransient && !hasBegun(record.data);
}

function jobOf({ job }: Run): { readonly id: string; readonly enqueuedAt: number } {
  return { id: job.id ?? '', enqueuedAt: job.timestamp };
}

/** What a trace says of a run. */
function attributesOf(run: Run, { data }: JobRecord): Parameters<Span['set']>[0] {
  const { target, catalog, name, kind, operation } = data.request;
  return {
    'ovaferry.job.id': run.job.id ?? '',
    'ovaferry.request_id': requestIdOf(run),
    ...{ 'ovaferry.target': target, 'ovaferry.catalog': catalog, 'ovaferry.item': name },
    ...{ 'ovaferry.operation': operation, 'ovaferry.attempt': data.attempts + 1 },
    ...(kind === null ? {} : { 'ovaferry.kind': kind }),
  };
}

const KEPT_REQUEST_IDS = 20;

/** A job that is cancelled before it touched the server ends without it: it may be out of reach. */
async function endUnbegun(ending: Ending): Promise<boolean> {
  const { record, lease } = ending;
  const { creating, item, offer, download } = record.data.checkpoint;
  if (!lease.cancelled.aborted || creating || item || offer || download) return false;
  const failure = classify(lease.cancelled.reason);
  await record.save({ verdict: toJobError(failure, record.data.request, true) });
  await fail(ending);
  return true;
}

/** The job, or what is left of one that has failed: its traces. */
async function tell(work: Work<JobRequest>, ending: Ending): Promise<void> {
  if (isDownload(work)) return tellDownload(work, ending);
  if (isUpload(work)) return tellUpload(work, ending);
}

function isDownload(work: Work<JobRequest>): work is Download {
  return work.request.operation === 'download';
}

function isUpload(work: Work<JobRequest>): work is Upload {
  return work.request.operation === 'upload';
}

/** The run's own signal may be what ended it; only losing the job stops the cleaning up. */
function cleaningOf<W extends Work<JobRequest>>(work: W, { lease }: Ending): W {
  const signal = AbortSignal.any([lease.lost, work.shutdown]);
  return { ...work, context: { ...work.context, signal } };
}

async function tellDownload(download: Download, ending: Ending): Promise<void> {
  const { record } = ending;
  if (!record.data.verdict) {
    const result = await attempt(download, ending, () => downloadItem(download));
    if (result) return complete(ending, result);
  }
  const isKept = keepsWhatIsThere(download, record);
  const cleaning = cleaningOf(download, ending);
  await (isKept ? leaveOffer(cleaning) : cleanUpDownload(cleaning));
  await fail(ending);
}

async function tellUpload(upload: Upload, ending: Ending): Promise<void> {
  const { record } = ending;
  if (!record.data.verdict) {
    const result = await attempt(upload, ending, () => runUpload(upload));
    if (result) return complete(ending, result);
  }
  const { verdict } = record.data;
  if (verdict?.code === 'POWER_ON_REJECTED') return fail(ending); // it is there, and stays
  const cleaning = cleaningOf(upload, ending);
  if (keepsWhatIsThere(upload, record)) {
    await tryToPutBack(cleaning);
    return fail(ending);
  }
  const ready = await cleanUp(cleaning);
  // Whatever has become of the source: it does not keep this job from its end.
  if (isCopy(cleaning)) await leaveSource(cleaning);
  if (!ready) return fail(ending);
  await keepReady(cleaning, ending, ready);
}

/** What nobody foresaw destroys nothing: a person decides, and `retry` goes on from there. */
function keepsWhatIsThere(
  { request }: Work<JobRequest>,
  { data: { verdict } }: JobRecord,
): boolean {
  return verdict?.code === 'INTERNAL' || (request.keepFailed && verdict?.code !== 'CANCELLED');
}

/** Undefined if it failed for good: then the verdict is stored before anything else. */
async function attempt(
  { context: { signal } }: Pick<Work<JobRequest>, 'context'>,
  { record, lease, brakes }: Ending,
  run: () => Promise<UploadResult>,
): Promise<UploadResult | undefined> {
  try {
    return await run();
  } catch (error) {
    lease.assertHeld();
    const failure = classify(signal.aborted ? signal.reason : error);
    const final = failure.kind === 'permanent' || failure.code === 'CANCELLED';
    if (!final || isTargetFault(failure.code)) throw failure;
    const { request } = record.data;
    await record.save({ verdict: toJobError(failure, request, true) });
    if (OF_SERVER.has(failure.code)) {
      const what = String(failure.facts['minorCode'] ?? failure.facts['status'] ?? '');
      await brakes.countFailure(request.target, failure, what).catch(() => undefined);
    }
    return undefined;
  }
}

/** The last beat of a run that died knows more than the checkpoint. */
function progressBefore(
  job: Job,
  { bytesResent, bytesLost }: Checkpoint,
): Pick<JobProgress, 'files' | 'bytesResent'> & { readonly bytesLost: number } {
  const last = (job.progress ?? {}) as Partial<JobProgress>;
  return {
    files: last.files ?? [],
    bytesResent: Math.max(last.bytesResent ?? 0, bytesResent),
    bytesLost,
  };
}
