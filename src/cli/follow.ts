import { setTimeout as sleep } from 'node:timers/promises';
import { classify } from '../errors.ts';
import type { Ferry, JobDetails } from '../index.ts';

const LOOK_MS = 250;

export function isOver({ state }: JobDetails): boolean {
  return state === 'completed' || state === 'failed';
}

/**
 * Yields the jobs as they are, again and again, until all of them have ended or the signal is
 * aborted.
 */
export async function* followJobs(
  ferry: Ferry,
  ids: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<JobDetails[]> {
  const seen = new Map<string, JobDetails>();
  for (;;) {
    for (const id of ids) {
      const before = seen.get(id);
      if (before && isOver(before)) continue;
      try {
        seen.set(id, await ferry.get(id));
      } catch (error) {
        // The jobs go on without us: an outage only means that there is nothing new to show.
        if (classify(error).code !== 'REDIS_UNAVAILABLE' || !before) throw error;
      }
    }
    const jobs = [...seen.values()];
    yield jobs;
    if (jobs.every(isOver) || signal.aborted) return;
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}
