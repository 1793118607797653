import type { BatchState } from '../jobs/batch/overview.ts';
import type { JobDetails, JobState } from '../jobs/job-view.ts';
import type { TargetState } from '../jobs/target-states.ts';
import { MovingRate } from './moving-rate.ts';
import { Recent } from './recent.ts';

/** An upload that runs. Rate in bytes per second; null where there is nothing to go by yet. */
export interface RunningUpload extends JobDetails {
  readonly rate: number | null;
  /** Until its last byte has been sent, at that rate. */
  readonly leftMs: number | null;
}

/** What the page shows. */
export interface DashboardState {
  /** ISO 8601. */
  readonly at: string;
  readonly targets: readonly TargetState[];
  /** Newest first. */
  readonly batches: readonly BatchState[];
  readonly running: readonly RunningUpload[];
  /** What waits to be tried again, newest first. */
  readonly retrying: readonly JobDetails[];
  /** What has failed, the last first. */
  readonly failed: readonly JobDetails[];
}

/** Where the page's state comes from. */
export interface DashboardSource {
  targets(): Promise<TargetState[]>;
  batches(atMost: number): Promise<BatchState[]>;
  list(query: { states: readonly JobState[]; limit: number }): Promise<JobDetails[]>;
}

const SHOWN = { running: 1_000, others: 200, batches: 50 };
/** What runs moves; the rest is dearer to look at. */
const SHORTEST = { runningMs: 500, targetsMs: 900, othersMs: 1_800, batchesMs: 2_500 };

/** Looks for any number of pages. @throws FerryError REDIS_UNAVAILABLE */
export function createDashboardLook(source: DashboardSource): () => Promise<DashboardState> {
  const rates = new Map<string, MovingRate>();
  const running = new Recent(async () => {
    const jobs = await source.list({ states: ['active'], limit: SHOWN.running });
    const ids = new Set(jobs.map(({ id }) => id));
    for (const id of rates.keys()) if (!ids.has(id)) rates.delete(id);
    return jobs.map((job) => withRate(job, rates));
  }, SHORTEST.runningMs);
  const others = (states: readonly JobState[]): Recent<JobDetails[]> =>
    new Recent(() => source.list({ states, limit: SHOWN.others }), SHORTEST.othersMs);
  const delayed = others(['delayed']);
  const failed = others(['failed']);
  const targets = new Recent(() => source.targets(), SHORTEST.targetsMs);
  const batches = new Recent(() => source.batches(SHOWN.batches), SHORTEST.batchesMs);
  return async () => {
    const [a, b, c, d, e] = await Promise.all([
      targets.get(),
      batches.get(),
      running.get(),
      delayed.get(),
      failed.get(),
    ]);
    return {
      at: new Date().toISOString(),
      ...{ targets: a, batches: b, running: c },
      // What was told to begin later is in no trouble.
      retrying: d.filter(({ error }) => error !== null),
      failed: e.toSorted((x, y) => (y.finishedAt ?? '').localeCompare(x.finishedAt ?? '')),
    };
  };
}

function withRate(job: JobDetails, rates: Map<string, MovingRate>): RunningUpload {
  const rate = rates.get(job.id) ?? new MovingRate();
  rates.set(job.id, rate);
  const kept = job.bytesSent - job.bytesResent;
  rate.add(kept);
  const perSecond = job.stage === 'transferring' ? rate.perSecond() : undefined;
  const isMoving = perSecond !== undefined && perSecond >= 1;
  return {
    ...job,
    rate: perSecond ?? null,
    leftMs: isMoving ? ((job.bytesTotal - kept) / perSecond) * 1_000 : null,
  };
}
