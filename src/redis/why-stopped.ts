import { closeSync, fstatSync, openSync, readSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { FerryError } from '../errors.ts';

/** What stopped a server longer ago than this is not why it does not answer now. */
const RECENT_MS = 60_000;
const READ_BYTES = 16 * 1024;
/** With less there is no room for what one command writes. */
const FULL_BYTES = 4 * 1024 * 1024;

/** `PID:ROLE 29 Nov 2026 04:42:19.952 # TEXT`, in local time; # are warnings. */
const WARNING = /^\d+:\w (\d+ \w{3} \d{4} [\d:.]+) # (.+)$/gm;
const FATAL = /can't|cannot|error|failed|short write|out of memory|fatal/i;

/** Why the private server ended, by what it has written last; undefined where that says nothing. */
export function whyStopped(folder: string): FerryError | undefined {
  const since = Date.now() - RECENT_MS;
  const said: string[] = [];
  for (const [, time = '', text = ''] of lastOf(join(folder, 'redis.log')).matchAll(WARNING)) {
    if (Date.parse(time) >= since && FATAL.test(text)) said.push(text);
  }
  const isFull = freeBytes(folder) < FULL_BYTES;
  if (said.length === 0 && !isFull) return undefined;
  const why = said.length > 0 ? said.slice(-2).join(' ') : 'there is no room for its data';
  const hint = isFull
    ? 'The disk is full: make room on it. What was accepted is still there.'
    : `See ${join(folder, 'redis.log')}.`;
  const message = `the private Redis in ${folder} stopped: ${why}`;
  return new FerryError('REDIS_UNAVAILABLE', message, { hint });
}

function lastOf(path: string): string {
  try {
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, READ_BYTES));
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, size - bytes.length));
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
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
