import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { classify, errorCodes, FerryError } from '../../src/errors.ts';
import { toJobError } from '../../src/jobs/job-error.ts';
import { Patience, retryDelayMs } from '../../src/jobs/retry.ts';

const root = join(import.meta.dirname, '..', '..', '..');

test('every error code is explained in docs/errors.md, and no other', async () => {
  const text = await readFile(join(root, 'docs', 'errors.md'), 'utf8');
  const explained = [...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  expect(explained.sort()).toEqual([...errorCodes].sort());
});

test('what is not an error of ours is a fault of ours', () => {
  expect(classify(new TypeError('x'))).toMatchObject({ code: 'INTERNAL', kind: 'permanent' });
  expect(classify('x').message).toBe('x');
});

describe('what an operator reads', () => {
  const request = { source: '/images/box.ova', path: '/images/box.ova' };

  test.each([
    ['/images/box.ova is empty', {}, 'box.ova is empty'],
    ['disk.vmdk is wrong', { member: 'disk.vmdk' }, 'box.ova: disk.vmdk is wrong'],
    ['it is wrong', { member: 'disk.vmdk' }, 'box.ova: disk.vmdk: it is wrong'],
    ['the host h is not known', {}, 'box.ova: the host h is not known'],
  ])('begins with the file, then the member: %s', (message, facts, expected) => {
    const error = new FerryError('PACKAGE_CORRUPT', message, { facts });
    expect(toJobError(error, request, true).message).toBe(expected);
  });
});

describe('the pause before another try', () => {
  const failure = new FerryError('NETWORK', 'x');

  test('doubles from a second to half a minute, half of it random', () => {
    const shortest = [1, 2, 3, 6, 50].map((n) => retryDelayMs(n, failure, { random: () => 0 }));
    const longest = [1, 2, 3, 6, 50].map((n) => retryDelayMs(n, failure, { random: () => 1 }));
    expect(shortest).toEqual([500, 1_000, 2_000, 15_000, 15_000]);
    expect(longest).toEqual([1_000, 2_000, 4_000, 30_000, 30_000]);
  });

  test("is the server's wish where it has one", () => {
    const busy = new FerryError('SERVER_UNAVAILABLE', 'x', { retryAfterMs: 7_000 });
    expect(retryDelayMs(1, busy)).toBe(7_000);
  });

  test('ends when nothing moves for too long, and not while something does', async () => {
    const { signal } = new AbortController();
    const conflict = new FerryError('OFFSET_MISMATCH', 'x');
    const patience = new Patience({ limitMs: 600, onRetry: () => undefined });
    const started = performance.now();
    while (performance.now() - started < 1_000) {
      patience.progressed();
      await patience.afterFailure(conflict, signal);
    }
    await expect(
      (async () => {
        for (;;) await patience.afterFailure(conflict, signal);
      })(),
    ).rejects.toBe(conflict);
  });

  test('is not taken at all after what would fail again', async () => {
    const fatal = new FerryError('PACKAGE_CORRUPT', 'x');
    const patience = new Patience({ limitMs: 60_000, onRetry: () => undefined });
    await expect(patience.afterFailure(fatal, new AbortController().signal)).rejects.toBe(fatal);
  });
});
