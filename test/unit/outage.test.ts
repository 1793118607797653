import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { type Checkpoint, NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { afterCall, notingOutages, outageMs } from '../../src/jobs/outage.ts';
import { isOfJob } from '../../src/jobs/outcome.ts';

const MINUTE = 60_000;
const progressed = (minutes: number | null, outage: Checkpoint['outage'] = null) => ({
  progressedAt: minutes === null ? null : minutes * MINUTE,
  outage,
});
const out = (since: number, until: number | null) => ({
  since: since * MINUTE,
  until: until === null ? null : until * MINUTE,
});

describe('an outage of a target', () => {
  test.each([
    ['begins with the first call without an answer', progressed(1), false, 5, out(5, null)],
    ['goes on with the next one', progressed(1, out(5, null)), false, 9, out(5, null)],
    ['ends with an answer', progressed(1, out(5, null)), true, 70, out(5, 70)],
    ['is not touched by answers afterwards', progressed(1, out(5, 70)), true, 80, out(5, 70)],
    ['is one with the next, soon after', progressed(1, out(5, 50)), false, 60, out(5, null)],
    ['is another long after', progressed(1, out(5, 50)), false, 66, out(66, null)],
    ['is another where bytes got through', progressed(55, out(5, 50)), false, 60, out(60, null)],
    ['is none by a call that we ended', progressed(1), undefined, 5, null],
  ])('%s', (_what, before, answered, now, after) => {
    expect(afterCall(before, answered, now * MINUTE)).toEqual(after);
  });

  test.each([
    ['none', progressed(1), 0],
    ['that lasts', progressed(1, out(10, null)), 90],
    ['that is over', progressed(1, out(10, 75)), 65],
    ['in which bytes got through', progressed(40, out(10, 75)), 35],
    ['before bytes got through', progressed(80, out(10, 75)), 0],
    ['before anything was sent', progressed(null, out(10, 75)), 65],
  ])('%s counts from the last byte that got through', (_what, checkpoint, minutes) => {
    expect(outageMs(checkpoint, 100 * MINUTE)).toBe(minutes * MINUTE);
  });

  test('is seen in calls to the target alone', () => {
    let current: Checkpoint = NO_CHECKPOINT;
    const heard: unknown[] = [];
    const onCall = notingOutages(
      {
        get current() {
          return current;
        },
        note(patch) {
          current = { ...current, ...patch };
        },
      },
      'https://vcd.example.com',
      (label) => (end) => heard.push([label, end]),
    );
    const call = (host: string, end: { status?: number; error?: unknown }) =>
      onCall('GET /api', new URL(`https://${host}/`))(end);
    const isOut = () => current.outage !== null && current.outage.until === null;
    call('other.example.com', { error: new FerryError('NETWORK', 'gone') });
    call('vcd.example.com', { error: new FerryError('SHUTDOWN', 'stopped') });
    call('vcd.example.com', { status: 404 });
    expect(current.outage).toBeNull();
    call('vcd.example.com', { error: new FerryError('NETWORK', 'gone') });
    expect(isOut()).toBe(true);
    call('other.example.com', { status: 200 });
    call('vcd.example.com', { status: 503 });
    expect(isOut()).toBe(true);
    call('vcd.example.com', { status: 401 });
    expect(isOut()).toBe(false);
    expect(heard).toHaveLength(7);
  });
});

describe('what a job is given up for', () => {
  const DAY = 24 * 60 * MINUTE;
  const since = (days: number) => ({
    outage: { since: Date.now() - days * DAY, until: null },
  });
  test.each([
    ['is not a target that is away for a long weekend', 'NETWORK', since(4), true, false],
    ['is one that never comes back', 'NETWORK', since(31), true, true],
    ['is what fails while the target answers', 'NETWORK', since(4), false, true],
    ['is not one that was just lost', 'SERVER_UNAVAILABLE', { outage: null }, true, false],
    ['is what fails though nothing was away', 'NETWORK', { outage: null }, false, true],
    ['is not what this machine lacks', 'WORKER_OVERLOADED', { outage: null }, false, false],
    ['is not a password', 'AUTH_REJECTED', { outage: null }, false, false],
  ] as const)('%s', (_what, code, checkpoint, isDown, expected) => {
    const limits = { isDown, outageMs: 30 * DAY };
    expect(isOfJob(new FerryError(code, 'x'), checkpoint, limits)).toBe(expected);
  });
});
