import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import type { Simulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import type { VcdClient } from '../../src/vcd/client.ts';
import { until } from '../helpers/cli.ts';
import { isoOf, packageOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { clientOf, type UploadOptions, type UploadWorld, withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

interface Clouds extends UploadWorld {
  /** The cloud that has the item box. */
  readonly lab: Simulator;
  readonly labVcd: VcdClient;
  copy(options?: UploadOptions): ReturnType<UploadWorld['upload']>;
}

const FROM = { target: 'other', catalog: 'appliances', name: 'box', after: null, pull: false };

/** Two vCDs, one of which has an item. */
function withClouds<T>(
  sizes: readonly number[],
  use: (clouds: Clouds) => Promise<T>,
  options: { readonly lab?: SimulatorOptions; readonly prod?: SimulatorOptions } = {},
): Promise<T> {
  return withFolder(async (folder) => {
    const source = await writeOva(join(folder, 'box.ova'), packageOf(sizes));
    return withUploads({ store: join(folder, 'lab'), ...options.lab }, (there) =>
      withUploads({ store: join(folder, 'prod'), ...options.prod }, async (here) => {
        await there.upload(source, { description: 'an appliance' });
        const sourceVcd = clientOf(there.simulator);
        try {
          return await use({
            ...{ ...here, lab: there.simulator, labVcd: sourceVcd },
            copy: (more = {}) =>
              here.upload('lab/appliances/box', { from: FROM, sourceVcd, name: 'box', ...more }),
          });
        } finally {
          sourceVcd.close();
        }
      }),
    );
  });
}

const isOffered = ({ lab }: Clouds): boolean =>
  [...lab.world.items()].some(({ entity }) => entity.download !== undefined);

function expectSame({ lab, simulator }: Clouds, name = 'box'): void {
  const [source] = lab.items();
  const copies = simulator.items().filter((item) => item.name === name);
  expect(copies).toHaveLength(1);
  expect(copies[0]).toMatchObject({ status: 8, description: 'an appliance' });
  const digests = (files: (typeof copies)[0]['files'] = []) => files.map(({ sha256 }) => sha256);
  expect(digests(copies[0]?.files)).toEqual(digests(source?.files));
}

describe('a copy from cloud to cloud', () => {
  test('has the bytes and the description of the source, which is as it was afterwards', () =>
    withClouds([3 * MiB, 0, 17], async (clouds) => {
      await clouds.copy();
      expectSame(clouds);
      expect(isOffered(clouds)).toBe(false);
      expect(clouds.meter.current.snapshot()).toMatchObject({
        ...{ bytesTotal: 3 * MiB + 17, bytesResent: 0, stage: 'done' },
      });
    }));

  test('goes on where it was stopped, on both sides', () =>
    withClouds(
      [4 * MiB],
      async (clouds) => {
        const { simulator, lab } = clouds;
        const stop = new AbortController();
        const running = clouds.copy({ signal: stop.signal, chunkBytes: 256 * 1024 });
        running.catch(() => undefined);
        const arrived = () => simulator.items()[0]?.files[1]?.received ?? 0;
        await until('half of it', () => arrived() > 2 * MiB);
        stop.abort(new FerryError('SHUTDOWN', 'stopped'));
        await running.catch(() => undefined);
        const before = lab.world.totals.served;
        await clouds.copy({ chunkBytes: 256 * 1024 });
        expectSame(clouds);
        expect(clouds.meter.current.snapshot().bytesResent).toBe(0);
        expect(lab.world.totals.served - before).toBeLessThan(3 * MiB);
      },
      { lab: { rateBytesPerSecond: 6 * MiB } },
    ));

  test('survives addresses that run out, resets, and a source that is away for a while', () =>
    withClouds([2 * MiB], async (clouds) => {
      const { faults } = clouds.lab.world;
      const on = { method: 'GET', path: 'vmdk' };
      faults.add({ name: 'expired', on, after: 1, do: { expireTransfer: true } });
      faults.add({ name: 'reset', on, after: 1, do: { resetAfterBytes: 300_000 } });
      faults.add({ name: 'away', on, after: 1, do: { outageMs: 300 } });
      await clouds.copy();
      expectSame(clouds);
      expect(isOffered(clouds)).toBe(false);
      expect(faults.counts().every(({ hits }) => hits === 1)).toBe(true);
    }));

  test('whose source is another by then begins anew, and is never mixed', () =>
    withClouds(
      [3 * MiB],
      async (clouds) => {
        const stop = new AbortController();
        const running = clouds.copy({ signal: stop.signal, chunkBytes: 256 * 1024 });
        running.catch(() => undefined);
        const arrived = () => clouds.simulator.items()[0]?.files[1]?.received ?? 0;
        await until('some of it', () => arrived() > MiB);
        stop.abort(new FerryError('SHUTDOWN', 'stopped'));
        await running.catch(() => undefined);
        const [item] = clouds.lab.world.items();
        writeFileSync(item?.entity.received[1]?.sink.path ?? '', Buffer.alloc(3 * MiB, 'other'));
        delete item?.entity.download;
        await clouds.copy({ chunkBytes: 256 * 1024 });
        expect(clouds.remembered.current.restarts).toBe(1);
        expect(clouds.simulator.items()).toHaveLength(1);
      },
      { lab: { rateBytesPerSecond: 6 * MiB } },
    ));

  test('said again skips what holds the same, and replaces what has become another', () =>
    withClouds([100_000], async (clouds) => {
      const again = () => {
        clouds.remembered.current = NO_CHECKPOINT;
        return clouds.copy({ ifExists: 'update' });
      };
      await again();
      const served = clouds.lab.world.totals.served;
      expect((await again()).warnings.join()).toContain('skipped');
      expect(clouds.lab.world.totals.served).toBe(served);
      const [item] = clouds.lab.world.items();
      item?.entity.metadata.clear(); // another item of the name, of which nothing is noted
      await again();
      expectSame(clouds);
      expect(clouds.lab.world.totals.served).toBeGreaterThan(served);
    }));

  test('of media is the same', () =>
    withFolder((folder) =>
      withUploads({ store: join(folder, 'lab') }, (there) =>
        withUploads({}, async (here) => {
          writeFileSync(join(folder, 'tools.iso'), isoOf(300_000));
          await there.upload(join(folder, 'tools.iso'));
          const sourceVcd = clientOf(there.simulator);
          await here.upload('x', { from: { ...FROM, name: 'tools' }, sourceVcd, name: 'tools' });
          sourceVcd.close();
          const [one, other] = [there.simulator.items()[0], here.simulator.items()[0]];
          expect(other).toMatchObject({ kind: 'media', imageType: 'iso', status: 1 });
          expect(other?.files[0]?.sha256).toBe(one?.files[0]?.sha256);
        }),
      ),
    ));

  test('by the other server itself, where it can', () =>
    withClouds([200_000], async (clouds) => {
      await clouds.copy({ from: { ...FROM, pull: true } });
      const { simulator } = clouds;
      expect(simulator.items()).toHaveLength(1);
      expect(simulator.items()[0]).toMatchObject({ name: 'box', status: 8 });
      const puts = simulator.requests.filter(
        ({ method, path }) => method === 'PUT' && path.startsWith('/transfer/'),
      );
      expect(puts).toEqual([]);
      expect(isOffered(clouds)).toBe(false);
    }));

  test('by this worker, where the other server can not fetch it', () =>
    withClouds([200_000], async (clouds) => {
      // Node's own client is the other server's: the address must not answer it.
      const rule = { method: 'GET', path: '^/transfer/', without: 'authorization' };
      clouds.lab.world.faults.add({ name: 'closed', on: rule, do: { status: 403 } });
      await clouds.copy({ from: { ...FROM, pull: true } });
      expectSame(clouds);
      expect(clouds.lab.world.faults.counts()).toEqual([{ name: 'closed', hits: 1 }]);
    }));

  test('waits for the job that brings the item there', () =>
    withClouds([1_000], async (clouds) => {
      const from = { ...FROM, after: 'lab-7' };
      await expect(clouds.copy({ from, living: ['lab-7'] })).rejects.toMatchObject({
        ...{ code: 'SOURCE_PENDING', kind: 'transient' },
      });
      await expect(clouds.copy({ from, failed: ['lab-7'] })).rejects.toMatchObject({
        ...{ code: 'ITEM_NOT_FOUND', message: expect.stringContaining('lab-7') },
      });
      await clouds.copy({ from });
      expectSame(clouds);
    }));
});

describe('a copy within one vCD', () => {
  test.each([0, 100])(
    "is the server's own, which takes it %i ms: no byte goes over our line",
    (ms) =>
      withFolder((folder) =>
        withUploads({ store: join(folder, 'store'), importTimeMs: ms }, async (world) => {
          const { simulator, upload, remembered } = world;
          await upload(await writeOva(join(folder, 'box.ova'), packageOf([100_000])), {
            description: 'an appliance',
          });
          const { arrived } = simulator.world.totals;
          let jobs = 1;
          const inside = (options: UploadOptions = {}) => {
            jobs += 1;
            remembered.current = NO_CHECKPOINT;
            const place = { from: FROM, name: 'copy', catalog: 'archive' };
            const jobId = `lab-${jobs}`;
            return upload('lab/appliances/box', { ...place, jobId, ...options });
          };
          await inside();
          const [source, copy] = simulator.items();
          expect(copy).toMatchObject({
            ...{ name: 'copy', catalog: 'archive', status: 8, description: 'an appliance' },
          });
          expect(copy?.files[1]?.sha256).toBe(source?.files[1]?.sha256);
          expect(simulator.world.totals).toMatchObject({ arrived, served: 0 });
          expect((await inside()).warnings.join()).toContain('recognised');
          const other = inside({ installation: 'def456' });
          await expect(other).rejects.toMatchObject({ code: 'NAME_TAKEN' });
          const skipping = inside({ ifExists: 'skip', installation: 'def456' });
          expect((await skipping).warnings.join()).toContain('skipped');
          await inside({ ifExists: 'replace', again: true });
          expect(simulator.items()).toHaveLength(2);
        }),
      ),
  );

  test('is made once, whatever call was the last of a worker that died', async () => {
    let calls = 0;
    const at = (when: number, moment: 'before' | 'after') =>
      withFolder((folder) =>
        withUploads({ store: join(folder, 'store') }, async ({ simulator, upload, remembered }) => {
          await upload(await writeOva(join(folder, 'box.ova'), packageOf([5_000])));
          remembered.current = NO_CHECKPOINT;
          const copy = (options: UploadOptions = {}) =>
            upload('lab/appliances/box', {
              from: FROM,
              name: 'copy',
              catalog: 'archive',
              ...options,
            });
          const died = copy({
            around(call, seen) {
              calls = Math.max(calls, call);
              if (call === when && seen === moment) throw new FerryError('LOCK_LOST', 'died');
            },
          });
          await died.catch(() => undefined);
          await copy();
          const copies = simulator.items().filter(({ catalog }) => catalog === 'archive');
          expect(copies).toEqual([
            expect.objectContaining({ name: 'copy', status: 8, description: '' }),
          ]);
        }),
      );
    await at(Number.POSITIVE_INFINITY, 'before');
    for (let call = 1; call <= calls; call += 1) {
      await at(call, 'before');
      await at(call, 'after');
    }
    expect(calls).toBeGreaterThan(6);
  });
});
