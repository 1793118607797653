import { type Config, loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import {
  type BatchState,
  type Ferry,
  type JobDetails,
  openFerry,
  type TargetState,
} from '../index.ts';
import { findTarget } from '../order-parts.ts';
import { batchLines } from './batch.ts';
import {
  brakeLine,
  bytes,
  type GlobalOptions,
  localTime,
  printJson,
  say,
  showJobs,
} from './output.ts';

interface StatusOptions extends GlobalOptions {
  readonly batch?: string;
  readonly batches?: boolean;
  readonly summary?: boolean;
  readonly failed?: boolean;
  readonly target?: string;
  readonly limit: number;
}

export async function status(ids: string[], options: StatusOptions): Promise<number> {
  const { batch, batches, summary } = options;
  if (summary && batch === undefined) {
    throw new FerryError('USAGE', '--summary goes with --batch NAME');
  }
  const config = loadConfig({ file: options.config, redis: options.redis });
  const ferry = await openFerry(config);
  try {
    await assertKnown(options.target, config, ferry);
    if (batches) showBatches(await ferry.batches(), options);
    else if (batch !== undefined && (summary || !options.json)) {
      showBatches([await ferry.batch(batch)], options);
    }
    const jobs = batches || summary ? [] : await select(ferry, ids, options);
    if (!batches && !summary) showJobs(jobs, options);
    const isNarrowed = ids.length > 0 || batch !== undefined;
    const shown = new Set(jobs.map((job) => job.target));
    for (const target of await ferry.targets()) {
      if (options.target !== undefined && options.target !== target.name) continue;
      if (isNarrowed && !summary && !shown.has(target.name)) continue;
      for (const line of waitLines(target)) process.stderr.write(`${line}\n`);
    }
    if (!options.json && ids.length === 0 && batch === undefined && !batches) {
      const counts = await ferry.counts(
        options.target === undefined ? undefined : [options.target],
      );
      const words = Object.entries(counts).map(([state, count]) => `${count} ${state}`);
      say(words.join(', '), options);
    }
    return 0;
  } finally {
    await ferry.close();
  }
}

/** One that was removed from the configuration may still have jobs. @throws FerryError TARGET_UNKNOWN */
async function assertKnown(
  target: string | undefined,
  { targets }: Config,
  ferry: Ferry,
): Promise<void> {
  if (target === undefined || targets.has(target)) return;
  const states = await ferry.targets();
  if (!states.some(({ name }) => name === target)) findTarget(target, targets);
}

/** Why a target's jobs do not move. */
function waitLines({ name, brake, inFlight, counts, waits }: TargetState): string[] {
  const lines = brake ? [brakeLine(name, brake)] : [];
  const many = `${counts.waiting} ${counts.waiting === 1 ? 'waits' : 'wait'}`;
  for (const { reason, pool, until } of waits) {
    const which = pool === null ? '' : ` of the pool ${pool}`;
    if (reason === 'no-worker') lines.push(`${name}: no worker takes its jobs${which}`);
    if (reason === 'window') {
      const when = until === null ? '' : `, which opens ${localTime(until)}`;
      lines.push(`${name}: ${many}: it is outside its window${when}`);
    }
    if (reason !== 'in-flight') continue;
    for (const { of, bytes: taken, limit, isAwaited } of inFlight) {
      if (!isAwaited) continue;
      lines.push(
        `${name}: ${many}: of ${of} ${bytes(taken)} are in flight, ${bytes(limit)} may be`,
      );
    }
  }
  return lines;
}

function showBatches(states: readonly BatchState[], options: StatusOptions): void {
  if (options.json) printJson(options.batches ? states : states[0]);
  else for (const state of states) say(batchLines(state, options.color).join('\n'), options);
}

/** By ids in their order; else newest first, narrowed. */
export async function select(
  ferry: Ferry,
  ids: readonly string[],
  { batch, failed, target, limit }: Omit<StatusOptions, 'color'>,
): Promise<JobDetails[]> {
  if (ids.length > 0) return ferry.getMany(ids);
  if (batch === undefined) {
    return ferry.list({
      targets: target === undefined ? undefined : [target],
      ...(failed ? { states: ['failed'] } : {}),
      limit,
    });
  }
  const jobs = await ferry.jobsOfBatch(batch);
  return jobs
    .filter((job) => (!failed || job.state === 'failed') && (!target || job.target === target))
    .sort((a, b) => b.enqueuedAt.localeCompare(a.enqueuedAt));
}
