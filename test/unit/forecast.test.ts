import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Flow, forecast, type Supply } from '../../src/jobs/batch/forecast.ts';
import { supplyOf } from '../../src/jobs/batch/supply.ts';
import type { Limits, TargetLimits } from '../../src/jobs/limits/limits.ts';
import { RateSeeker } from '../../src/jobs/limits/rate-seeker.ts';

const MINUTE = 60_000;
const steady = (rates: Record<string, number | undefined>, line?: number): Supply => ({
  rateOf: (target) => rates[target],
  sharedBy: () => (line === undefined ? undefined : { name: 'dc1', rate: () => line }),
  nextChange: () => undefined,
});
const flow = (target: string, ...sizes: number[]): Flow => ({
  target,
  pending: sizes.map((bytes, i) => ({ id: `${target}${i}`, bytes, importMs: 0 })),
});

describe('a forecast', () => {
  test('one after the other at the rate that was measured, each with its import beside', () => {
    const pending = [
      { id: 'a', bytes: 1_000, importMs: 5_000 },
      { id: 'b', bytes: 2_000, importMs: 7_000 },
    ];
    const ends = forecast([{ target: 'lab', pending }], steady({ lab: 100 }), 0);
    expect([...ends]).toEqual([
      ['a', 15_000],
      ['b', 37_000],
    ]);
  });

  test('flows share a target, and what one leaves the other gets', () => {
    const ends = forecast(
      [flow('lab', 1_000), { ...flow('lab', 3_000), target: 'lab' }].map((f, i) => ({
        ...f,
        pending: f.pending.map((p) => ({ ...p, id: `${i}` })),
      })),
      steady({ lab: 100 }),
      0,
    );
    expect(Object.fromEntries(ends)).toEqual({ 0: 20_000, 1: 40_000 });
  });

  test('targets share a line', () => {
    const ends = forecast([flow('a', 1_000), flow('b', 1_000)], steady({}, 100), 0);
    expect(Object.fromEntries(ends)).toEqual({ a0: 20_000, b0: 20_000 });
  });

  test('says nothing where no rate is known, and of what never gets any', () => {
    expect(forecast([flow('lab', 1)], steady({}), 0).size).toBe(0);
    const ends = forecast([flow('lab', 10), flow('shut', 10)], steady({ lab: 10, shut: 0 }), 0);
    expect([...ends.keys()]).toEqual(['lab0']);
  });

  test('waits for windows and follows timetables', () => {
    const limits = (bandwidth: number | undefined): Limits => ({
      concurrency: 4,
      bandwidth: { at: () => undefined, nextChange: () => undefined },
      line: undefined,
      targets: new Map<string, TargetLimits>([
        [
          'lab',
          {
            ...{ name: 'lab', concurrency: 4, imports: 8, inFlight: [], atWindowEnd: 'finish' },
            // Half as fast from the 30th minute on.
            bandwidth: {
              at: (moment) => (moment >= 30 * MINUTE ? 50 : bandwidth),
              nextChange: (moment) => (moment < 30 * MINUTE ? 30 * MINUTE : undefined),
            },
            windows: {
              closesAt: (moment) => (moment >= 10 * MINUTE ? Number.POSITIVE_INFINITY : undefined),
              opensAt: (moment) => Math.max(moment, 10 * MINUTE),
            },
          },
        ],
      ]),
    });
    return supplyOf(['lab'], limits(undefined), {
      rates: { ofTarget: async (_target, how) => (how === 'free' ? 100 : undefined) },
      workers: 1,
    }).then((supply) => {
      // 20 minutes at 100, then 10 at 50.
      const bytes = 20 * 60 * 100 + 10 * 60 * 50;
      expect(forecast([flow('lab', bytes)], supply, 0).get('lab0')).toBeCloseTo(40 * MINUTE, 0);
    });
  });

  test('more bytes never end earlier, and nothing ends before its bytes can have gone', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 0, max: 19 }), (a, b, at) => {
        const supply = steady({ a: 80, b: 60 }, 100);
        const ends = forecast([flow('a', ...a), flow('b', ...b)], supply, 0);
        const index = at % a.length;
        const larger = a.map((size, i) => (i === index ? size + 1_000 : size));
        const later = forecast([flow('a', ...larger), flow('b', ...b)], supply, 0);
        for (const [id, end] of ends) expect(later.get(id) ?? 0).toBeGreaterThanOrEqual(end - 1);
        const total = [...a, ...b].reduce((sum, size) => sum + size, 0);
        // What is less than a byte is not waited for.
        expect(Math.max(...ends.values())).toBeGreaterThanOrEqual((total / 100) * 1_000 - 1_000);
      }),
    );
  });
});

describe('how many uploads at once', () => {
  /** A process on a line: `rate(count)` bytes in a millisecond with so many at once. */
  function run(rate: (count: number) => number, steps: number, bytesLeft = 1e12): number[] {
    let now = 0;
    let count = 0;
    const seeker = new RateSeeker(() => now);
    const counts: number[] = [];
    for (let i = 0; i < steps; i += 1) {
      if (count < 8 && seeker.mayBegin({ held: count, count, bytesLeft })) count += 1;
      counts.push(count);
      seeker.sent(rate(count) * 1_000);
      now += 1_000;
      seeker.observe(count);
    }
    return counts;
  }

  test('on a line that one fills there are two for a moment, and no third', () => {
    const counts = run(() => 1_000, 120);
    expect(counts[0]).toBe(1);
    expect(Math.max(...counts)).toBe(2);
  });

  test('as many as raise the rate', () => {
    const counts = run((count) => 1_000 * Math.min(count, 4), 120);
    expect(counts.at(-1)).toBe(5); // the fifth showed that it brings nothing
  });

  test('small ones are not waited for', () => {
    expect(run(() => 1_000, 4, 10_000_000)).toEqual([1, 2, 3, 4]);
  });

  test('files that take a few seconds each are measured together', () => {
    let now = 0;
    const seeker = new RateSeeker(() => now);
    let most = 0;
    /** Two seconds of overhead, then 250 MB at 50 MB/s each. */
    const files = [{ ageMs: 0 }];
    for (let i = 0; i < 300; i += 1) {
      now += 1_000;
      const sending = files.filter(({ ageMs }) => ageMs >= 2_000);
      for (const file of files) file.ageMs += 1_000;
      seeker.sent(sending.length * 50_000_000);
      seeker.observe(sending.length);
      for (const file of files.filter(({ ageMs }) => ageMs >= 7_000)) file.ageMs = 0;
      const left = files.reduce(
        (sum, { ageMs }) => sum + Math.min(5, (7_000 - ageMs) / 1_000) * 5e7,
        0,
      );
      if (
        files.length < 4 &&
        seeker.mayBegin({ held: files.length, count: sending.length, bytesLeft: left })
      ) {
        files.push({ ageMs: 0 });
      }
      most = Math.max(most, files.length);
    }
    expect(most).toBe(4);
  });

  test('one that never sends does not keep the others waiting for ever', () => {
    let now = 0;
    const seeker = new RateSeeker(() => now);
    const waits = (held: number, count: number, bytes: number): number => {
      for (let seconds = 0; seconds < 600; seconds += 1) {
        if (seeker.mayBegin({ held, count, bytesLeft: 1e12 })) return seconds;
        seeker.sent(bytes);
        now += 1_000;
        seeker.observe(count);
      }
      return Number.POSITIVE_INFINITY;
    };
    expect(waits(1, 0, 0)).toBeLessThan(40); // one hangs
    expect(waits(2, 1, 1_000_000)).toBeLessThan(60); // another sends beside it
    expect(waits(3, 2, 0)).toBeLessThan(60); // and one only hashes
  });

  test('where one more brought nothing, the next begins when the first is nearly through', () => {
    let now = 0;
    const seeker = new RateSeeker(() => now);
    const send = (seconds: number, count: number, bytesLeft = 1e12): boolean[] =>
      Array.from({ length: seconds }, () => {
        seeker.sent(1_000_000);
        now += 1_000;
        seeker.observe(count);
        return seeker.mayBegin({ held: count, count, bytesLeft });
      });
    expect(seeker.mayBegin({ held: 0, count: 0, bytesLeft: 0 })).toBe(true);
    expect(send(20, 1)).toContain(true);
    expect(send(20, 2)).not.toContain(true);
    expect(send(60, 1)).not.toContain(true); // one has ended
    expect(send(1, 1, 10_000_000)).toEqual([true]);
    now += 11 * MINUTE; // lines change
    expect(send(40, 1)).toContain(true);
  });
});
