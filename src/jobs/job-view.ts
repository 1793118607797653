import { dirname } from 'node:path';
import type { Job } from 'bullmq';
import { classify } from '../errors.ts';
import type { Receipt } from './batch/ledger.ts';
import {
  type JobData,
  type JobError,
  type JobProgress,
  newJobData,
  parseJobData,
  type Stage,
} from './job-data.ts';
import { toJobError } from './job-error.ts';
import type { JobRequest } from './job-request.ts';
import { poolOfQueue, queueOfJob, targetOfJob } from './names.ts';
import type { UploadResult } from './upload-deps.ts';

export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed';

/** A job as the contract shows it: every key always there, null where unknown. */
export interface JobView {
  readonly id: string;
  readonly state: JobState;
  /** What it does. */
  readonly operation: JobRequest['operation'];
  /** Null where only the server knows. */
  readonly kind: 'ovf' | 'media' | null;
  readonly source: string;
  readonly target: string;
  readonly catalog: string;
  readonly name: string;
  readonly batch: string | null;
  /** It was there before: nothing was added. */
  readonly existing: boolean;
  readonly stage: Stage;
  readonly bytesSent: number;
  readonly bytesTotal: number;
  readonly bytesResent: number;
  readonly attempts: number;
  readonly error: JobError | null;
  /** What is odd about the package, and what went wrong after the item was ready. */
  readonly warnings: readonly string[];
  readonly result: {
    readonly catalogItem: string;
    readonly entity: string;
    /** When vCD removes the item by itself, or when it was removed; null for never. */
    readonly removedAt: string | null;
    /** The file or folder that a download has made; else null. */
    readonly path: string | null;
  } | null;
  readonly enqueuedAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** Of the workers that can see the source; null for all. */
  readonly pool: string | null;
  /** When it should have arrived. */
  readonly deadline: string | null;
  /** The folder that a download goes to; else null. */
  readonly destination: string | null;
}

/** What `watch` needs besides: which files are under way. */
export interface JobDetails extends JobView {
  readonly files: JobProgress['files'];
  /** What `retry` need not send again, or fetch, as far as is known here. */
  readonly bytesOnServer: number;
  /** Of a delayed one: when it may run, ISO 8601. */
  readonly notBefore: string | null;
  /** 1 goes first. */
  readonly priority: number;
  /** What the requests of its last runs are called in vCD's own logs, newest last. */
  readonly requestIds: readonly string[];
}

/** Whether the item of a finished upload has been removed since, by vCD or with `ovaferry rm`. */
export function isRemoved({ result }: Pick<JobView, 'result'>): boolean {
  return result?.removedAt != null && Date.parse(result.removedAt) <= Date.now();
}

/** BullMQ's names for the states, in ours. */
export function toState(state: string): JobState | undefined {
  if (state === 'prioritized' || state === 'paused') return 'waiting';
  const known: readonly JobState[] = ['waiting', 'active', 'delayed', 'completed', 'failed'];
  return known.find((candidate) => candidate === state);
}

export function viewOf(job: Job, state: JobState, existing = false): JobDetails {
  const data = readable(job);
  const { request, attempts, error, startedAt, checkpoint, warnings, requestIds, retryAt } = data;
  const progress = isProgress(job.progress) ? job.progress : undefined;
  const result = state === 'completed' ? (job.returnvalue as UploadResult | null) : null;
  return {
    id: job.id ?? '',
    state,
    kind: request.kind ?? result?.kind ?? null,
    source: request.source,
    target: targetOfJob(job.id ?? ''),
    catalog: request.catalog,
    name: request.name,
    batch: request.batch,
    existing,
    stage: state === 'waiting' ? 'queued' : (progress?.stage ?? 'queued'),
    bytesSent: progress?.bytesSent ?? 0,
    bytesTotal: progress?.bytesTotal || expectedBytesOf(request),
    bytesResent: progress?.bytesResent ?? checkpoint.bytesResent,
    attempts,
    error,
    warnings,
    result: result && {
      catalogItem: result.catalogItem,
      entity: result.entity,
      removedAt: result.removedAt ?? null,
      path: result.path ?? null,
    },
    enqueuedAt: new Date(job.timestamp).toISOString(),
    startedAt: isoOf(startedAt),
    finishedAt: isoOf(job.finishedOn ?? null),
    pool: request.pool,
    deadline: isoOf(request.deadline),
    operation: request.operation,
    destination: request.operation === 'download' ? request.folder : null,
    files: progress?.files ?? [],
    bytesOnServer: checkpoint.item || checkpoint.download ? (progress?.bytesConfirmed ?? 0) : 0,
    // BullMQ's delay counts from when it was last put aside, which is not when it was enqueued.
    notBefore: state === 'delayed' ? isoOf(retryAt || job.timestamp + job.delay) : null,
    priority: job.priority,
    requestIds,
  };
}

function expectedBytesOf(request: JobRequest): number {
  return request.expectedBytes || (request.operation === 'upload' ? request.identity.size : 0);
}

/** An upload that BullMQ has forgotten. */
export function viewOfReceipt(receipt: Receipt): JobDetails {
  const { id, kind, source, target, catalog, name, batch, bytes, bytesSent, bytesResent } = receipt;
  const { operation, path } = receipt;
  const { attempts, catalogItem, entity, removedAt, enqueuedAt, startedAt, finishedAt } = receipt;
  return {
    ...{ id, state: 'completed', kind, source, target, catalog, name, batch, existing: false },
    ...{ stage: 'done', bytesSent, bytesTotal: bytes, bytesResent, attempts, error: null },
    warnings: receipt.warnings,
    result: { catalogItem, entity, removedAt, path },
    enqueuedAt: new Date(enqueuedAt).toISOString(),
    startedAt: new Date(startedAt).toISOString(),
    finishedAt: new Date(finishedAt).toISOString(),
    pool: poolOfQueue(queueOfJob(id)),
    deadline: isoOf(receipt.deadline),
    operation,
    destination: path === null ? null : dirname(path),
    files: receipt.files.map((file) => ({ ...file, sent: file.size })),
    bytesOnServer: bytes,
    ...{ notBefore: null, priority: 0, requestIds: receipt.requestIds },
  };
}

function isoOf(moment: number | null): string | null {
  return moment === null ? null : new Date(moment).toISOString();
}

/** A job that another release wrote is shown as what it is, and does not hide the others. */
function readable(job: Job): JobData {
  try {
    return parseJobData(job.data);
  } catch (error) {
    const source = String((job.data as { request?: { source?: unknown } })?.request?.source ?? '');
    const request: JobRequest = {
      ...{ operation: 'upload', kind: 'ovf', from: null, deploy: null },
      source,
      path: source,
      target: targetOfJob(job.id ?? ''),
      catalog: '',
      name: job.name,
      description: '',
      ifExists: 'fail',
      storageProfile: null,
      verify: 'full',
      batch: null,
      keepFailed: false,
      again: false,
      previous: null,
      leaseSeconds: null,
      metadata: [],
      pull: false,
      identity: { size: 0, mtimeMs: 0 },
      pool: null,
      expectedBytes: 0,
      deadline: null,
    };
    const failure = toJobError(classify(error), request, true);
    return { ...newJobData(request), error: failure };
  }
}

function isProgress(progress: unknown): progress is JobProgress {
  return typeof progress === 'object' && progress !== null && 'stage' in progress;
}
