import { styleText } from 'node:util';
import Table from 'cli-table3';
import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';
import type { FerryError } from '../errors.ts';
import type { Brake } from '../jobs/brakes.ts';
import { isRemoved, type JobDetails, type JobView } from '../jobs/job-view.ts';
import type { LogLevel } from '../observe/log.ts';

export interface GlobalOptions {
  readonly config?: string;
  readonly redis?: string;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
  readonly color: boolean;
}

/** Exit status of a command that could not do its work (contract, "Exit status"). */
export function exitCodeOf({ code }: { readonly code: string }): number {
  const unreachable: readonly string[] = [
    'REDIS_UNAVAILABLE',
    'REDIS_UNSUITABLE',
    'NETWORK',
    'SERVER_UNAVAILABLE',
    'TRANSFER_STALLED',
    'PROXY_REFUSED',
    'TLS_UNTRUSTED',
    'HOST_NOT_FOUND',
    'NOT_VCD',
    'AUTH_REJECTED',
    'VERSION_UNSUPPORTED',
    'CATALOG_FORBIDDEN',
    'ORG_NOT_FOUND',
    'STORAGE_FULL',
    'QUOTA_EXCEEDED',
  ];
  return unreachable.includes(code) ? 3 : 2;
}

/** The contract's object on stdout with --json; words on stderr always. */
export function printError(error: FerryError, { json, color }: GlobalOptions): void {
  const { code, message, hint, kind } = error;
  if (json) printJson({ error: { code, message, permanent: kind === 'permanent', hint } });
  else process.stderr.write(`${paint('red', 'error', color)}: ${message}\n  ${hint}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Words for people: on stdout, unless that is for machines. */
export function say(line: string, { json }: GlobalOptions): void {
  (json ? process.stderr : process.stdout).write(`${line}\n`);
}

type Colour = 'red' | 'green' | 'yellow' | 'cyan' | 'dim';

export function paint(colour: Colour, text: string, color: boolean): string {
  const wanted = color && process.env['NO_COLOR'] === undefined && process.stdout.isTTY;
  return wanted ? styleText(colour, text) : text;
}

/** A job without what only the progress display needs: the contract's keys, in its order. */
export function jobJson(details: JobDetails): JobView {
  const { files: _files, bytesOnServer: _onServer, ...rest } = details;
  const { notBefore: _notBefore, priority: _priority, requestIds: _requestIds, ...view } = rest;
  return view;
}

export function bytes(count: number): string {
  return prettyBytes(count);
}

export function duration(ms: number): string {
  return prettyMs(ms, { secondsDecimalDigits: 0, unitCount: 2 });
}

/** Jobs as `status`, `retry` and `cancel` print them. */
export function showJobs(jobs: readonly JobDetails[], options: GlobalOptions): void {
  if (options.json) printJson(jobs.map(jobJson));
  else for (const job of jobs) say(jobLine(job, options.color), options);
}

/** What goes where. */
export function placeOf({
  operation,
  name,
  target,
  catalog,
  destination,
  result,
}: JobView): string {
  if (operation !== 'download') return `${name} → ${target}/${catalog}`;
  return `${target}/${catalog}/${name} → ${result?.path ?? destination}`;
}

/** One line for a job that is not being watched. */
function jobLine(job: JobDetails, color: boolean): string {
  const kept = job.bytesSent - job.bytesResent;
  const share = job.bytesTotal > 0 ? Math.floor((100 * kept) / job.bytesTotal) : 0;
  const words: Record<JobView['state'], string> = {
    waiting: 'waiting',
    active: `${job.stage} ${share}% of ${bytes(job.bytesTotal)}`,
    delayed: job.error === null ? 'waiting for its time' : 'waiting to be tried again',
    completed: paint('green', `completed, ${bytes(job.bytesTotal)}`, color) + removedWords(job),
    failed: paint('red', 'failed', color),
  };
  const line = `${job.id}  ${placeOf(job)}: ${words[job.state]}`;
  const why = job.error === null ? '' : `\n    ${errorLines(job.error)}`;
  return `${line}${why}${warningLines(job)}`;
}

/** When an item goes, or went. */
export function removedWords(job: JobView): string {
  const day = job.result?.removedAt?.slice(0, 10);
  if (day === undefined) return '';
  return isRemoved(job) ? `; removed on ${day}` : `; vCD removes it on ${day}`;
}

/** To be put behind a job's line. */
export function warningLines({ warnings }: Pick<JobView, 'warnings'>): string {
  return warnings.map((warning) => `\n    warning: ${warning}`).join('');
}

export function errorLines({ code, message, hint }: NonNullable<JobView['error']>): string {
  return `${code}: ${message}\n    ${hint}`;
}

/** Why a target's jobs do not move. */
export function brakeLine(target: string, { code, message, hint, trialAt }: Brake): string {
  const then =
    trialAt === null
      ? `nothing goes on before \`ovaferry resume ${target}\``
      : `tried again at ${localTime(new Date(trialAt).toISOString())}, or with \`ovaferry resume ${target}\``;
  return `${target} is held: ${code}: ${message}\n    ${hint}\n    ${then}`;
}

/** As people here write it. */
export function localTime(iso: string): string {
  return new Date(iso).toLocaleString(undefined, {
    ...{ year: 'numeric', month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' },
    timeZoneName: 'short',
  });
}

const BORDERS =
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid middle';

/** Columns and nothing else. */
export function plainTable(rows: readonly (readonly string[])[], head: string[] = []): string {
  const table = new Table({
    head,
    chars: Object.fromEntries(BORDERS.split(' ').map((name) => [name, ''])),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  table.push(...rows.map((row) => [...row]));
  const lines = table.toString().split('\n');
  return lines.map((line) => line.trimEnd()).join('\n');
}
