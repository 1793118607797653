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
    const open = ids.filter((id) => {
      const before = seen.get(id);
      return !before || !isOver(before);
    });
    try {
      for (const job of await ferry.getMany(open)) seen.set(job.id, job);
    } catch (error) {
      // The jobs go on without us: an outage only means that there is nothing new to show.
      const isFirst = seen.size === 0;
      if (classify(error).code !== 'REDIS_UNAVAILABLE' || isFirst) throw error;
    }
    const jobs = [...seen.values()];
    yield jobs;
    if (jobs.every(isOver) || signal.aborted) return;
    // Thousands are looked at less often: this process may be the one that works on them.
    const pauseMs = Math.max(LOOK_MS, open.length);
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}
