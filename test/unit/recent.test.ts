import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Recent } from '../../src/observe/recent.ts';

/** Looks that end when they are told to. */
function looks() {
  const begun: { resolve: (value: number) => void; reject: (error: Error) => void }[] = [];
  const look = (): Promise<number> =>
    new Promise((resolve, reject) => {
      begun.push({ resolve, reject });
    });
  return { begun, look };
}

describe('what was seen of late', () => {
  test('is looked at once for all who ask at once', async () => {
    const { begun, look } = looks();
    const recent = new Recent(look, 1_000);
    const asked = [recent.get(), recent.get(), recent.get()];
    begun[0]?.resolve(7);
    expect(await Promise.all(asked)).toEqual([7, 7, 7]);
    expect(await recent.get()).toBe(7);
    expect(begun).toHaveLength(1);
  });

  test('is told while a new look takes its time', async () => {
    const { begun, look } = looks();
    const recent = new Recent(look, 0);
    const first = recent.get();
    begun[0]?.resolve(1);
    await first;
    await sleep(50);
    expect(await recent.get()).toBe(1); // the second look has not ended
    begun[1]?.resolve(2);
    await sleep(0);
    expect(await recent.get()).toBe(2);
    expect(begun).toHaveLength(2);
  });

  test('is not told any more once a look has failed', async () => {
    const { begun, look } = looks();
    const recent = new Recent(look, 0);
    const first = recent.get();
    begun[0]?.resolve(1);
    await first;
    await sleep(50);
    const second = recent.get();
    begun[1]?.reject(new Error('away'));
    await expect(second).rejects.toThrow('away');
    const third = recent.get();
    await sleep(400); // longer than a new look is waited for where there is an old one
    begun[2]?.resolve(3);
    expect(await third).toBe(3);
  });
});
