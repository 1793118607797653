import type { BatchState } from '../index.ts';
import { bytes, duration, localTime, paint } from './output.ts';

/** A batch as people read it. */
export function batchLines(batch: BatchState, color: boolean): string[] {
  const { name, counts, failures, rate, expectedAt, endedAt } = batch;
  const { completed, failed, ...open } = counts;
  const all = completed + failed + open.active + open.waiting + open.delayed;
  const others = Object.entries(open).flatMap(([state, n]) => (n > 0 ? [`${n} ${state}`] : []));
  const bad = failed > 0 ? [paint('red', `${failed} failed`, color)] : [];
  const lines = [[`${name}: ${completed} of ${all} arrived`, ...others, ...bad].join(', ')];
  const { bytesArrived, bytesTotal, bytesResent } = batch;
  const share = bytesTotal > 0 ? Math.floor((100 * bytesArrived) / bytesTotal) : 100;
  const moved = [`${bytes(bytesArrived)} of ${bytes(bytesTotal)} (${share}%)`];
  if (bytesResent > 0) moved.push(`${bytes(bytesResent)} sent again`);
  if (rate !== null) moved.push(`${bytes(rate)}/s`);
  if (expectedAt !== null) {
    const left = Date.parse(expectedAt) - Date.now();
    moved.push(`${duration(Math.max(0, left))} left, expected ${localTime(expectedAt)}`);
  }
  if (endedAt !== null) moved.push(`ended ${localTime(endedAt)}`);
  lines.push(`    ${moved.join(', ')}`, ...deadlineLines(batch, color));
  for (const { code, count, message, hint, ids } of failures) {
    const example = count > 1 ? `, such as ${message}` : `: ${message}`;
    lines.push(`    ${count} × ${code}${example}`, `        ${hint}`);
    const more = count > ids.length ? ` and ${count - ids.length} more` : '';
    lines.push(`        ${ids.join(' ')}${more}`);
  }
  return lines;
}

const SHOWN_LATE = 10;

function deadlineLines(
  { deadline, late, lateCount, endedAt }: BatchState,
  color: boolean,
): string[] {
  if (deadline === null || endedAt !== null) return [];
  const when = `    deadline ${localTime(deadline)}`;
  if (lateCount === 0) return [when];
  const shown = late
    .slice(0, SHOWN_LATE)
    .map(
      ({ id, expectedAt }) =>
        `        ${id}${expectedAt ? `, expected ${localTime(expectedAt)}` : ''}`,
    );
  const more = lateCount > SHOWN_LATE ? [`        and ${lateCount - SHOWN_LATE} more`] : [];
  const many = lateCount === 1 ? '1 upload' : `${lateCount} uploads`;
  return [`${when}: ${paint('yellow', `${many} will miss it`, color)}`, ...shown, ...more];
}
