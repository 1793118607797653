import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ChunkSizer, nextRange } from '../../src/jobs/chunks.ts';

const MiB = 1024 * 1024;

function rangesOf(size: number, chunkBytes: number, holdBack: boolean) {
  const ranges = [];
  for (let offset = 0; offset < size; ) {
    const range = nextRange(offset, { size, chunkBytes, holdBack });
    ranges.push(range);
    offset = range.end;
  }
  return ranges;
}

describe('ranges of a file', () => {
  test('cover it exactly, in order, without gap or overlap, whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 700 }),
        fc.boolean(),
        (size, chunkBytes, holdBack) => {
          const ranges = rangesOf(size, chunkBytes, holdBack);
          expect(ranges[0]?.start).toBe(0);
          expect(ranges.at(-1)?.end).toBe(size);
          for (const [i, { start, end }] of ranges.entries()) {
            expect(end).toBeGreaterThan(start);
            expect(end - start).toBeLessThanOrEqual(chunkBytes);
            expect(start).toBe(i === 0 ? 0 : ranges[i - 1]?.end);
          }
        },
      ),
    );
  });

  test('are as many as they must be around every multiple of a chunk, up to 2^33', () => {
    const sizes = fc.tuple(
      fc.integer({ min: 1, max: 64 }),
      fc.constantFrom(1, 7, 1024, 8 * MiB, 64 * MiB, 128 * MiB),
      fc.constantFrom(-1, 0, 1),
    );
    fc.assert(
      fc.property(sizes, ([k, chunkBytes, around]) => {
        const size = Math.min(k * chunkBytes + around, 2 ** 33);
        const ranges = rangesOf(size, chunkBytes, false);
        expect(ranges).toHaveLength(Math.ceil(size / chunkBytes));
        expect(ranges.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(size);
      }),
    );
    expect(rangesOf(0, 100, true)).toEqual([]);
    expect(rangesOf(2 ** 33, 2 ** 30, false)).toHaveLength(8);
  });

  test.each([
    ['one byte', 1, 100, 1],
    ['one less than two chunks', 199, 100, 2],
    ['exactly two chunks', 200, 100, 2],
    ['one more than two chunks', 201, 100, 3],
    ['over 8 GiB', 2 ** 33 + 1, 2 ** 30, 9],
  ])('%s', (_name, size, chunkBytes, count) => {
    expect(rangesOf(size, chunkBytes, false)).toHaveLength(count);
  });

  test('leave the last byte to a request of its own when it is held back', () => {
    expect(rangesOf(250, 100, true)).toEqual([
      { start: 0, end: 100 },
      { start: 100, end: 200 },
      { start: 200, end: 249 },
      { start: 249, end: 250 },
    ]);
    expect(rangesOf(1, 100, true)).toEqual([{ start: 0, end: 1 }]);
  });
});

describe('the size of a chunk', () => {
  test('grows towards half a minute on a fast line, to 1 GiB at most', () => {
    const chunks = new ChunkSizer();
    const first = chunks.bytes;
    chunks.sent(first, 1_000);
    expect(chunks.bytes).toBe(first * 8);
    for (let i = 0; i < 5; i += 1) chunks.sent(chunks.bytes, 1_000);
    expect(chunks.bytes).toBe(1024 * MiB);
  });

  test('shrinks to 8 MiB at least on a slow line, and on a bad one', () => {
    const slow = new ChunkSizer();
    slow.sent(slow.bytes, 3_600_000);
    expect(slow.bytes).toBe(8 * MiB);
    const failing = new ChunkSizer();
    for (let i = 0; i < 10; i += 1) failing.failed(failing.bytes, { isVain: false });
    expect(failing.bytes).toBe(8 * MiB);
  });

  test.each([
    ['nothing over 50 MiB', 50 * MiB, 2],
    ['nothing over 10 MiB', 10 * MiB, 3],
    ['nothing over 1 MiB', MiB, 4],
    ['nothing over 128 KiB', MiB / 8, 6],
  ])('meets something that lets %s pass, and stays below it', (_name, limit, most) => {
    const chunks = new ChunkSizer();
    let refused = 0;
    for (let left = 400 * MiB; left > 0; ) {
      const bytes = Math.min(left, chunks.bytes);
      if (bytes > limit) {
        refused += 1;
        chunks.refused(bytes);
      } else {
        left -= bytes;
        chunks.sent(bytes, bytes / 100_000);
      }
    }
    expect(refused).toBeLessThanOrEqual(most);
    expect(chunks.bytes).toBeGreaterThanOrEqual(limit / 8);
  });

  test('is taken for too large where it comes to nothing again and again', () => {
    const chunks = new ChunkSizer();
    for (let i = 0; i < 40; i += 1) chunks.failed(chunks.bytes, { isVain: true });
    expect(chunks.bytes).toBe(64 * 1024);
    // It was a guess: after a while more is tried.
    for (let i = 0; i < 400; i += 1) chunks.sent(chunks.bytes, 1_000);
    expect(chunks.bytes).toBeGreaterThan(8 * MiB);
    const unlucky = new ChunkSizer();
    for (let i = 0; i < 40; i += 1) {
      unlucky.failed(unlucky.bytes, { isVain: i % 2 === 0 });
    }
    expect(unlucky.bytes).toBe(8 * MiB);
  });

  test('is guessed for one upload alone, and is known to all where something says it', () => {
    const shared = {
      refusedBytes: undefined as number | undefined,
      refuse(bytes: number) {
        shared.refusedBytes = bytes;
      },
    };
    const [one, other] = [new ChunkSizer(undefined, shared), new ChunkSizer(undefined, shared)];
    for (let i = 0; i < 4; i += 1) one.failed(100_000, { isVain: true });
    expect(other.bytes).toBe(64 * MiB);
    one.refused(2 * MiB);
    expect(other.bytes).toBe(MiB / 2);
  });

  test('stays as it was set', () => {
    const chunks = new ChunkSizer(50 * MiB);
    chunks.sent(50 * MiB, 1);
    chunks.failed(50 * MiB, { isVain: false });
    expect(chunks.bytes).toBe(50 * MiB);
    chunks.refused(50 * MiB); // but what is larger than may pass never passes
    expect(chunks.bytes).toBeLessThan(50 * MiB);
  });
});
