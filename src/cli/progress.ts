import cliTruncate from 'cli-truncate';
import { createLogUpdate } from 'log-update';
import type { JobDetails } from '../index.ts';
import { MovingRate } from '../observe/moving-rate.ts';
import {
  bytes,
  duration,
  errorLines,
  type GlobalOptions,
  paint,
  placeOf,
  removedWords,
  warningLines,
} from './output.ts';

/** Shows jobs while they change. */
export interface ProgressDisplay {
  show(jobs: readonly JobDetails[]): void;
  /** Leaves the last picture standing. */
  close(): void;
}

/** Live lines on a terminal; elsewhere a line when something has happened. */
export function createProgressDisplay(options: GlobalOptions): ProgressDisplay {
  const stream = options.json ? process.stderr : process.stdout;
  const rates = new Map<string, MovingRate>();
  const rateOf = (id: string): MovingRate => {
    const rate = rates.get(id) ?? new MovingRate();
    rates.set(id, rate);
    return rate;
  };
  return stream.isTTY
    ? liveDisplay(stream, options, rateOf)
    : plainDisplay(stream, options, rateOf);
}

function liveDisplay(
  stream: NodeJS.WriteStream,
  options: GlobalOptions,
  rateOf: (id: string) => MovingRate,
): ProgressDisplay {
  const update = createLogUpdate(stream);
  return {
    show(jobs) {
      for (const job of jobs) rateOf(job.id).add(keptOf(job));
      const rows = Math.max(4, (stream.rows ?? 24) - 3);
      const width = stream.columns ?? 80;
      // Columns, as wide as what is there, so that the eye finds what it looks for.
      const pad = Math.min(width / 2, Math.max(0, ...jobs.map((job) => placeOf(job).length)));
      const lines = fitting(jobs, {
        rows,
        line: (job) => headLine(job, rateOf(job.id), { ...options, pad }),
      });
      if (jobs.length > 1) lines.push(totalLine(jobs, rateOf('total')));
      update(lines.map((line) => cliTruncate(line, width)).join('\n'));
    },
    close: () => update.done(),
  };
}

/** What is most worth seeing comes first, and is what is left where not all of it has room. */
const WORTH: readonly JobDetails['state'][] = [
  'active',
  'failed',
  'delayed',
  'waiting',
  'completed',
];

/** No more lines than there are rows. */
function fitting(
  jobs: readonly JobDetails[],
  { rows, line }: { rows: number; line: (job: JobDetails) => string },
): string[] {
  const sorted = [...jobs].sort((a, b) => WORTH.indexOf(a.state) - WORTH.indexOf(b.state));
  const isLarge = sorted.length > rows;
  const shown = isLarge ? sorted.slice(0, rows - 1) : sorted;
  const heads = shown.flatMap((job) =>
    line(job)
      .split('\n')
      .slice(0, isLarge ? 1 : undefined),
  );
  const spare = rows - heads.length;
  const files = isLarge ? [] : shown.filter(({ state }) => state === 'active').flatMap(fileLines);
  if (files.length > 0 && files.length <= spare) {
    return shown.flatMap((job) => [
      ...line(job).split('\n'),
      ...(job.state === 'active' ? fileLines(job) : []),
    ]);
  }
  const more = isLarge ? [`  … and ${sorted.length - shown.length} more`] : [];
  return [...heads, ...more].slice(0, rows);
}

function plainDisplay(
  stream: NodeJS.WriteStream,
  options: GlobalOptions,
  rateOf: (id: string) => MovingRate,
): ProgressDisplay {
  const said = new Map<string, string>();
  return {
    show(jobs) {
      for (const job of jobs) {
        const rate = rateOf(job.id);
        rate.add(keptOf(job));
        // Every tenth of a transfer is news; the bytes in between are not.
        const tenth = job.bytesTotal > 0 ? Math.floor((10 * keptOf(job)) / job.bytesTotal) : 0;
        const news = `${job.state} ${job.stage} ${job.state === 'active' ? tenth : ''} ${job.error?.message ?? ''}`;
        if (said.get(job.id) === news) continue;
        said.set(job.id, news);
        stream.write(`${headLine(job, rate, options)}\n`);
      }
    },
    close: () => undefined,
  };
}

function keptOf({ bytesSent, bytesResent }: JobDetails): number {
  return bytesSent - bytesResent;
}

function fileLines({ files }: JobDetails): string[] {
  if (files.length < 2) return [];
  return files.map(
    ({ name, size, sent }) => `    ${name}: ${percent(sent, size)} of ${bytes(size)}`,
  );
}

/** @param pad how wide the name's column is; 0 for no columns */
function headLine(
  job: JobDetails,
  rate: MovingRate,
  { color, pad = 0 }: GlobalOptions & { readonly pad?: number },
): string {
  const kept = keptOf(job);
  const place = placeOf(job);
  const name = pad > 0 ? `${place.padEnd(pad)} ` : `${place}:`;
  if (job.state === 'failed' && job.error) {
    return `${paint('red', '✗', color)} ${name} failed\n    ${errorLines(job.error)}${warningLines(job)}`;
  }
  if (job.state === 'completed') {
    const again = job.bytesResent > 0 ? `, ${bytes(job.bytesResent)} of it twice` : '';
    return `${paint('green', '✓', color)} ${name} ${bytes(kept)} arrived${again}${removedWords(job)}${warningLines(job)}`;
  }
  if (job.state === 'delayed') {
    const why = job.error ? `: ${job.error.message}` : '';
    return `${paint('yellow', '…', color)} ${name} waiting to be tried again${why}`;
  }
  const trouble = job.error ? ` (${job.error.message})` : '';
  if (job.state === 'waiting') return `  ${name} waiting${trouble}`;
  if (job.stage !== 'transferring') return `  ${name} ${job.stage}${trouble}`;
  const share = percent(kept, job.bytesTotal);
  const size = bytes(job.bytesTotal);
  const much = pad > 0 ? `${share.padStart(4)} of ${size.padEnd(7)}` : `${share} of ${size}`;
  return `  ${name} ${much}${pace(rate, job.bytesTotal - kept)}${trouble}`;
}

function totalLine(jobs: readonly JobDetails[], rate: MovingRate): string {
  const kept = jobs.reduce((sum, job) => sum + keptOf(job), 0);
  const total = jobs.reduce((sum, job) => sum + job.bytesTotal, 0);
  rate.add(kept);
  const count = (state: JobDetails['state']): number =>
    jobs.filter((job) => job.state === state).length;
  const failed = count('failed');
  const ended = `  ${count('completed')} of ${jobs.length} done${failed > 0 ? `, ${failed} failed` : ''}`;
  if (count('completed') + failed === jobs.length) return ended;
  return `${ended}, ${percent(kept, total)} of ${bytes(total)}${pace(rate, total - kept)}`;
}

function pace(rate: MovingRate, left: number): string {
  const perSecond = rate.perSecond();
  if (perSecond === undefined || perSecond < 1) return '';
  return `, ${bytes(perSecond)}/s, ${duration((left / perSecond) * 1000)} left`;
}

function percent(part: number, whole: number): string {
  return `${whole > 0 ? Math.floor((100 * part) / whole) : 100}%`;
}
