import { closeSync, fstatSync, openSync, readSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { FerryError } from '../errors.ts';

/** What stopped a server longer ago than this is not why it does not answer now. */
const RECENT_MS = 60_000;
const READ_BYTES = 16 * 1024;
/** With less there is no room for what one command writes. */
const FULL_BYTES = 4 * 1024 * 1024;

/** `PID:ROLE 29 Nov 2026 04:42:19.952 # TEXT`: # are warnings, of which every start has some. */
const LINE = /^\d+:\w (\d+ \w{3} \d{4} [\d:.]+) ([-.*#]) (.+)$/gm;
/** What it says before it ends by itself. */
const FATAL =
  /Short write|writing to the AOF|recover from AOF|Bad file format|Out Of Memory|Fatal error|No space left|Read-only file system/;

/**
 * Why the private server has ended, by what it has written last.
 *
 * @param cause what was thrown meanwhile
 * @returns undefined where that says nothing
 */
export function whyStopped(folder: string, cause?: unknown): FerryError | undefined {
  const said = lastWords(join(folder, 'redis.log'));
  const isFull = freeBytes(folder) < FULL_BYTES;
  if (said.length === 0 && !isFull) return undefined;
  const why = said.length > 0 ? said.slice(-2).join(' ') : 'there is no room for its data';
  const hint = isFull
    ? 'The disk is full: make room on it. What was accepted is still there.'
    : `See ${join(folder, 'redis.log')}.`;
  const message = `the private Redis in ${folder} stopped: ${why}`;
  return new FerryError('REDIS_UNAVAILABLE', message, { hint, ...(cause ? { cause } : {}) });
}

function lastWords(path: string): string[] {
  const { text, isFresh } = endOf(path);
  if (!isFresh) return [];
  const lines = [...text.matchAll(LINE)];
  // Its times are those of a zone that may be another than ours: only their distances count.
  const last = Date.parse(lines.at(-1)?.[1] ?? '');
  return lines
    .filter(([, time = '', , said = '']) => {
      return FATAL.test(said) && last - Date.parse(time) <= RECENT_MS;
    })
    .map(([, , , said = '']) => said);
}

function endOf(path: string): { readonly text: string; readonly isFresh: boolean } {
  try {
    const file = openSync(path, 'r');
    try {
      const { size, mtimeMs } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, READ_BYTES));
      const read = readSync(file, bytes, 0, bytes.length, size - bytes.length);
      const isFresh = Date.now() - mtimeMs <= RECENT_MS;
      return { text: bytes.toString('utf8', 0, read), isFresh };
    } finally {
      closeSync(file);
    }
  } catch {
    return { text: '', isFresh: false };
  }
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
