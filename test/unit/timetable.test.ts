import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseDays } from '../../src/config/days.ts';
import type { Limits } from '../../src/config/limits.ts';
import { loadConfig } from '../../src/config/load.ts';
import { weekly, windows } from '../../src/config/timetable.ts';
import { transferWindow } from '../../src/jobs/limits/transfer-window.ts';

const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7];
const HOUR = 3_600_000;
const at = (time: string): number => Date.parse(time);
const iso = (moment: number | undefined): string | undefined =>
  moment === undefined ? undefined : new Date(moment).toISOString();

function limitsOf(yaml: string): Promise<Limits> {
  const folder = mkdtempSync(join(tmpdir(), 'ovaferry-'));
  try {
    const file = join(folder, 'ovaferry.yaml');
    writeFileSync(file, yaml);
    return loadConfig({ file, env: {} }).limits();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('weekdays', () => {
  test.each([
    ['mon', [1]],
    ['mon-fri', [1, 2, 3, 4, 5]],
    ['sat,sun', [6, 7]],
    ['Fri-Mon', [1, 5, 6, 7]],
    ['tue, thu-fri', [2, 4, 5]],
    ['monday', undefined],
    ['mon-wed-fri', undefined],
    ['', undefined],
  ])('%s', (text, days) => expect(parseDays(text)).toEqual(days));
});

describe('a timetable', () => {
  const daily = weekly(
    [
      { days: EVERY_DAY, from: 8 * 60, value: 'day' },
      { days: EVERY_DAY, from: 19 * 60, value: 'night' },
    ],
    'Europe/Berlin',
  );

  test.each([
    ['2026-11-23T06:59:59Z', 'night'],
    ['2026-11-23T07:00:00Z', 'day'],
    ['2026-11-23T17:59:59Z', 'day'],
    ['2026-11-23T18:00:00Z', 'night'],
    ['2026-07-15T05:59:59Z', 'night'],
    ['2026-07-15T06:00:00Z', 'day'],
  ])('is by the clock of its zone, in winter and in summer: at %s', (time, value) => {
    expect(daily.at(at(time))).toBe(value);
  });

  test('by weekday, over a weekend without an entry', () => {
    const week = weekly(
      [
        { days: [1, 2, 3, 4, 5], from: 8 * 60, value: 'work' },
        { days: [5], from: 18 * 60, value: 'free' },
      ],
      'UTC',
    );
    expect(week.at(at('2026-11-27T17:59:00Z'))).toBe('work'); // a Friday
    expect(week.at(at('2026-11-29T12:00:00Z'))).toBe('free');
    expect(week.at(at('2026-11-30T07:59:59Z'))).toBe('free');
    expect(week.at(at('2026-11-30T08:00:00Z'))).toBe('work');
    expect(iso(week.nextChange(at('2026-11-27T18:00:00Z')))).toBe('2026-11-30T08:00:00.000Z');
  });

  // Berlin: 02:00 becomes 03:00 on 2026-03-29 (01:00Z), 03:00 becomes 02:00 on 2026-10-25 (01:00Z).
  const early = weekly(
    [
      { days: EVERY_DAY, from: 0, value: 'a' },
      { days: EVERY_DAY, from: 150, value: 'b' },
    ],
    'Europe/Berlin',
  );
  test('an entry whose time does not exist on the day the clock is put forward', () => {
    expect(early.at(at('2026-03-29T00:59:59Z'))).toBe('a');
    expect(iso(early.nextChange(at('2026-03-29T00:00:00Z')))).toBe('2026-03-29T01:00:00.000Z');
    expect(early.at(at('2026-03-29T01:00:00Z'))).toBe('b');
  });
  test('an entry whose time comes twice on the day the clock is put back counts once', () => {
    expect(iso(early.nextChange(at('2026-10-25T00:00:00Z')))).toBe('2026-10-25T00:30:00.000Z');
    for (const time of ['00:30', '01:00', '01:29', '01:30', '02:00']) {
      expect(early.at(at(`2026-10-25T${time}:00Z`))).toBe('b');
    }
  });

  test('changes only where it says so, and always moves on', () => {
    const zones = fc.constantFrom(
      'UTC',
      'Europe/Berlin',
      'America/St_Johns',
      'Australia/Lord_Howe',
    );
    const entry = fc.record({
      days: fc.subarray(EVERY_DAY, { minLength: 1 }),
      from: fc.integer({ min: 0, max: 1_439 }),
      value: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(
        zones,
        fc.array(entry, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: at('2026-03-01T00:00:00Z'), max: at('2026-12-01T00:00:00Z') }),
        (zone, entries, moment) => {
          const table = weekly(entries, zone);
          const next = table.nextChange(moment) ?? 0;
          expect(next).toBeGreaterThan(moment);
          expect(next - moment).toBeLessThanOrEqual(7 * 24 * HOUR + HOUR);
          for (const share of [0.1, 0.5, 0.99]) {
            expect(table.at(Math.floor(moment + (next - moment - 1) * share))).toBe(
              table.at(moment),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('windows', () => {
  const nights = windows([{ days: [1, 2, 3, 4, 5], from: 19 * 60, to: 6 * 60 }], 'Europe/Berlin');

  test('over midnight; closed on a weekend that no entry names', () => {
    expect(nights.closesAt(at('2026-11-23T17:59:59Z'))).toBeUndefined();
    expect(iso(nights.closesAt(at('2026-11-23T18:00:00Z')))).toBe('2026-11-24T05:00:00.000Z');
    expect(iso(nights.closesAt(at('2026-11-28T04:00:00Z')))).toBe('2026-11-28T05:00:00.000Z');
    expect(nights.closesAt(at('2026-11-28T20:00:00Z'))).toBeUndefined();
    expect(iso(nights.opensAt(at('2026-11-28T05:00:00Z')))).toBe('2026-11-30T18:00:00.000Z');
    expect(iso(nights.opensAt(at('2026-11-24T00:00:00Z')))).toBe('2026-11-24T00:00:00.000Z');
  });

  test('a night in which the clock is put forward is an hour shorter, one in which it is put back longer', () => {
    const every = windows([{ days: EVERY_DAY, from: 19 * 60, to: 6 * 60 }], 'Europe/Berlin');
    const length = (opens: string): number => (every.closesAt(at(opens)) ?? 0) - at(opens);
    expect(length('2026-03-27T18:00:00Z')).toBe(11 * HOUR);
    expect(length('2026-03-28T18:00:00Z')).toBe(10 * HOUR);
    expect(length('2026-10-24T17:00:00Z')).toBe(12 * HOUR);
  });

  test('a window that the clock passes over does not open that night', () => {
    const narrow = windows([{ days: EVERY_DAY, from: 130, to: 170 }], 'Europe/Berlin');
    expect(narrow.closesAt(at('2026-03-29T01:00:00Z'))).toBeUndefined();
    expect(iso(narrow.opensAt(at('2026-03-29T00:00:00Z')))).toBe('2026-03-30T00:10:00.000Z');
  });

  test('periods that touch are one, and what is open all week never closes', () => {
    const weekend = windows(
      [
        { days: [5], from: 19 * 60, to: 1_440 },
        { days: [6, 7], from: 0, to: 1_440 },
      ],
      'UTC',
    );
    expect(iso(weekend.closesAt(at('2026-11-27T20:00:00Z')))).toBe('2026-11-30T00:00:00.000Z');
    const always = windows([{ days: EVERY_DAY, from: 0, to: 1_440 }], 'UTC');
    expect(always.closesAt(at('2026-11-27T20:00:00Z'))).toBe(Number.POSITIVE_INFINITY);
  });

  test('are looked at by the clock as it is: one that jumps opens and closes them', () => {
    let now = at('2026-11-23T20:00:00Z');
    const window = transferWindow(
      () => ({ windows: nights, atWindowEnd: 'trickle' }),
      () => now,
    );
    expect(window.phase()).toBe('open');
    now = at('2026-11-24T12:00:00Z'); // set forward
    expect(window.phase()).toBe('trickle');
    expect(window.closedForMs()).toBe(6 * HOUR);
    now = at('2026-11-24T04:00:00Z'); // and back
    expect(window.phase()).toBe('open');
    expect(window.closedForMs()).toBe(0);
  });
});

describe('limits in the configuration', () => {
  const TARGET = 'url: "https://x", org: a, user: u, password: p';

  test('of targets, groups, lines and this process, in the named zone', async () => {
    const limits = await limitsOf(`
timezone: Asia/Tokyo
lines: {dc1: 180Mbit/s, dc2: [{days: mon-fri, from: "08:00", limit: 20MB/s}, {from: "19:00", limit: off}]}
groups: {cloud: {inFlight: 1TB}}
worker: {line: dc2, bandwidth: 1MB/s}
targets:
  lab: {${TARGET}, bandwidth: 5MB/s, inFlight: 500GB, group: cloud, windows: [{days: "sat,sun"}, {from: "20:00", to: "06:00"}], atWindowEnd: drop}
`);
    const lab = limits.targets.get('lab');
    const noon = at('2026-11-23T03:00:00Z'); // a Monday in Tokyo
    expect(lab?.bandwidth.at(noon)).toBe(5e6);
    expect(lab?.inFlight).toEqual([
      { of: 'target lab', bytes: 500e9 },
      { of: 'group cloud', bytes: 1e12 },
    ]);
    expect(iso(lab?.windows?.opensAt(noon))).toBe('2026-11-23T11:00:00.000Z');
    expect(lab?.atWindowEnd).toBe('drop');
    expect(limits.line?.name).toBe('dc2');
    expect(limits.line?.bandwidth.at(noon)).toBe(20e6);
    expect(limits.line?.bandwidth.at(noon + 8 * HOUR)).toBeUndefined();
    expect(limits.bandwidth.at(noon)).toBe(1e6);
  });

  test.each([
    ['worker: {line: dc1}', /worker\.line: there is no line of that name; there are: none/],
    [`targets: {lab: {${TARGET}, group: g}}`, /targets\.lab\.group: there is no group/],
    ['lines: {dc1: 200M}', /lines\.dc1: expected a rate like 200MB\/s or 180Mbit\/s.*"200M"/],
    [
      'lines: {dc1: [{days: workdays, from: "08:00", limit: off}]}',
      /expected weekdays like mon-fri/,
    ],
    [`targets: {lab: {${TARGET}, windows: [{from: "25:00"}]}}`, /expected a time like 08:00/],
    [`targets: {lab: {${TARGET}, inFlight: 500}}`, /targets\.lab\.inFlight: /],
    ['timezone: Mars/Olympus', /timezone: expected a time zone like Europe\/Berlin/],
  ])('%s', async (yaml, message) => {
    await expect((async () => limitsOf(yaml))()).rejects.toThrow(message);
  });
});
