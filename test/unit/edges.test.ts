import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { changesOnly } from '../../src/job-changes.ts';
import { isInForce } from '../../src/jobs/brakes.ts';
import { newJobData } from '../../src/jobs/job-data.ts';
import { JobRecord } from '../../src/jobs/job-record.ts';
import { JobViews } from '../../src/jobs/job-views.ts';
import type { Lease } from '../../src/jobs/lease.ts';
import { RunPlace } from '../../src/jobs/limits/line.ts';
import { Meter } from '../../src/jobs/meter.ts';
import type { QueueSet } from '../../src/jobs/queue-set.ts';
import { BlockPool } from '../../src/source/blocks.ts';
import type { VcdApi } from '../../src/vcd/api.ts';
import { parseLease } from '../../src/vcd/lease.ts';
import { queryRecords } from '../../src/vcd/query.ts';
import { DESCRIPTOR_LIMITS, parseXml } from '../../src/xml.ts';

const signal = new AbortController().signal;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const LIMITS = DESCRIPTOR_LIMITS;

test("a dead run's bytes are counted once, however often the next run begins anew", () => {
  const before = { files: [{ name: 'a', size: 100, sent: 60 }], bytesResent: 0, bytesLost: 0 };
  const meter = new Meter(before);
  meter.expect([{ name: 'a', size: 100 }]);
  meter.kept('a', 40);
  expect(meter.resent).toBe(20);
  meter.restart();
  expect(meter.resent).toBe(60);
  meter.expect([{ name: 'a', size: 100 }]);
  meter.kept('a', 0);
  expect(meter.resent).toBe(60);
});

test('a save that is refused takes back what it said, and nothing that others said meanwhile', async () => {
  const noted: unknown[] = [];
  let refuse: (error: Error) => void = () => undefined;
  const lease = {
    note: (data: unknown) => void noted.push(data),
    save: () =>
      new Promise((_resolve, reject) => {
        refuse = reject;
      }),
  } as unknown as Lease;
  const data = newJobData({ name: 'x' } as never);
  const record = new JobRecord('lab-1', data, { lease, log: QUIET });
  const saving = record.saveCheckpoint({ reserved: 'mine', storage: 'mine' });
  record.noteCheckpoint({ storage: 'another', offer: null, contentKey: 'another' });
  refuse(new FerryError('REDIS_UNAVAILABLE', 'away'));
  await expect(saving).rejects.toThrow('away');
  expect(record.data.checkpoint).toMatchObject({
    ...{ reserved: null, storage: 'another', contentKey: 'another' },
  });
  expect(noted.at(-1)).toEqual(record.data);
});

test('two files of one package that ask for a place take one', async () => {
  let taken = 0;
  const pool = new BlockPool(1024);
  const place = new RunPlace(pool, {
    tryTake: async () => {
      taken += 1;
      return pool;
    },
    giveBack: () => undefined,
  });
  place.free();
  await Promise.all([place.take(signal), place.take(signal), place.take(signal)]);
  expect({ taken, isHeld: place.isHeld }).toEqual({ taken: 1, isHeld: true });
});

test('pages of records that name each other are read once', async () => {
  const asked: string[] = [];
  const api = {
    openSession: async () => ({ version: '39.1' }),
    get: async (href: string) => {
      asked.push(href);
      const next = asked.length === 1 ? '/two' : '/two';
      return parseXml(`<R><Link rel="nextPage" href="${next}"/><ARecord name="x"/></R>`, LIMITS);
    },
  } as unknown as VcdApi;
  expect(await queryRecords(api, { type: 'x' }, { signal })).toHaveLength(2);
  expect(asked).toEqual([expect.stringContaining('/api/query'), '/two']);
});

test('the end of a lease that is no date is not known', () => {
  const lease = (ends: string) =>
    parseLease(
      parseXml(
        `<T><LeaseSettingsSection><StorageLeaseInSeconds>5</StorageLeaseInSeconds><StorageLeaseExpiration>${ends}</StorageLeaseExpiration></LeaseSettingsSection></T>`,
        LIMITS,
      ),
    );
  expect(lease('soon')).toEqual({ seconds: 5, ends: undefined });
  expect(lease('2026-11-29T01:02:03Z')?.ends).toBe('2026-11-29T01:02:03.000Z');
});

describe('what keeps a target back', () => {
  const brake = (ms: number, trials = 0) => ({
    ...{ code: 'AUTH_REJECTED', message: '', hint: '', since: 0, trials },
    trialAt: Date.now() + ms,
  });
  test.each([
    ['holds until its trial', brake(20_000), true],
    ['longer after more trials', brake(200_000, 3), true],
    ['no longer than that', brake(-1), false],
    ['not by a clock that is ten minutes ahead', brake(627_000), false],
    ['for ever where a person decides', { ...brake(0), trialAt: null }, true],
  ])('%s', (_what, seen, expected) => expect(isInForce(seen, Date.now())).toBe(expected));
});

test('what has not changed since it was told is not told again', () => {
  const isNew = changesOnly();
  const told = [isNew('a', { x: 1 }), isNew('a', { x: 1 }), isNew('b', { x: 1 }), isNew('a', {})];
  expect(told).toEqual([true, false, true, true]);
});

test('a job that ends while it is looked at is seen with its result', async () => {
  const data = newJobData({ name: 'x', operation: 'download', kind: null } as never);
  const common = { id: 'lab-1', data, timestamp: 0, getState: async () => 'completed' };
  const looks = [
    { ...common, returnvalue: null },
    { ...common, returnvalue: { catalogItem: 'a', entity: 'b', kind: 'ovf' }, finishedOn: 5 },
  ];
  const queues = { findJob: async () => looks.shift() } as unknown as QueueSet;
  const redis = { ferryRecord: true } as never;
  expect(await new JobViews(redis, queues).find('lab-1')).toMatchObject({
    state: 'completed',
    result: { catalogItem: 'a' },
  });
});
