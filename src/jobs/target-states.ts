import type { Redis } from 'ioredis';
import type { Rates } from './batch/rates.ts';
import type { Brake, Brakes } from './brakes.ts';
import { type JobState, toState } from './job-view.ts';
import { SILENT_MS } from './limits/in-flight.ts';
import type { Limits, TargetLimits } from './limits/limits.ts';
import { inFlightKey, poolOfQueue, targetOfQueue } from './names.ts';
import { workersOf } from './presence.ts';
import type { QueueSet } from './queue-set.ts';

/** Why jobs that could begin do not. */
type WaitReason =
  /** The target is at fault, see its brake. */
  | 'held'
  /** No worker that lives takes these jobs. */
  | 'no-worker'
  /** Outside a transfer window. */
  | 'window'
  /** As much as may be is begun and not imported. */
  | 'in-flight'
  /** Others go first. */
  | 'turn';

interface Wait {
  readonly reason: WaitReason;
  /** Jobs of this pool alone; null for all. */
  readonly pool: string | null;
  /** ISO 8601; null where nobody knows. */
  readonly until: string | null;
}

/** A target as its queues, workers and limits show it. Nothing is asked of the target itself. */
export interface TargetState {
  readonly name: string;
  /** False for one that has had jobs and is not configured any more. */
  readonly isConfigured: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
  /** When the job that waits longest was enqueued, ISO 8601; null where none waits. */
  readonly oldestWaitingAt: string | null;
  /** Bytes per second of late, over all workers; null where nothing was sent. */
  readonly rate: number | null;
  /** Processes that take its jobs. */
  readonly workers: number;
  readonly brake: Brake | null;
  /** Null where it is always open. Times in ISO 8601, null for never. */
  readonly window: { readonly isOpen: boolean; readonly changesAt: string | null } | null;
  /** Bytes that are begun and not imported, with what they are limited by. */
  readonly inFlight: readonly {
    readonly of: string;
    readonly bytes: number;
    readonly limit: number;
    /** Whether a job waits for room. */
    readonly isAwaited: boolean;
  }[];
  /** Why its waiting jobs wait; empty where none does. */
  readonly waits: readonly Wait[];
}

export interface TargetStatesDeps {
  readonly redis: Redis;
  readonly queues: QueueSet;
  readonly brakes: Pick<Brakes, 'all'>;
  readonly rates: Pick<Rates, 'ofTarget'>;
}

interface QueueState {
  readonly pool: string | null;
  readonly counts: Readonly<Record<JobState, number>>;
  readonly oldestAt: number | undefined;
  /** Ids of the processes that serve it. */
  readonly workers: readonly string[];
}

/**
 * All targets that are configured or have had a job, by name.
 *
 * @param limits without them nothing is said of windows and of bytes in flight
 */
export async function targetStates(
  deps: TargetStatesDeps,
  limits: Pick<Limits, 'targets'> | undefined,
): Promise<TargetState[]> {
  const brakes = await deps.brakes.all();
  const queues = await deps.queues.names();
  const names = new Set([...(limits?.targets.keys() ?? []), ...queues.map(targetOfQueue)]);
  const states: TargetState[] = [];
  for (const name of [...names].sort()) {
    const own = queues.filter((queue) => targetOfQueue(queue) === name);
    const looks = await Promise.all(own.map((queue) => lookAt(queue, deps)));
    const brake = brakes.get(name) ?? null;
    const window = windowOf(limits?.targets.get(name));
    const inFlight = await inFlightOf(limits?.targets.get(name), deps.redis);
    const oldest = looks.flatMap(({ oldestAt }) => oldestAt ?? []);
    states.push({
      name,
      isConfigured: limits?.targets.has(name) ?? true,
      counts: sumOf(looks),
      oldestWaitingAt: oldest.length === 0 ? null : new Date(Math.min(...oldest)).toISOString(),
      rate: (await deps.rates.ofTarget(name)) ?? null,
      workers: new Set(looks.flatMap(({ workers }) => workers)).size,
      ...{ brake, window, inFlight },
      waits: waitsOf(looks, { brake, window, inFlight }),
    });
  }
  return states;
}

async function lookAt(
  name: string,
  { queues, redis }: Pick<TargetStatesDeps, 'queues' | 'redis'>,
): Promise<QueueState> {
  const queue = queues.of(name);
  const [jobCounts, [first], workers] = await Promise.all([
    queue.getJobCounts(),
    queue.getJobs(['wait', 'prioritized'], 0, 0, true),
    workersOf(redis, name),
  ]);
  const counts = { ...NONE };
  for (const [name, count] of Object.entries(jobCounts)) {
    const state = toState(name);
    if (state) counts[state] += count;
  }
  return { pool: poolOfQueue(name), counts, oldestAt: first?.timestamp, workers };
}

const NONE: Record<JobState, number> = {
  ...{ waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0 },
};

function sumOf(looks: readonly QueueState[]): Record<JobState, number> {
  const sum = { ...NONE };
  for (const { counts } of looks) {
    for (const state of Object.keys(sum) as JobState[]) sum[state] += counts[state];
  }
  return sum;
}

function windowOf(limits: TargetLimits | undefined): TargetState['window'] {
  if (!limits?.windows) return null;
  const now = Date.now();
  const closes = limits.windows.closesAt(now);
  const changes = closes ?? limits.windows.opensAt(now);
  return { isOpen: closes !== undefined, changesAt: isoOf(changes) };
}

async function inFlightOf(
  limits: TargetLimits | undefined,
  redis: Redis,
): Promise<TargetState['inFlight']> {
  const shares = (limits?.inFlight ?? []).map(async ({ of, bytes: limit }) => {
    const { taken, seen } = inFlightKey(of);
    const bytes = (await redis.hvals(taken)).reduce((sum, share) => sum + Number(share), 0);
    const waiting = await redis.zcount(seen, Date.now() - SILENT_MS, '+inf');
    return { of, bytes, limit, isAwaited: waiting > 0 };
  });
  return Promise.all(shares);
}

function waitsOf(
  looks: readonly QueueState[],
  { brake, window, inFlight }: Pick<TargetState, 'brake' | 'window' | 'inFlight'>,
): Wait[] {
  const waiting = looks.filter(({ counts }) => counts.waiting > 0);
  if (waiting.length === 0) return [];
  const unserved = waiting.filter(({ workers }) => workers.length === 0);
  const waits: Wait[] = unserved.map(({ pool }) => ({ reason: 'no-worker', pool, until: null }));
  const all = (reason: WaitReason, until: string | null): Wait => ({ reason, pool: null, until });
  if (brake) waits.unshift(all('held', isoOf(brake.trialAt ?? Number.NaN)));
  if (window && !window.isOpen) waits.push(all('window', window.changesAt));
  if (inFlight.some(({ isAwaited }) => isAwaited)) waits.push(all('in-flight', null));
  return waits.length > 0 ? waits : [all('turn', null)];
}

function isoOf(moment: number): string | null {
  return Number.isFinite(moment) ? new Date(moment).toISOString() : null;
}
