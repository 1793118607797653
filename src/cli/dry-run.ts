import type { Config } from '../config/load.ts';
import { type Plan, planUploads } from '../dry-run.ts';
import { isTargetFault } from '../errors.ts';
import { type Ferry, type JobDetails, openFerry, type UploadOrder } from '../index.ts';
import {
  bytes,
  errorLines,
  exitCodeOf,
  type GlobalOptions,
  paint,
  printJson,
  say,
} from './output.ts';
import { interruption } from './signals.ts';

interface DryRunOptions extends GlobalOptions {
  readonly again?: boolean;
}

/** Says what would become of uploads, and enqueues none. Exit 1 if one would fail, 3 if a target would. */
export async function dryRun(
  config: Config,
  orders: readonly UploadOrder[],
  options: DryRunOptions,
): Promise<number> {
  const interrupt = interruption();
  try {
    const standing = await standingOf(config, orders, options);
    const plans = await planUploads(config, orders, { signal: interrupt.signal, standing });
    if (interrupt.signal.aborted) return 130;
    if (options.json) printJson(plans);
    else {
      for (const plan of plans) print(plan, options);
      sayTotal(plans, options);
    }
    return exitCodeFor(plans.flatMap(({ problems }) => problems));
  } finally {
    interrupt.close();
  }
}

/** What is there already; without a Redis that can be asked nothing is. */
async function standingOf(
  config: Config,
  orders: readonly UploadOrder[],
  { again }: DryRunOptions,
): Promise<(JobDetails | undefined)[]> {
  let ferry: Ferry;
  try {
    ferry = await openFerry(config);
  } catch {
    process.stderr.write('Redis is out of reach: what is queued or done already is not known\n');
    return [];
  }
  try {
    return await ferry.standing(orders, { again });
  } finally {
    await ferry.close();
  }
}

function sayTotal(plans: readonly Plan[], options: GlobalOptions): void {
  if (plans.length < 2) return;
  const there = plans.filter(({ existing }) => existing !== null).length;
  const bad = plans.filter(({ problems }) => problems.length > 0).length;
  const fresh = plans.filter(({ existing, problems }) => !existing && problems.length === 0);
  const much = fresh.reduce((sum, plan) => sum + (plan.bytes ?? 0), 0);
  const others = [
    ...(there > 0 ? [`${there} are there already`] : []),
    ...(bad > 0 ? [`${bad} would fail`] : []),
  ];
  const words = [`${fresh.length} would be uploaded, ${bytes(much)}`, ...others];
  say(words.join('; '), options);
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
  say(`${sign} ${name} → ${target}/${catalog}: ${verdict}${much}${until}`, options);
  for (const warning of warnings) say(`    ${warning}`, options);
  for (const problem of problems) say(`    ${errorLines(problem)}`, options);
}
