import { type Job, UnrecoverableError } from 'bullmq';
import { classify, isTargetFault } from '../errors.ts';
import { asked } from '../redis/asked.ts';
import type { VcdClient } from '../vcd/client.ts';
import { ChunkSizer } from './chunks.ts';
import { cleanUp } from './clean-up.ts';
import { type Checkpoint, type JobProgress, parseJobData } from './job-data.ts';
import { toJobError } from './job-error.ts';
import { JobRecord } from './job-record.ts';
import { keepReady } from './keep-ready.ts';
import type { Lease } from './lease.ts';
import { transferWindow } from './limits/transfer-window.ts';
import { Meter } from './meter.ts';
import { targetOfJob } from './names.ts';
import { complete, type Ending, fail, handOver, postpone, type Shared } from './outcome.ts';
import { tryToPutBack } from './replace.ts';
import { Patience } from './retry.ts';
import { runUpload } from './run-upload.ts';
import type { TargetGate } from './target-gate.ts';
import type {
  LinePlace,
  Log,
  Throttle,
  Upload,
  UploadDeps,
  UploadResult,
  UploadSettings,
} from './upload-deps.ts';

/** A target as the uploads of one process share it. */
export interface TargetAccess {
  readonly vcd: VcdClient;
  readonly gate: TargetGate;
}

/** What every run of this process shares. */
export interface ProcessorWorld extends Shared {
  /** @throws FerryError CREDENTIALS_MISSING */
  readonly access: (target: string) => Promise<TargetAccess>;
  readonly openImage: UploadDeps['openImage'];
  readonly throttle: (target: string) => Throttle;
  /** Told of all bytes that are sent. */
  readonly onSent: (
    bytes: number,
    of: { readonly target: string; readonly batch: string | null },
  ) => void;
  /** Told how long imports took, and of how many bytes. */
  readonly onImported: (target: string, bytes: number, ms: number) => void;
  readonly settings: ProcessorSettings;
  /** Names this installation in the marks of what it creates. */
  readonly installation: string;
  readonly log: Log;
}

export interface ProcessorSettings extends UploadSettings {
  /** Bytes; undefined to adapt to the line. */
  readonly chunkBytes: number | undefined;
  /** How long a run waits for a target before it gives its place back. */
  readonly patienceMs: number;
  /** How long nothing may move before the job fails for good. */
  readonly giveUpMs: number;
}

/** One run of one job. */
export interface Run {
  readonly job: Job;
  readonly token: string;
  readonly lease: Lease;
  readonly line: LinePlace;
  /** Aborted with SHUTDOWN when this process is to stop. */
  readonly shutdown: AbortSignal;
}

/** Failures for good that come from the server: three equal ones in a row are hardly three accidents. */
const OF_SERVER: ReadonlySet<string> = new Set([
  'IMPORT_REJECTED',
  'VCD_REJECTED',
  'RESEND_LIMIT',
  'GAVE_UP',
]);

/**
 * BullMQ's side of an upload: reads the job's data, tells the story, and moves the job to where its
 * outcome belongs. No upload logic lives here.
 */
export async function processJob(world: ProcessorWorld, run: Run): Promise<void> {
  const { job, lease, token } = run;
  let record: JobRecord;
  try {
    record = new JobRecord(job.id ?? '', parseJobData(job.data), { lease, log: world.log });
  } catch (error) {
    await lease.close();
    await job.moveToFailed(new UnrecoverableError(String(error)), token, false);
    const id = job.id ?? '';
    await world.brakes.forgetWish(targetOfJob(id), id).catch(() => undefined);
    return;
  }
  const { target, batch } = record.data.request;
  const window = transferWindow(() => world.limitsOf(target));
  const meter = new Meter(progressBefore(job, record.data.checkpoint), (bytes) => {
    // What trickles says nothing about how fast it could go.
    if (window.phase() === 'open') world.onSent(bytes, { target, batch });
  });
  const ending: Ending = {
    ...{ ...world, job, token, lease, record },
    progress: () => meter.snapshot(),
  };
  lease.reportProgress(() => meter.snapshot());
  try {
    // The first beat also brings a wish that was left while the job waited.
    const requestIds = [...record.data.requestIds, requestIdOf(run)].slice(-KEPT_REQUEST_IDS);
    await record.save({ startedAt: record.data.startedAt ?? Date.now(), requestIds });
    record.say('info', record.data.checkpoint.item ? 'goes on' : 'begins');
    if (await endUnbegun(ending)) return;
    const access = await world.access(record.data.request.target);
    await tell(uploadOf(world, run, { record, meter, access }), ending);
  } catch (error) {
    const failure = classify(lease.lost.aborted ? lease.lost.reason : error);
    // Whatever the job needs now, somebody else does it.
    if (failure.code === 'LOCK_LOST') world.log.warn({ job: job.id }, failure.message);
    else if (failure.code === 'SHUTDOWN') await handOver(ending);
    else await postpone(ending, failure, world.settings.giveUpMs);
  }
}

const KEPT_REQUEST_IDS = 20;

/** What the requests of a run are called in vCD's logs. */
function requestIdOf({ job, token }: Run): string {
  return `ovaferry-${job.id}-${token.slice(0, 8)}`;
}

/** A job that is cancelled before it touched the server ends without it: it may be out of reach. */
async function endUnbegun(ending: Ending): Promise<boolean> {
  const { record, lease } = ending;
  const { creating, item } = record.data.checkpoint;
  if (!lease.cancelled.aborted || creating || item) return false;
  const failure = classify(lease.cancelled.reason);
  await record.save({ verdict: toJobError(failure, record.data.request, true) });
  await fail(ending);
  return true;
}

/** The upload, or what is left of one that has failed: its traces on the server. */
async function tell(upload: Upload, ending: Ending): Promise<void> {
  const { record, lease } = ending;
  if (!record.data.verdict) {
    const result = await attempt(upload, ending);
    if (result) return complete(ending, result);
  }
  const { verdict } = record.data;
  // The run's own signal may be what ended it; only losing the job stops the cleaning up.
  const signal = AbortSignal.any([lease.lost, upload.shutdown]);
  const cleaning: Upload = { ...upload, context: { ...upload.context, signal } };
  if (record.data.request.keepFailed && verdict?.code !== 'CANCELLED') {
    await tryToPutBack(cleaning);
    return fail(ending);
  }
  const ready = await cleanUp(cleaning);
  if (!ready) return fail(ending);
  await keepReady(cleaning, ending, ready);
}

/** Undefined if the upload failed for good: then the verdict is stored before anything else. */
async function attempt(
  upload: Upload,
  { record, lease, brakes }: Ending,
): Promise<UploadResult | undefined> {
  const { signal } = upload.context;
  try {
    return await runUpload(upload);
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

function uploadOf(
  world: ProcessorWorld,
  run: Run,
  { record, meter, access }: { record: JobRecord; meter: Meter; access: TargetAccess },
): Upload {
  const { lease, shutdown, line } = run;
  const { settings, log, installation, brakes, reservations, storage } = world;
  const { request } = record.data;
  const jobId = record.id;
  let isTrial = true;
  /** The target lets us work: whatever kept its jobs back is over. */
  const works = (patch: Partial<Checkpoint>): void => {
    if (!isTrial || !(patch.item || patch.progressedAt)) return;
    isTrial = false;
    void brakes.liftFault(request.target).catch(() => undefined);
  };
  return {
    request,
    owner: { installation, jobId },
    shutdown,
    context: {
      signal: AbortSignal.any([lease.lost, lease.cancelled, shutdown]),
      requestId: requestIdOf(run),
    },
    deps: {
      vcd: access.vcd,
      openImage: world.openImage,
      checkpoint: {
        get current() {
          return record.data.checkpoint;
        },
        async save(patch) {
          works(patch);
          await record.saveCheckpoint(patch);
        },
        note(patch) {
          works(patch);
          record.noteCheckpoint(patch);
        },
      },
      meter,
      line,
      reservation: {
        async claim(catalogUrn) {
          const reserved = await asked(() => reservations.claim(catalogUrn, record.data, jobId));
          if (reserved !== record.data.checkpoint.reserved) record.noteCheckpoint({ reserved });
        },
        isLiving: (id) => asked(() => reservations.isLiving(id)),
        isUnderWay: (id) => asked(() => reservations.isUnderWay(id)),
      },
      storage: {
        async claim(profile, needed) {
          const share = await asked(() => storage.claim(profile, jobId, needed));
          const before = record.data.checkpoint.storage;
          if (share === before) return;
          if (before !== null) await storage.release(before, jobId).catch(() => undefined);
          record.noteCheckpoint({ storage: share });
        },
      },
      chunks: new ChunkSizer(settings.chunkBytes),
      throttle: world.throttle(request.target),
      window: transferWindow(() => world.limitsOf(request.target)),
      onImported(ms) {
        const { bytesTotal } = meter.snapshot();
        world.onImported(request.target, bytesTotal, ms);
      },
      assertOwned: () => lease.assertHeld(),
      newPatience: () =>
        new Patience({
          limitMs: settings.patienceMs,
          untilReachable: (signal) => access.gate.untilUp(signal),
          onRetry(error, delayMs) {
            log.warn({ job: jobId, code: error.code, delayMs }, error.message);
          },
        }),
      settings,
      log,
    },
  };
}
