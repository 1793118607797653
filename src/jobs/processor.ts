import { type Job, UnrecoverableError } from 'bullmq';
import { classify, FerryError, isTargetFault } from '../errors.ts';
import type { BlockPool } from '../source/blocks.ts';
import { ChunkSizer } from './chunks.ts';
import { cleanUp } from './clean-up.ts';
import { type Checkpoint, type JobData, type JobProgress, parseJobData } from './job-data.ts';
import { toJobError } from './job-error.ts';
import type { Lease } from './lease.ts';
import { Meter } from './meter.ts';
import { Patience, retryDelayMs } from './retry.ts';
import { runUpload } from './run-upload.ts';
import type {
  Log,
  Throttle,
  Upload,
  UploadDeps,
  UploadResult,
  UploadSettings,
} from './upload-deps.ts';

/** What every run of this process shares. */
export interface ProcessorWorld {
  /** The target's client. @throws FerryError CREDENTIALS_MISSING */
  readonly vcdOf: (target: string) => Promise<UploadDeps['vcd']>;
  readonly openImage: UploadDeps['openImage'];
  readonly throttle: Throttle;
  readonly settings: ProcessorSettings;
  /** Names this installation in the marks of what it creates. */
  readonly installation: string;
  readonly log: Log;
}

export interface ProcessorSettings extends UploadSettings {
  /** Bytes; undefined to adapt to the line. */
  readonly chunkBytes: number | undefined;
  /** How long a run waits for a target before it gives its slot back. */
  readonly patienceMs: number;
  /** How long nothing may move before the job fails for good. */
  readonly giveUpMs: number;
}

/** One run of one job. */
export interface Run {
  readonly job: Job;
  readonly token: string;
  readonly lease: Lease;
  readonly pool: BlockPool;
  /** Aborted with SHUTDOWN when this process is to stop. */
  readonly shutdown: AbortSignal;
}

const TARGET_FAULT_FIRST_DELAY_MS = 30_000;
const LONGEST_DELAY_MS = 10 * 60_000;

/**
 * BullMQ's side of an upload: reads the job's data, tells the story, and moves the job to where its
 * outcome belongs. No upload logic lives here.
 */
export async function processJob(world: ProcessorWorld, run: Run): Promise<void> {
  let record: JobRecord;
  try {
    record = new JobRecord(run, parseJobData(run.job.data), world.log);
  } catch (error) {
    await run.lease.close();
    await run.job.moveToFailed(new UnrecoverableError(String(error)), run.token, false);
    return;
  }
  const meter = new Meter(progressBefore(run.job, record.data.checkpoint));
  run.lease.reportProgress(() => meter.snapshot());
  try {
    // The first beat also brings a wish that was left while the job waited.
    await record.save({ startedAt: record.data.startedAt ?? Date.now() });
    record.say('info', record.data.checkpoint.item ? 'goes on' : 'begins');
    if (await endUnbegun(record, run)) return;
    const vcd = await world.vcdOf(record.data.request.target);
    const upload = uploadOf(world, run, { record, meter, vcd });
    await tell(upload, record, run);
  } catch (error) {
    const failure = classify(run.lease.lost.aborted ? run.lease.lost.reason : error);
    // Whatever the job needs now, somebody else does it.
    if (failure.code === 'LOCK_LOST') world.log.warn({ job: run.job.id }, failure.message);
    else await conclude(world, run, record, failure);
  }
}

/** A job that is cancelled before it touched the server ends without it: it may be out of reach. */
async function endUnbegun(record: JobRecord, run: Run): Promise<boolean> {
  const { creating, item } = record.data.checkpoint;
  if (!run.lease.cancelled.aborted || creating || item) return false;
  const failure = classify(run.lease.cancelled.reason);
  await record.save({ verdict: toJobError(failure, record.data.request, true) });
  await fail(record, run);
  return true;
}

/** The upload, or what is left of one that has failed: its traces on the server. */
async function tell(upload: Upload, record: JobRecord, run: Run): Promise<void> {
  if (!record.data.verdict) {
    const result = await attempt(upload, record, run);
    if (result) return complete(result, record, run);
  }
  // The run's own signal may be what ended it; only losing the job stops the cleaning up.
  const signal = AbortSignal.any([run.lease.lost, run.shutdown]);
  const cleaning: Upload = { ...upload, context: { ...upload.context, signal } };
  const { item } = record.data.checkpoint;
  if (await cleanUp(cleaning)) return fail(record, run);
  // It had become ready meanwhile, and what is ready is not taken away.
  const late = `${record.data.verdict?.message ?? 'it failed'}, but the item was ready already`;
  const done = { catalogItem: item?.itemHref ?? '', entity: item?.entityHref ?? '' };
  return complete({ ...done, warnings: [late] }, record, run);
}

/** Undefined if the upload failed for good: then the verdict is stored before anything else. */
async function attempt(
  upload: Upload,
  record: JobRecord,
  run: Run,
): Promise<UploadResult | undefined> {
  const { signal } = upload.context;
  try {
    return await runUpload(upload);
  } catch (error) {
    run.lease.assertHeld();
    const failure = classify(signal.aborted ? signal.reason : error);
    const final = failure.kind === 'permanent' || failure.code === 'CANCELLED';
    if (!final || isTargetFault(failure.code)) throw failure;
    await record.save({ verdict: toJobError(failure, record.data.request, true) });
    return undefined;
  }
}

async function complete(result: UploadResult, record: JobRecord, run: Run): Promise<void> {
  const attempts = record.data.attempts + 1;
  const warnings = [...result.warnings];
  await record.save({ attempts, error: null, failingSince: null, verdict: null, warnings });
  await run.lease.close();
  await run.job.moveToCompleted(result, run.token, false);
  for (const warning of warnings) record.say('warn', warning);
  record.say('info', 'is in the catalog');
}

async function fail(record: JobRecord, run: Run): Promise<void> {
  const { verdict, attempts } = record.data;
  await record.save({ attempts: attempts + 1, error: verdict });
  await run.lease.close();
  const reason = `${verdict?.code}: ${verdict?.message}`;
  await run.job.moveToFailed(new UnrecoverableError(reason), run.token, false);
  record.say('error', reason);
}

/** Whatever did not end the job: it waits for its next run. */
async function conclude(
  world: ProcessorWorld,
  run: Run,
  record: JobRecord,
  failure: FerryError,
): Promise<void> {
  const { job, lease, token } = run;
  if (failure.code === 'SHUTDOWN') {
    await lease.close();
    await job.moveToWait(token);
    world.log.info({ job: job.id }, 'handed to the next worker');
    return;
  }
  const { data } = record;
  // Counted from the first failure in a row; a fault of the target is not the job's to be counted.
  const { progressedAt } = data.checkpoint;
  const since = Math.max(data.failingSince ?? Date.now(), progressedAt ?? 0);
  const failingSince = isTargetFault(failure.code) ? null : since;
  if (Date.now() - since > world.settings.giveUpMs && failingSince !== null) {
    const gaveUp = new FerryError(
      'GAVE_UP',
      `nothing moved since ${new Date(since).toISOString()}; the last failure: ${failure.message}`,
      { cause: failure },
    );
    record.note({ verdict: toJobError(gaveUp, data.request, true) });
  }
  const attempts = data.attempts + 1;
  const delayMs = delayOf(failure, attempts);
  const retryAt = Date.now() + delayMs;
  const error = toJobError(failure, data.request, false);
  record.note({ attempts, retryAt, failingSince, error });
  await lease.close();
  world.log.warn(
    { job: job.id, code: failure.code, delayMs },
    `${failure.message}; tried again in ${Math.round(delayMs / 1000)} s`,
  );
  await job.moveToDelayed(retryAt, token);
}

/** The last beat of a run that died knows more than the checkpoint. */
function progressBefore(
  job: Job,
  checkpoint: Checkpoint,
): Pick<JobProgress, 'files' | 'bytesResent'> {
  const { files = [], bytesResent = 0 } = (job.progress ?? {}) as Partial<JobProgress>;
  return { files, bytesResent: Math.max(bytesResent, checkpoint.bytesResent) };
}

/** A fault of the target is everybody's, and asking often may lock an account. */
function delayOf(failure: FerryError, attempts: number): number {
  if (!isTargetFault(failure.code)) return retryDelayMs(attempts, failure);
  return Math.min(TARGET_FAULT_FIRST_DELAY_MS * 2 ** (attempts - 1), LONGEST_DELAY_MS);
}

/** The job's data in memory, and the one way to change it. */
class JobRecord {
  data: JobData;
  readonly #run: Run;
  readonly #log: Log;

  constructor(run: Run, data: JobData, log: Log) {
    this.data = data;
    this.#run = run;
    this.#log = log;
  }

  /** Writes a line about this job. */
  say(level: 'info' | 'warn' | 'error', message: string): void {
    const { name, target, catalog } = this.data.request;
    this.#log[level]({ job: this.#run.job.id, name, target, catalog }, message);
  }

  note(patch: Partial<JobData>): void {
    this.data = { ...this.data, ...patch };
    this.#run.lease.note(this.data);
  }

  async save(patch: Partial<JobData>): Promise<void> {
    const before = this.data;
    this.data = { ...before, ...patch };
    try {
      await this.#run.lease.save(this.data);
    } catch (error) {
      // What was refused must not be stored by a later beat, for it will be acted on otherwise.
      const undone = Object.keys(patch).map((key) => [key, before[key as keyof JobData]]);
      this.note(Object.fromEntries(undone));
      throw error;
    }
  }

  patchCheckpoint(patch: Partial<Checkpoint>): Partial<JobData> {
    return { checkpoint: { ...this.data.checkpoint, ...patch } };
  }
}

function uploadOf(
  world: ProcessorWorld,
  run: Run,
  { record, meter, vcd }: { record: JobRecord; meter: Meter; vcd: UploadDeps['vcd'] },
): Upload {
  const { lease, job, shutdown, pool } = run;
  const { settings, log } = world;
  const request = record.data.request;
  return {
    request,
    token: `[ovaferry ${world.installation}/${job.id}]`,
    context: {
      signal: AbortSignal.any([lease.lost, lease.cancelled, shutdown]),
      requestId: `ovaferry-${job.id}`,
    },
    deps: {
      vcd,
      openImage: world.openImage,
      checkpoint: {
        get current() {
          return record.data.checkpoint;
        },
        save: (patch) => record.save(record.patchCheckpoint(patch)),
        note: (patch) => record.note(record.patchCheckpoint(patch)),
      },
      meter,
      pool,
      chunks: new ChunkSizer(settings.chunkBytes),
      throttle: world.throttle,
      assertOwned: () => lease.assertHeld(),
      newPatience: () =>
        new Patience({
          limitMs: settings.patienceMs,
          onRetry(error, delayMs) {
            log.warn({ job: job.id, code: error.code, delayMs }, error.message);
          },
        }),
      settings,
      log,
    },
  };
}
