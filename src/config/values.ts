import { z } from 'zod';
import { EVERY_DAY, parseClock, parseDays } from './days.ts';
import { parseDuration, parseRate, parseSize } from './units.ts';

/** Values of a configuration file; `title` and `describe` are what docs/configuration.md says of them. */

export function text<T>(parse: (text: string) => T | undefined, expected: string) {
  const input = z.string().meta({ title: expected }); // for docs/configuration.md
  return input.transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: `expected ${expected}, got "${value}"` });
    return z.NEVER;
  });
}

/** A path; one that is not absolute begins at the configuration's folder. */
export const path = z.string().meta({ title: 'a path' });

/** Slower, and a piece of a request would look like a stall. */
const SLOWEST = 1_000;

const rate = text((value) => {
  const parsed = parseRate(value);
  return parsed !== undefined && parsed >= SLOWEST ? parsed : undefined;
}, 'a rate like 200MB/s or 180Mbit/s, of at least 1kB/s');
export const positive = z.number().int().min(1);

const limit = z
  .union([z.literal('off').transform(() => undefined), rate])
  .describe('What holds from then on.');
const days = text(parseDays, 'weekdays like mon-fri or sat,sun')
  .default([...EVERY_DAY])
  .describe('On which days; without it on all.');
const clock = text((value) => {
  const minutes = parseClock(value);
  return minutes === 1_440 ? undefined : minutes;
}, 'a time like 08:00');
/** One rate, or what holds from which time on. */
export const bandwidth = z.union([
  rate,
  z
    .array(z.strictObject({ days, from: clock.describe('From when on.'), limit }))
    .min(1)
    .meta({ title: 'a timetable' }),
]);
export const transferWindow = z.strictObject({
  days,
  from: clock.prefault('00:00').describe('When it opens.'),
  to: text(parseClock, 'a time like 06:00')
    .prefault('24:00')
    .describe('When it closes; before `from`, on the next day.'),
});
export const size = text((value) => {
  const parsed = parseSize(value);
  return parsed !== undefined && parsed > 0 ? parsed : undefined;
}, 'a size like 500GB');
export const timezone = z.string().refine((zone) => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}, 'expected a time zone like Europe/Berlin');
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/, 'expected letters, digits, _ and -');

export function time(shortestMs: number, longestMs: number, expected: string) {
  return text((value) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= shortestMs && ms <= longestMs ? ms : undefined;
  }, expected);
}
