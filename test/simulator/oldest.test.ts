import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { digest, isoOf, packageOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;
const VERSIONS = ['1.5', '5.1'] as const;
const old = (version: string) => ({ release: '5.5', api: [version] });

describe.each(VERSIONS)('a server that speaks only %s', (version) => {
  test('is uploaded to through its vDC, and the template is added to the catalog', () =>
    withFolder((folder) =>
      withUploads(old(version), async ({ simulator, upload }) => {
        const members = packageOf([3 * MiB, 17]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        const result = await upload(source, { description: 'an appliance', chunkBytes: MiB });
        const [item, ...others] = simulator.items();
        expect(others).toEqual([]);
        expect(item).toMatchObject({
          ...{ name: 'box', catalog: 'appliances', status: 8, description: 'an appliance' },
        });
        expect(item?.files[1]?.sha256).toBe(digest(members[2]?.bytes as Buffer));
        expect(result.catalogItem).toMatch(/\/api\/catalogItem\//);
        const posts = simulator.requests.filter(({ method }) => method === 'POST');
        const paths = posts.map(({ path }) => path.replace(/\/[0-9a-f-]{36}/, '/ID'));
        expect(paths).toContain('/api/vdc/ID/action/uploadVAppTemplate');
        expect(paths).toContain('/api/catalog/ID/catalogItems');
      }),
    ));

  test('takes media so, too', () =>
    withFolder((folder) =>
      withUploads(old(version), async ({ simulator, upload }) => {
        const bytes = isoOf(100_000);
        writeFileSync(join(folder, 'tools.iso'), bytes);
        await upload(join(folder, 'tools.iso'));
        expect(simulator.items()).toEqual([
          expect.objectContaining({
            name: 'tools',
            catalog: 'appliances',
            kind: 'media',
            status: 1,
          }),
        ]);
        expect(simulator.items()[0]?.files[0]?.sha256).toBe(digest(bytes));
      }),
    ));
});

describe('an upload through a vDC', () => {
  test('is made once and lands in the catalog, whatever call was the last of a worker that died', async () => {
    let calls = 0;
    const at = (when: number, moment: 'before' | 'after') =>
      withFolder((folder) =>
        withUploads(old('5.1'), async ({ simulator, upload }) => {
          const source = await writeOva(join(folder, 'box.ova'), packageOf([5_000]));
          const died = upload(source, {
            around(call, seen) {
              calls = Math.max(calls, call);
              if (call === when && seen === moment) throw new FerryError('LOCK_LOST', 'died');
            },
          });
          await died.catch(() => undefined);
          await upload(source);
          expect(simulator.items()).toEqual([
            expect.objectContaining({
              name: 'box',
              catalog: 'appliances',
              status: 8,
              description: '',
            }),
          ]);
        }),
      );
    await at(Number.POSITIVE_INFINITY, 'before');
    for (let call = 1; call <= calls; call += 1) {
      await at(call, 'before');
      await at(call, 'after');
    }
    expect(calls).toBeGreaterThan(8);
  });

  test.each(['fail', 'skip', 'replace'] as const)('heeds --if-exists %s', (ifExists) =>
    withFolder((folder) =>
      withUploads(old('5.1'), async ({ simulator, upload, remembered }) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([5_000]));
        await upload(source);
        remembered.current = NO_CHECKPOINT;
        const again = upload(source, { ifExists, jobId: 'lab-2', installation: 'def456' });
        if (ifExists === 'fail') await expect(again).rejects.toMatchObject({ code: 'NAME_TAKEN' });
        else await again;
        expect(simulator.items()).toEqual([
          expect.objectContaining({ name: 'box', catalog: 'appliances', status: 8 }),
        ]);
      }),
    ),
  );

  test('that is given up leaves nothing, not even in the vDC', () =>
    withFolder((folder) =>
      withUploads(
        { ...old('5.1'), rateBytesPerSecond: 4 * MiB },
        async ({ simulator, upload, cleanUp }) => {
          const source = await writeOva(join(folder, 'box.ova'), packageOf([3 * MiB]));
          const failed = upload(source, {
            chunkBytes: MiB,
            around(_call, when, name) {
              const received = simulator.items()[0]?.files[1]?.received ?? 0;
              if (when === 'after' && name === 'putRange' && received > MiB) {
                throw new FerryError('CANCELLED', 'cancelled');
              }
            },
          });
          await expect(failed).rejects.toMatchObject({ code: 'CANCELLED' });
          expect(simulator.items()).toHaveLength(1);
          await cleanUp();
          expect(simulator.items()).toEqual([]);
        },
      ),
    ));

  test('is not chosen where the catalog takes uploads itself', () =>
    withFolder((folder) =>
      withUploads({ release: '5.5' }, async ({ simulator, upload }) => {
        await upload(await writeOva(join(folder, 'box.ova'), packageOf([5_000])));
        expect(simulator.requests.some(({ path }) => path.includes('/api/vdc/'))).toBe(false);
      }),
    ));
});
