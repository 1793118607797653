import type { Config } from '../config/load.ts';
import { type Plan, planUploads } from '../dry-run.ts';
import { isTargetFault } from '../errors.ts';
import type { UploadOrder } from '../index.ts';
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

/** Says what would become of uploads, and enqueues none. Exit 1 if one would fail, 3 if a target would. */
export async function dryRun(
  config: Config,
  orders: readonly UploadOrder[],
  options: GlobalOptions,
): Promise<number> {
  const interrupt = interruption();
  try {
    const plans = await planUploads(config, orders, interrupt.signal);
    if (options.json) printJson(plans);
    else for (const plan of plans) print(plan, options);
    return exitCodeFor(plans.flatMap(({ problems }) => problems));
  } finally {
    interrupt.close();
  }
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
  const verdict = fails ? 'would fail' : 'would be uploaded';
  say(`${sign} ${name} → ${target}/${catalog}: ${verdict}${much}${until}`, options);
  for (const warning of warnings) say(`    ${warning}`, options);
  for (const problem of problems) say(`    ${errorLines(problem)}`, options);
}
