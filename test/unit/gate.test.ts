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

  test('is not down any more when nobody waits', async () => {
    const gate = new TargetGate(() => Promise.reject(new FerryError('NETWORK', 'nobody there')));
    await expect(gate.untilUp(AbortSignal.timeout(20))).rejects.toThrow();
    expect(gate.isDown).toBe(false);
  });

  test('lets through what another kind of failure tells better', async () => {
    const gate = new TargetGate(() => Promise.reject(new FerryError('TLS_UNTRUSTED', 'who?')));
    await gate.untilUp(never());
    expect(gate.isDown).toBe(false);
  });
});
