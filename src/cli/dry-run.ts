import type { Config } from '../config/load.ts';
import { type Plan, planUploads } from '../dry-run.ts';
import { classify, isTargetFault } from '../errors.ts';
import { type Ferry, openFerry, type UploadOrder } from '../index.ts';
import {
  bytes,
  errorLines,
  exitCodeOf,
  type GlobalOptions,
  localTime,
  paint,
  printJson,
  say,
} from './output.ts';
import { interruption, unlessInterrupted } from './signals.ts';
import { enqueueOptionsOf, type UploadOptions } from './sources.ts';

/** Says what would become of uploads, and enqueues none. Exit 1 if one would fail, 3 if a target would. */
export async function dryRun(
  config: Config,
  orders: readonly UploadOrder[],
  options: UploadOptions,
): Promise<number> {
  const interrupt = interruption();
  const ferry = await ferryIfThere(config);
  try {
    const { again } = options;
    const asked = ferry?.standing(orders, { again }) ?? Promise.resolve([]);
    const standing = await unlessInterrupted(asked, interrupt.signal);
    const { startAt } = enqueueOptionsOf(options);
    const looks = { signal: interrupt.signal, standing, startAt };
    const planned = await unlessInterrupted(planUploads(config, orders, looks), interrupt.signal);
    const plans = ferry ? await withForecast(ferry, planned, options) : planned;
    if (options.json) printJson(plans);
    else {
      for (const plan of plans) print(plan, options);
      sayTotal(plans, options);
    }
    return exitCodeFor(plans.flatMap(({ problems }) => problems));
  } finally {
    interrupt.close();
    await ferry?.close();
  }
}

/** Without a Redis that can be asked, nobody knows what is there already, and how fast it goes. */
async function ferryIfThere(config: Config): Promise<Ferry | undefined> {
  try {
    return await openFerry(config);
  } catch (error) {
    if (classify(error).code !== 'REDIS_UNAVAILABLE') throw error;
    process.stderr.write('Redis is out of reach: what is queued or done already is not known\n');
    return undefined;
  }
}

/** In the order in which they would go. */
async function withForecast(
  ferry: Ferry,
  plans: readonly Plan[],
  { order = 'listed' }: UploadOptions,
): Promise<Plan[]> {
  const sign = { listed: 0, smallest: 1, largest: -1 }[order];
  const going = plans
    .filter(isGoing)
    .map((plan) => ({
      ...{ plan, target: plan.target, bytes: plan.bytes ?? 0 },
      startAt: plan.startAt === null ? undefined : new Date(plan.startAt),
    }))
    .sort((a, b) => sign * (a.bytes - b.bytes));
  // Only an addition: without it the plans are worth as much.
  const ends = await ferry.forecast(going).catch(() => []);
  const expected = new Map(going.map(({ plan }, i) => [plan, ends[i]?.toISOString() ?? null]));
  return plans.map((plan) => ({ ...plan, expectedAt: expected.get(plan) ?? null }));
}

function isGoing({ existing, problems }: Plan): boolean {
  return existing === null && problems.length === 0;
}

function isLate({ deadline, expectedAt }: Plan): boolean {
  return deadline !== null && expectedAt !== null && expectedAt > deadline;
}

function sayTotal(plans: readonly Plan[], options: GlobalOptions): void {
  if (plans.length < 2) return;
  const there = plans.filter(({ existing }) => existing !== null).length;
  const bad = plans.filter(({ problems }) => problems.length > 0).length;
  const fresh = plans.filter(isGoing);
  const much = fresh.reduce((sum, plan) => sum + (plan.bytes ?? 0), 0);
  const others = [
    ...(there > 0 ? [`${there} are there already`] : []),
    ...(bad > 0 ? [`${bad} would fail`] : []),
  ];
  const late = fresh.filter(isLate).length;
  if (late > 0) others.push(paint('yellow', `${late} would miss the deadline`, options.color));
  const ends = fresh.map(({ expectedAt }) => expectedAt);
  const last = ends.includes(null) ? undefined : ends.toSorted().at(-1);
  const when = last ? `, the last by ${localTime(last)}` : '';
  say([`${fresh.length} would be uploaded, ${bytes(much)}${when}`, ...others].join('; '), options);
  const unknown = fresh.filter(({ expectedAt }) => expectedAt === null);
  if (unknown.length === 0) return;
  const where = [...new Set(unknown.map(({ target }) => target))].join(', ');
  say(`how long it takes to ${where} is not known: too little was sent there of late`, options);
}

/** What fails an upload, then what is wrong with the configuration, then with a target. */
function exitCodeFor(problems: readonly { readonly code: string }[]): number {
  if (problems.length === 0) return 0;
  const isOther = ({ code }: { readonly code: string }): boolean =>
    !isTargetFault(code) && exitCodeOf({ code }) !== 3;
  if (problems.some(isOther)) return 1;
  return problems.some(({ code }) => code === 'CREDENTIALS_MISSING') ? 2 : 3;
}

function print(plan: Plan, options: GlobalOptions): void {
  const { name, target, catalog, bytes: size, removedAt, warnings, problems } = plan;
  const fails = problems.length > 0;
  const sign = fails ? paint('red', '✗', options.color) : paint('green', '✓', options.color);
  const much = size === null ? '' : `, ${bytes(size)}`;
  const until = removedAt === null ? '' : `; vCD would remove it on ${removedAt.slice(0, 10)}`;
  const { existing } = plan;
  const stays = existing && `is there already (${existing.state}, ${existing.id})`;
  const verdict = stays ?? (fails ? 'would fail' : 'would be uploaded');
  const when = plan.expectedAt === null ? '' : `, there by ${localTime(plan.expectedAt)}`;
  const late = isLate(plan) ? paint('yellow', ', after its deadline', options.color) : '';
  const words = `${verdict}${much}${when}${late}${until}`;
  say(`${sign} ${name} → ${target}/${catalog}: ${words}`, options);
  for (const warning of warnings) say(`    warning: ${warning}`, options);
  for (const problem of problems) say(`    ${errorLines(problem)}`, options);
}
