import { describe, expect, test } from '@jest/globals';
import { MovingRate } from '../../src/observe/moving-rate.ts';

/** Looked at every second; the count grows in lumps of `lump`, every `every` seconds. */
function grown(seconds: number, lump: number, every: number): (number | undefined)[] {
  const rate = new MovingRate();
  return Array.from({ length: seconds }, (_, i) => {
    const now = i * 1_000;
    rate.add(Math.floor(i / every) * lump, now);
    return rate.perSecond(now);
  });
}

describe('a rate of late', () => {
  test('is steady from the second change on, however large the lumps', () => {
    for (const [lump, every] of [
      [4_000, 1],
      [12_000, 3],
      [28_000, 7],
    ] as const) {
      const rates = grown(60, lump, every).slice(2 * every);
      for (const one of rates) {
        expect(one).toBeGreaterThan(2_600);
        expect(one).toBeLessThan(4_100);
      }
    }
  });

  test('follows a change, and falls when nothing comes any more', () => {
    const rate = new MovingRate();
    for (let i = 0; i <= 30; i += 1) rate.add(i * 1_000, i * 1_000);
    expect(rate.perSecond(30_000)).toBeCloseTo(1_000, 0);
    for (let i = 1; i <= 20; i += 1) rate.add(30_000 + i * 5_000, 30_000 + i * 1_000);
    expect(rate.perSecond(50_000)).toBeCloseTo(5_000, 0);
    expect(rate.perSecond(110_000)).toBeLessThan(1_500);
  });

  test('is not known before there are two changes', () => {
    const rate = new MovingRate();
    rate.add(5, 0);
    rate.add(5, 10_000);
    expect(rate.perSecond(10_000)).toBeUndefined();
  });
});
