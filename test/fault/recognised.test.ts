import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { findMark } from '../../src/jobs/mark.ts';
import { descriptorOf, isoOf, type Member, packageOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import {
  POOLED_JOB,
  type UploadOptions,
  type UploadWorld,
  withUploads,
} from '../helpers/upload.ts';

const RECOGNISED = expect.stringMatching(/^recognised: /);
const SIZE = 3_000_000;

/** Each as a file that is uploaded as "box". */
const IMAGES: Record<string, (folder: string) => Promise<string>> = {
  'an OVA': (folder) => writeOva(join(folder, 'box.ova'), packageOf([SIZE])),
  'an OVA without a manifest'(folder) {
    const [, , disk] = packageOf([SIZE]) as [Member, Member, Member];
    const descriptor = { name: 'box.ovf', bytes: descriptorOf([{ href: disk.name }]) };
    return writeOva(join(folder, 'box.ova'), [descriptor, disk]);
  },
  async 'a media image'(folder) {
    await writeFile(join(folder, 'box.iso'), isoOf(SIZE));
    return join(folder, 'box.iso');
  },
  async 'an empty one'(folder) {
    await writeFile(join(folder, 'box.img'), '');
    return join(folder, 'box.img');
  },
};
/** What a server says that knows no metadata, or a role that may not write them. */
const REFUSALS = [405, 403];

/** An image has been uploaded; then a Redis has lost everything. */
function withUploaded(
  make: (folder: string) => Promise<string>,
  use: (world: UploadWorld, source: string) => Promise<void>,
  refusal?: number,
): Promise<void> {
  return withFolder((folder) =>
    withUploads({}, async (world) => {
      if (refusal !== undefined) {
        const on = { method: 'POST', path: '/metadata' };
        world.simulator.world.faults.add({ on, times: 0, do: { status: refusal } });
      }
      const source = await make(folder);
      const result = await world.upload(source);
      expect(result.warnings).toEqual([]);
      world.remembered.current = NO_CHECKPOINT;
      await use(world, source);
    }),
  );
}

const sentTo = ({ simulator }: UploadWorld): number => simulator.world.totals.arrived;

async function expectRecognised(
  world: UploadWorld,
  source: string,
  options: UploadOptions,
): Promise<void> {
  const before = { sent: sentTo(world), items: world.simulator.items().length };
  const { warnings } = await world.upload(source, options);
  const after = { sent: sentTo(world), items: world.simulator.items().length };
  expect({ warnings, ...after }).toEqual({ warnings: [RECOGNISED], ...before });
}

describe.each(Object.entries(IMAGES))('%s that was uploaded before', (_name, make) => {
  test.each(['fail', 'skip', 'replace'] as const)(
    'is recognised, whatever is left of Redis, with --if-exists %s',
    (ifExists) =>
      withUploaded(make, async (world, source) => {
        // The same job, as the same command makes it; another one, of a pool or after a failure.
        await expectRecognised(world, source, { ifExists });
        world.remembered.current = NO_CHECKPOINT;
        // Who wants it replaced means it, but for a job of the same upload that has done so.
        const previous = ifExists === 'replace' ? POOLED_JOB : null;
        await expectRecognised(world, source, { ifExists, jobId: 'lab-2', previous });
      }),
  );

  test('is replaced where that is wanted, though it is the same', () =>
    withUploaded(make, async (world, source) => {
      const asked = { ifExists: 'replace', jobId: 'lab-2', description: 'new' } as const;
      expect((await world.upload(source, asked)).warnings).toEqual([]);
      expect(world.simulator.items()).toMatchObject([{ description: 'new' }]);
    }));

  test('is uploaded to another name, and not recognised where somebody wants it again', () =>
    withUploaded(make, async (world, source) => {
      await world.upload(source, { jobId: 'lab-2', name: 'other' });
      world.remembered.current = NO_CHECKPOINT;
      const again = world.upload(source, { jobId: 'lab-3', again: true });
      await expect(again).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    }));

  test('is not taken for another one of the same name', () =>
    withUploaded(make, async (world, source) => {
      await writeFile(source.replace(/box/, 'b'), randomBytes(SIZE));
      const other = join(source, '..', 'other.iso');
      await writeFile(other, isoOf(SIZE));
      const [taken] = world.simulator.items();
      const uploading = world.upload(other, { jobId: 'lab-2', name: taken?.name ?? '' });
      await expect(uploading).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    }));

  test.each(REFUSALS)(
    'keeps its mark where nothing may be noted (%i), and is known by that',
    (status) =>
      withUploaded(
        make,
        async (world, source) => {
          const [item] = world.simulator.items();
          expect(findMark(item?.description ?? '')).toMatchObject({ installation: 'abc123' });
          // A job whose end was lost, with what it remembered, goes on to its end.
          await world.upload(source);
          world.remembered.current = NO_CHECKPOINT;
          await expectRecognised(world, source, { jobId: 'lab-2' });
          world.remembered.current = NO_CHECKPOINT;
          const again = world.upload(source, { jobId: 'lab-3', again: true });
          await expect(again).rejects.toMatchObject({ code: 'NAME_TAKEN' });
          expect(world.simulator.items()).toHaveLength(1);
        },
        status,
      ),
  );
});

test('what a user wants noted and is refused is a warning', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      const on = { method: 'POST', path: '/metadata' };
      world.simulator.world.faults.add({ on, times: 0, do: { status: 405 } });
      const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
      const metadata = [{ key: 'cpus', type: 'number' as const, value: '4' }];
      const { warnings } = await world.upload(source, { metadata, description: 'mine' });
      expect(warnings).toEqual([expect.stringMatching(/could not be noted/)]);
      expect(world.simulator.items()[0]?.description).toMatch(/^mine\n\[ovaferry /);
    }),
  ));

test('an image that was changed where no sample looks is another one', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      const source = join(folder, 'box.iso');
      const bytes = isoOf(40_000_000);
      await writeFile(source, bytes);
      await world.upload(source);
      bytes[1_000_000] = (bytes[1_000_000] ?? 0) ^ 1;
      await writeFile(source, bytes);
      world.remembered.current = NO_CHECKPOINT;
      for (const ifExists of ['fail', 'skip'] as const) {
        const changed = world.upload(source, { jobId: 'lab-2', ifExists });
        await expect(changed).rejects.toMatchObject({ code: 'NAME_TAKEN' });
      }
    }),
  ));
