import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadWorld, withUploads } from '../helpers/upload.ts';

/** An item that is to be replaced, and an upload that is to take its place. */
async function replacing(
  meanwhile: (world: UploadWorld) => void,
  check: (world: UploadWorld, uploading: Promise<unknown>) => Promise<void>,
): Promise<void> {
  await withFolder((folder) =>
    withUploads({ importTimeMs: 400 }, async (world) => {
      const old = await writeOva(join(folder, 'old.ova'), packageOf([10]));
      await world.upload(old, { name: 'box', jobId: 'lab-0', description: 'the old one' });
      world.remembered.current = NO_CHECKPOINT;
      const source = await writeOva(join(folder, 'box.ova'), packageOf([1_000]));
      const uploading = world.upload(source, { ifExists: 'replace', description: 'the new one' });
      uploading.catch(() => undefined);
      while (world.simulator.items().length < 2) await new Promise(setImmediate);
      meanwhile(world);
      await check(world, uploading);
    }),
  );
}

const names = ({ simulator }: UploadWorld): string[] =>
  simulator.items().map(({ description, name }) => `${name}: ${description}`);

test('an item that somebody else put there meanwhile is not replaced', () =>
  replacing(
    ({ simulator }) => {
      const [old] = [...simulator.world.items()];
      if (!old) throw new Error('there is no old item');
      const { items } = old.catalog;
      items.splice(items.indexOf(old), 1);
      items.push({ ...old, id: 'third', description: 'a third one' });
    },
    async (world, uploading) => {
      await expect(uploading).rejects.toMatchObject({ code: 'NAME_TAKEN' });
      expect(names(world)).toContain('box: a third one');
      // The new one is ready, and what is ready is not taken away.
      expect(await world.cleanUp()).toMatchObject({ entity: { status: 8 } });
      expect(world.simulator.items()).toHaveLength(2);
    },
  ));

test('an item that somebody removed meanwhile leaves its name free', () =>
  replacing(
    ({ simulator }) => {
      const [old] = [...simulator.world.items()];
      if (old) simulator.world.remove(old);
    },
    async (world, uploading) => {
      await uploading;
      expect(names(world)).toEqual(['box: the new one']);
    },
  ));

test('the old item has its name until the new one is ready', () =>
  replacing(
    (world) => expect(names(world)[0]).toBe('box: the old one'),
    async (world, uploading) => {
      await uploading;
      expect(names(world)).toEqual(['box: the new one']);
      const renames = world.simulator.requests.filter(
        ({ method, path }) => method === 'PUT' && path.startsWith('/api/'),
      );
      expect(renames.length).toBeLessThanOrEqual(4);
    },
  ));

test('a new item that somebody removes between the two names: the old one gets its name back', () =>
  replacing(
    ({ simulator }) => {
      simulator.world.faults.add({
        on: { method: 'PUT', path: '/api/vAppTemplate' },
        after: 1,
        do: { delayMs: 300 },
      });
    },
    async (world, uploading) => {
      const { world: inside } = world.simulator;
      const fresh = [...inside.items()].find(({ description }) => description !== 'the old one');
      while (!names(world).some((name) => name.includes('(replaced')))
        await new Promise(setImmediate);
      if (fresh) inside.remove(fresh);
      await expect(uploading).rejects.toMatchObject({ code: 'ITEM_GONE' });
      await world.cleanUp();
      expect(names(world)).toEqual(['box: the old one']);
    },
  ));
