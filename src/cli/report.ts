import { stringify } from 'csv-stringify/sync';
import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { type Ferry, type JobDetails, openFerry, type Receipt } from '../index.ts';
import { jobsOf } from '../job-changes.ts';
import { bytes, duration, type GlobalOptions, printJson, say } from './output.ts';

interface ReportOptions extends GlobalOptions {
  readonly batch?: string;
  readonly format?: 'text' | 'csv' | 'json';
}

/** An upload for the files: what has arrived, or what became of it. Times in ISO 8601. */
type Item = Pick<
  JobDetails,
  'id' | 'operation' | 'state' | 'source' | 'target' | 'catalog' | 'name' | 'batch'
> & {
  /** What a download has made. */
  readonly path: string | null;
  readonly error: JobDetails['error'];
  readonly catalogItem: string | null;
  readonly entity: string | null;
  readonly task: string | null;
  readonly requestIds: readonly string[];
  readonly bytes: number;
  readonly bytesSent: number;
  readonly bytesResent: number;
  readonly attempts: number;
  readonly enqueuedAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly files: Receipt['files'];
  readonly warnings: readonly string[];
};

export async function report(ids: string[], options: ReportOptions): Promise<number> {
  const { batch } = options;
  if ((batch === undefined) === (ids.length === 0)) {
    throw new FerryError('USAGE', 'of which uploads? Name their jobs, or say --batch NAME');
  }
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    const jobs = batch === undefined ? await ferry.getMany(ids) : await jobsOf(ferry, batch);
    const items = await itemsOf(ferry, jobs);
    const format = options.json ? 'json' : (options.format ?? 'text');
    if (format === 'json') printJson(items);
    else if (format === 'csv') process.stdout.write(csvOf(items));
    else for (const item of items) say(linesOf(item).join('\n'), options);
    return 0;
  } finally {
    await ferry.close();
  }
}

async function itemsOf(ferry: Ferry, jobs: readonly JobDetails[]): Promise<Item[]> {
  const receipts = await ferry.receipts(jobs.map(({ id }) => id));
  const items = jobs.map((job, i): Item => {
    const { id, operation, state, source, target, catalog, name, batch, error } = job;
    const receipt = state === 'completed' ? receipts[i] : undefined;
    return {
      ...{ id, operation, state, source, target, catalog, name, batch, error },
      path: job.result?.path ?? null,
      catalogItem: job.result?.catalogItem ?? null,
      entity: job.result?.entity ?? null,
      task: receipt?.task ?? null,
      requestIds: receipt?.requestIds ?? job.requestIds,
      bytes: receipt?.bytes ?? job.bytesTotal,
      ...{ bytesSent: job.bytesSent, bytesResent: job.bytesResent, attempts: job.attempts },
      ...{ enqueuedAt: job.enqueuedAt, startedAt: job.startedAt, finishedAt: job.finishedAt },
      files: receipt?.files ?? [],
      warnings: job.warnings,
    };
  });
  return items.sort(
    (a, b) => a.enqueuedAt.localeCompare(b.enqueuedAt) || a.name.localeCompare(b.name),
  );
}

/** A row for each file, so that each digest has its own; what has none has one row. */
function csvOf(items: readonly Item[]): string {
  const rows = items.flatMap(({ files, requestIds, warnings, error, ...item }) => {
    const whole = {
      ...item,
      requestIds: requestIds.join(' '),
      warnings: warnings.join('; '),
      error: error ? `${error.code}: ${error.message}` : '',
    };
    const none = [{ name: '', size: '', digest: '', verified: '' }];
    return (files.length > 0 ? files : none).map((file) => ({
      ...whole,
      ...{ file: file.name, size: file.size, digest: file.digest, verified: String(file.verified) },
    }));
  });
  // What begins like a formula is not to be one in a spreadsheet.
  return stringify(rows, { header: true, escape_formulas: true });
}

function linesOf(item: Item): string[] {
  const { id, state, name, target, catalog, source, error, path } = item;
  const place = item.operation === 'download' ? (path ?? 'here') : `${target}/${catalog}`;
  const lines = [`${name} → ${place}: ${state}`, `    job ${id}, from ${source}`];
  if (error) lines.push(`    ${error.code}: ${error.message}`);
  if (item.catalogItem) lines.push(`    item ${item.catalogItem}`, `    entity ${item.entity}`);
  if (item.task) lines.push(`    task ${item.task}`);
  if (item.requestIds.length > 0) lines.push(`    requests ${item.requestIds.join(', ')}`);
  const again = item.bytesResent > 0 ? `, ${bytes(item.bytesResent)} sent again` : '';
  lines.push(`    ${bytes(item.bytes)}${again}, ${item.attempts} attempts`);
  const { enqueuedAt, startedAt, finishedAt } = item;
  const took =
    startedAt && finishedAt ? ` (${duration(Date.parse(finishedAt) - Date.parse(startedAt))})` : '';
  lines.push(
    `    enqueued ${enqueuedAt}, began ${startedAt ?? '-'}, ended ${finishedAt ?? '-'}${took}`,
  );
  for (const file of item.files) {
    const how =
      file.digest === null
        ? 'no digest'
        : `${file.digest}${file.verified ? '' : ' (not verified)'}`;
    lines.push(`    ${file.name}: ${file.size} bytes, ${how}`);
  }
  return [...lines, ...item.warnings.map((warning) => `    warning: ${warning}`)];
}
