import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { digest, isoOf, type Member, packageOf, writeOva } from '../helpers/packages.ts';
import { atOnce, withOpenOnce } from '../helpers/side-by-side.ts';
import { withFolder } from '../helpers/temp.ts';
import {
  POOLED_JOB,
  type UploadOptions,
  type UploadWorld,
  withUploads,
} from '../helpers/upload.ts';

const CHUNK = 100_000;
/** Deaths that are tried side by side: each has a server of its own. */
const AT_ONCE = 6;
const MEMORIES = ['remembering everything', 'remembering nothing'] as const;
const RUNS = MEMORIES.flatMap((memory) =>
  ['lab-1', POOLED_JOB].map((jobId) => ({ memory, jobId })),
);

type Moment = 'before' | 'after';

/** Dies just before, or just after, the n-th call of the API; the reply never comes back. */
function dyingAt(n: number, moment: Moment): UploadOptions {
  return {
    chunkBytes: CHUNK,
    around(call, when) {
      if (call === n && when === moment) throw new FerryError('LOCK_LOST', 'died here');
    },
  };
}

/** A server, on which there may be an item of the same name already. */
function withServer(
  old: string | undefined,
  { openImage }: Opening,
  use: (world: UploadWorld) => Promise<void>,
): Promise<void> {
  return withUploads({}, async (world) => {
    if (old !== undefined)
      await world.upload(old, { name: 'box', jobId: 'lab-0', verify: 'off', openImage });
    world.remembered.current = NO_CHECKPOINT;
    await use(world);
  });
}

type Opening = Required<Pick<UploadOptions, 'openImage'>>;

interface Deaths {
  readonly options?: UploadOptions;
  readonly memory?: (typeof MEMORIES)[number];
  /** The package of an item that is there before. */
  readonly old?: readonly Member[];
  /** What the next run does; by default it ends the upload. */
  readonly next?: (world: UploadWorld) => Promise<unknown>;
  readonly check: (world: UploadWorld, moment: string) => void;
}

/**
 * Dies at each call of an upload in turn, and each time is followed by a run that has to end it.
 *
 * @returns how many calls an upload makes
 */
async function dieEverywhere({ options, memory, old, next, check }: Deaths): Promise<number> {
  return withFolder((folder) =>
    withOpenOnce(async (openImage) => {
      const source = await writeOva(join(folder, 'box.ova'), packageOf([250_000, 10]));
      const before = old && (await writeOva(join(folder, 'old.ova'), old));
      const asked = { ...options, chunkBytes: CHUNK, openImage };
      const calls: string[] = [];
      const around: UploadOptions['around'] = (call, _when, name) => {
        calls[call - 1] = name;
      };
      await withServer(before, asked, async (world) => {
        await world.upload(source, { ...asked, around });
      });
      const deaths = calls.flatMap((name, i) => {
        // After a call that only reads is before the next one.
        const moments: Moment[] = /^(get|list)/.test(name) ? ['before'] : ['before', 'after'];
        return moments.map((moment) => ({ call: i + 1, name, moment }));
      });
      await atOnce(AT_ONCE, deaths, ({ call, name, moment }) =>
        withServer(before, asked, async (world) => {
          const died = world.upload(source, { ...asked, ...dyingAt(call, moment) });
          await expect(died).rejects.toMatchObject({ code: 'LOCK_LOST' });
          if (memory === 'remembering nothing') world.remembered.current = NO_CHECKPOINT;
          await (next ? next(world) : world.upload(source, asked));
          check(world, `${moment} call ${call}, ${name}`);
        }),
      );
      return calls.length;
    }),
  );
}

describe.each(RUNS)(
  'an upload whose process dies around any call of the API, $memory, of the job $jobId',
  ({ memory, jobId }) => {
    test('is ended by the next run: whole, once', async () => {
      const check: Deaths['check'] = (world, moment) => {
        const items = world.simulator.items();
        const seen = items.map(({ name, status, description }) => ({ name, status, description }));
        expect({ moment, seen }).toEqual({
          moment,
          seen: [{ name: 'box', status: 8, description: '' }],
        });
        const kept = items[0]?.files[1]?.ranges.reduce((sum, { stored }) => sum + stored, 0);
        expect({ moment, kept }).toEqual({ moment, kept: 250_000 });
      };
      const calls = await dieEverywhere({ options: { jobId }, memory, check });
      expect(calls).toBeGreaterThan(10);
    });

    test('is ended by the next run with all that was asked for: server-verified, kept, noted', async () => {
      const options: UploadOptions = {
        jobId,
        verify: 'server',
        leaseSeconds: 86_400,
        storageProfile: 'Silver',
        metadata: [{ key: 'cpus', type: 'number', value: '4' }],
      };
      const check: Deaths['check'] = (world, moment) => {
        const items = world.simulator.items();
        const seen = items.map(({ name, status, description, storageProfile }) => ({
          ...{ name, status, description, storageProfile },
        }));
        expect({ moment, seen }).toEqual({
          moment,
          seen: [{ name: 'box', status: 8, description: '', storageProfile: 'Silver' }],
        });
        const [item] = items;
        expect({ moment, lease: item?.leaseEnds }).toEqual({ moment, lease: expect.any(String) });
        expect({ moment, noted: item?.metadata['cpus'] }).toEqual({ moment, noted: '4' });
      };
      const calls = await dieEverywhere({ options, memory, check });
      expect(calls).toBeGreaterThan(12);
    });

    test('is ended by the next run where it replaces an item: the new one is there, the old one gone', async () => {
      const old = packageOf([10, 20]);
      const check: Deaths['check'] = (world, moment) => {
        const items = world.simulator.items();
        const seen = items.map(({ name, status, description }) => ({ name, status, description }));
        expect({ moment, seen }).toEqual({
          moment,
          seen: [{ name: 'box', status: 8, description: '' }],
        });
        expect(items[0]?.files[1]?.sha256).not.toBe(digest(old[2]?.bytes as Buffer));
      };
      // Whose digests are right, the other tests see.
      const options: UploadOptions = { jobId, ifExists: 'replace', verify: 'off' };
      const calls = await dieEverywhere({ options, memory, old, check });
      expect(calls).toBeGreaterThan(15);
    });
  },
);

test('an upload whose process dies around any call of the API, and that is cancelled then, leaves nothing but what is ready', async () => {
  let ready = 0;
  const calls = await dieEverywhere({
    async next(world) {
      if (await world.cleanUp()) ready += 1;
    },
    check(world, moment) {
      const unfinished = world.simulator.items().filter(({ status }) => status !== 8);
      expect({ moment, unfinished }).toEqual({ moment, unfinished: [] });
    },
  });
  expect(ready).toBeGreaterThan(0);
  expect(ready).toBeLessThan(calls / 2);
});

test('a fresh Redis goes on with an item of the same files, whoever began it', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      const source = await writeOva(join(folder, 'box.ova'), packageOf([300_000]));
      const dying = dyingAt(8, 'after');
      await expect(world.upload(source, dying)).rejects.toThrow('died here');
      const before = world.simulator.items()[0]?.files[1]?.received ?? 0;
      expect(before).toBeGreaterThan(0);
      world.remembered.current = NO_CHECKPOINT;
      // A job that is still known is not taken its item away.
      const rival = world.upload(source, { jobId: 'lab-2', living: [POOLED_JOB] });
      await expect(rival).rejects.toMatchObject({
        code: 'NAME_TAKEN',
        hint: expect.stringContaining(`ovaferry retry ${POOLED_JOB}`),
      });
      world.remembered.current = NO_CHECKPOINT;
      await world.upload(source, { jobId: 'lab-2' });
      const [item, ...others] = world.simulator.items();
      expect(others).toEqual([]);
      const ranges = item?.files[1]?.ranges ?? [];
      expect(ranges.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(300_000);
    }),
  ));

test('one of other files is not gone on with', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      const source = await writeOva(join(folder, 'box.ova'), packageOf([300_000]));
      await expect(world.upload(source, dyingAt(8, 'after'))).rejects.toThrow('died here');
      await writeFile(join(folder, 'other.iso'), isoOf());
      world.remembered.current = NO_CHECKPOINT;
      const other = world.upload(join(folder, 'other.iso'), { name: 'box', jobId: 'lab-2' });
      await expect(other).rejects.toMatchObject({ code: 'NAME_TAKEN' });
      expect(world.simulator.items()).toHaveLength(1);
    }),
  ));
