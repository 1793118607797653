import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { TargetGate } from '../../src/jobs/target-gate.ts';

const never = (): AbortSignal => new AbortController().signal;

describe('a gate', () => {
  test('asks once for all, until somebody answers', async () => {
    let asked = 0;
    const gate = new TargetGate(async () => {
      asked += 1;
      if (asked < 3) throw new FerryError('NETWORK', 'nobody there', { retryAfterMs: 300 });
    });
    const waiting = Array.from({ length: 20 }, () => gate.untilUp(never()));
    while (!gate.isDown) await new Promise(setImmediate);
    await Promise.all(waiting);
    expect({ asked, isDown: gate.isDown }).toEqual({ asked: 3, isDown: false });
  });

  test('is down until there is an answer, also when nobody waits any more', async () => {
    let isThere = false;
    const gate = new TargetGate(async () => {
      if (!isThere) throw new FerryError('NETWORK', 'nobody there', { retryAfterMs: 20 });
    });
    await expect(gate.untilUp(AbortSignal.timeout(50))).rejects.toThrow();
    expect({ isDown: gate.isDown, answers: await gate.answers(never()) }).toEqual({
      isDown: true,
      answers: false,
    });
    isThere = true;
    while (gate.isDown) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await gate.answers(never())).toBe(true);
  });

  test('says at once whether anybody answers, and asks no more when it is closed', async () => {
    let asked = 0;
    const gate = new TargetGate(async () => {
      asked += 1;
      throw new FerryError('NETWORK', 'nobody there', { retryAfterMs: 10 });
    });
    expect(await gate.answers(never())).toBe(false);
    gate.close();
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(asked).toBe(before);
  });

  test('lets through what another kind of failure tells better', async () => {
    const gate = new TargetGate(() => Promise.reject(new FerryError('TLS_UNTRUSTED', 'who?')));
    await gate.untilUp(never());
    expect(gate.isDown).toBe(false);
  });
});
