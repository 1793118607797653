import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import type { SeenItem } from '../../src/simulator/introspection.ts';
import { until } from '../helpers/cli.ts';
import { call, loggedIn, pathOf } from '../helpers/http.ts';
import {
  descriptorOf,
  digest,
  type Member,
  manifestOf,
  packageOf,
  writeOva,
} from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadWorld, withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;
const DAY = 86_400;

const onlyItem = ({ simulator }: UploadWorld): SeenItem => {
  const items = simulator.items();
  expect(items).toHaveLength(1);
  return items[0] as SeenItem;
};

/** An ISO as far as its header says. */
function isoBytes(size = 50_000): Buffer {
  const bytes = randomBytes(size);
  bytes.write('CD001', 16 * 2048 + 1, 'latin1');
  return bytes;
}

describe('a storage profile', () => {
  const storageProfiles = { Gold: 0, Silver: 10 * MiB };

  test.each(['box.ova', 'disc.iso'])('that is named holds %s', (name) =>
    withFolder((folder) =>
      withUploads({ storageProfiles }, async (world) => {
        const path = join(folder, name);
        if (name.endsWith('.iso')) await writeFile(path, isoBytes());
        else await writeOva(path, packageOf([MiB]));
        await world.upload(path, { storageProfile: 'Silver' });
        expect(onlyItem(world)).toMatchObject({ storageProfile: 'Silver' });
      }),
    ),
  );

  test('that is not there is an error that names those there are', () =>
    withFolder((folder) =>
      withUploads({ storageProfiles }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        await expect(world.upload(source, { storageProfile: 'Bronze' })).rejects.toMatchObject({
          code: 'STORAGE_PROFILE_NOT_FOUND',
          message: expect.stringContaining('Gold, Silver'),
        });
        expect(world.simulator.items()).toEqual([]);
      }),
    ));

  test('that has no room is noticed before anything is created', () =>
    withFolder((folder) =>
      withUploads({ storageProfiles }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([11 * MiB]));
        await expect(world.upload(source, { storageProfile: 'Silver' })).rejects.toMatchObject({
          code: 'STORAGE_FULL',
          kind: 'transient',
        });
        expect(world.simulator.requests.filter(({ method }) => method !== 'GET')).toHaveLength(1);
      }),
    ));

  test('that can not be seen for the moment fails no job', () =>
    withFolder((folder) =>
      withUploads({ storageProfiles }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        const { faults } = world.simulator.world;
        faults.add({ on: { path: 'orgVdcStorageProfile' }, times: 0, do: { status: 403 } });
        const named = world.upload(source, { storageProfile: 'Silver' });
        await expect(named).rejects.toMatchObject({ code: 'CATALOG_FORBIDDEN' });
        await world.upload(source);
        expect(onlyItem(world)).toMatchObject({ status: 8 });
      }),
    ));

  test('is asked for of none where none is named, as long as one has room', () =>
    withFolder((folder) =>
      withUploads({ storageProfiles }, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([11 * MiB])));
        expect(onlyItem(world)).toMatchObject({ storageProfile: 'Gold' });
      }),
    ));
});

describe('a lease', () => {
  test('of the organisation shows in the result', () =>
    withFolder((folder) =>
      withUploads({ templateLeaseSeconds: 7 * DAY }, async (world) => {
        const result = await world.upload(await writeOva(join(folder, 'b.ova'), packageOf([10])));
        const days = (Date.parse(result.removedAt ?? '') - Date.now()) / DAY / 1000;
        expect(days).toBeGreaterThan(6.99);
        expect(days).toBeLessThanOrEqual(7);
        expect(onlyItem(world).leaseEnds).toBe(result.removedAt);
      }),
    ));

  test.each([
    ['for ever', 0],
    ['for a time', 3 * DAY],
  ])('that is wanted is set: %s', (_how, leaseSeconds) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        const result = await world.upload(source, { leaseSeconds });
        const { leaseEnds } = onlyItem(world);
        expect(result).toMatchObject({ removedAt: leaseEnds, warnings: [] });
        expect(leaseEnds === null).toBe(leaseSeconds === 0);
      }),
    ),
  );

  test('that the organisation does not allow is a warning with its words, and its date is shown', () =>
    withFolder((folder) =>
      withUploads({ templateLeaseSeconds: 7 * DAY }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        const result = await world.upload(source, { leaseSeconds: 0 });
        expect(result.warnings).toEqual([
          expect.stringMatching(/lease could not be set: .*604800/s),
        ]);
        expect(result.removedAt).not.toBeNull();
      }),
    ));
});

test('metadata are noted on the item with their types', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      const metadata = [
        { key: 'owner', type: 'string', value: 'Zoë <ops> & co' },
        { key: 'cpus', type: 'number', value: '4' },
        { key: 'tested', type: 'boolean', value: 'true' },
        { key: 'until', type: 'dateTime', value: '2026-12-24T20:00:00.000Z' },
      ] as const;
      const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
      const { entity } = await world.upload(source, { metadata });
      const { url } = world.simulator;
      const headers = await loggedIn(url);
      const { body } = await call(url, `${pathOf(entity)}/metadata`, { headers });
      expect(onlyItem(world).metadata).toMatchObject({ owner: 'Zoë <ops> & co', cpus: '4' });
      for (const [type, value] of [
        ['MetadataStringValue', 'Zoë &lt;ops&gt; &amp; co'],
        ['MetadataNumberValue', '4'],
        ['MetadataBooleanValue', 'true'],
        ['MetadataDateTimeValue', '2026-12-24T20:00:00.000Z'],
      ]) {
        expect(body).toContain(`<TypedValue xsi:type="${type}"><Value>${value}</Value>`);
      }
    }),
  ));

describe('what is left to do with an item that is ready', () => {
  const metadata = [{ key: 'cpus', type: 'number', value: '4' }] as const;
  const refused = (minorCode: string, status = 400) => ({
    status,
    headers: { 'x-vmware-vcloud-request-id': 'r' },
    body: `<Error xmlns="http://www.vmware.com/vcloud/v1.5" majorErrorCode="${status}" minorErrorCode="${minorCode}" message="no"/>`,
  });

  test.each([
    ['a limit of the server', refused('OPERATION_LIMITS_EXCEEDED')],
    ['a login that is rejected', { status: 401 }],
  ])('waits for the end of %s: nothing that was asked for is given up', (_what, fault) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        const { faults } = world.simulator.world;
        faults.add({ on: { method: 'POST', path: 'metadata' }, times: 6, do: fault });
        await expect(world.upload(source, { metadata, leaseSeconds: DAY })).rejects.toMatchObject({
          code: expect.stringMatching(/^(TARGET_BUSY|AUTH_REJECTED)$/),
        });
        expect(onlyItem(world)).toMatchObject({
          status: 8,
          description: expect.stringMatching(/ovaferry/),
        });
        faults.clear();
        const result = await world.upload(source, { metadata, leaseSeconds: DAY });
        expect(result).toMatchObject({ warnings: [], removedAt: expect.any(String) });
        expect(onlyItem(world)).toMatchObject({ description: '', metadata: { cpus: '4' } });
      }),
    ),
  );

  test('is tried again after a passing 403', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        world.simulator.world.faults.add({
          on: { method: 'POST', path: 'metadata' },
          do: refused('ACCESS_TO_RESOURCE_IS_FORBIDDEN', 403),
        });
        const result = await world.upload(source, { metadata });
        expect(result.warnings).toEqual([]);
        expect(onlyItem(world).metadata).toMatchObject({ cpus: '4' });
      }),
    ));

  test('is a warning where the server refuses it for good, and whose the item is stands on it all the same', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        const rule = { method: 'POST', path: 'metadata' };
        world.simulator.world.faults.add({ on: rule, do: refused('BAD_REQUEST') });
        const result = await world.upload(source, { metadata });
        expect(result.warnings).toEqual([expect.stringContaining('could not be noted')]);
        expect(Object.keys(onlyItem(world).metadata)).toContain('ovaferry.upload');
      }),
    ));
});

describe('an image type', () => {
  test.each([
    ['disc.iso', isoBytes(), 'iso', 0],
    ['disc.img', isoBytes(), 'iso', 0],
    ['odd.iso', randomBytes(50_000), 'iso', 1],
    ['small.iso', randomBytes(10), 'iso', 1],
    ['floppy.flp', randomBytes(50_000), 'other', 0],
    ['noending', randomBytes(10), 'other', 0],
  ])('of %s is what it holds', (name, bytes, imageType, _warnings) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const path = join(folder, name);
        await writeFile(path, bytes);
        await world.upload(path, { media: true });
        expect(onlyItem(world)).toMatchObject({ kind: 'media', imageType, status: 1 });
      }),
    ),
  );
});

describe('--verify server', () => {
  const manifestIn = (item: SeenItem) => item.files.find(({ name }) => name === 'manifest.mf');

  test("sends the package's own manifest", () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const members = packageOf([MiB, 100]);
        await world.upload(await writeOva(join(folder, 'box.ova'), members), { verify: 'server' });
        expect(onlyItem(world)).toMatchObject({ status: 8 });
        const own = members.find(({ name }) => name.endsWith('.mf')) as Member;
        expect(manifestIn(onlyItem(world))?.sha256).toBe(digest(own.bytes));
      }),
    ));

  test.each([
    ['has none', (members: Member[]) => members.filter(({ name }) => !name.endsWith('.mf'))],
    [
      'has one that leaves a file out',
      ([descriptor, _manifest, ...disks]: Member[]) => {
        const bytes = manifestOf([descriptor, disks[0]] as Member[]);
        return [descriptor, { name: 'box.mf', bytes }, ...disks] as Member[];
      },
    ],
    [
      'has a descriptor whose sizes are corrected',
      ([_descriptor, _manifest, ...disks]: Member[]) => {
        const bytes = descriptorOf(disks.map(({ name }) => ({ href: name, size: 7 })));
        const descriptor = { name: 'box.ovf', bytes };
        const manifest = { name: 'box.mf', bytes: manifestOf([descriptor, ...disks], 'sha1') };
        return [descriptor, manifest, ...disks];
      },
    ],
    [
      'has an empty file',
      (members: Member[]) =>
        members
          .map((m, i) => (i === 3 ? { ...m, bytes: Buffer.alloc(0) } : m))
          .filter(({ name }) => !name.endsWith('.mf')),
    ],
  ] as const)('makes one for a package that %s, while its bytes go through', (_what, change) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const members = change(packageOf([2 * MiB, 100]));
        const source = await writeOva(join(folder, 'box.ova'), members);
        await world.upload(source, { verify: 'server', chunkBytes: 300_000 });
        expect(onlyItem(world)).toMatchObject({ status: 8 });
        const sent = world.simulator.requests.filter(({ method }) => method === 'PUT');
        expect(sent.findLast(({ path }) => path.startsWith('/transfer/'))?.path).toMatch(/\.mf$/);
      }),
    ),
  );

  test('waits for a server that takes its time, also for a package without disks', () =>
    withFolder((folder) =>
      withUploads({ linkDelayMs: 100 }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([]));
        await world.upload(source, { verify: 'server' });
        expect(onlyItem(world)).toMatchObject({ status: 8 });
      }),
    ));

  test('goes on after a death, with what was hashed before it', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const [descriptor, , ...disks] = packageOf([MiB, MiB]) as [Member, Member, Member];
        const source = await writeOva(join(folder, 'box.ova'), [descriptor, ...disks]);
        for (const file of ['box-disk2', '\\.mf']) {
          const dies = new AbortController();
          world.simulator.world.faults.add({ on: { file }, do: { stallAfterBytes: 10 } });
          const run = world.upload(source, { verify: 'server', signal: dies.signal });
          run.catch(() => undefined);
          const stalled = () => world.simulator.world.faults.counts().at(-1)?.hits === 1;
          await until('the stall', stalled);
          dies.abort(new Error('died'));
          await expect(run).rejects.toThrow('died');
        }
        await world.upload(source, { verify: 'server' });
        expect(onlyItem(world)).toMatchObject({ status: 8 });
        expect(world.simulator.world.totals.thrownAway).toBe(0);
      }),
    ));

  test('lets the server refuse what was changed on the way', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(
          join(folder, 'box.ova'),
          packageOf([1000]).filter(({ name }) => !name.endsWith('.mf')),
        );
        // As a proxy that damages bytes: the server has other ones than were sent.
        world.simulator.world.faults.add({ on: { file: 'disk1' }, do: { damage: true } });
        await expect(world.upload(source, { verify: 'server' })).rejects.toMatchObject({
          code: 'IMPORT_REJECTED',
          message: expect.stringContaining('box-disk1.vmdk'),
        });
      }),
    ));
});

describe('--server-pull', () => {
  /** A web server with a package on it. */
  async function withPackage<T>(use: (url: string) => Promise<T>, members = packageOf([MiB])) {
    const server: Server = createServer((request, response) => {
      const name = decodeURIComponent((request.url ?? '').slice('/images/'.length));
      const member = members.find((candidate) => candidate.name === name);
      response.writeHead(member ? 200 : 404).end(member?.bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      return await use(`http://127.0.0.1:${port}/images/box.ovf`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test('lets the server fetch the package, and no byte of it comes from here', () =>
    withPackage((url) =>
      withUploads({ importTimeMs: 50 }, async (world) => {
        const options = { pull: true, name: 'fetched', description: 'ours', metadata: [] } as const;
        const result = await world.upload(url, options);
        expect(onlyItem(world)).toMatchObject({ name: 'fetched', description: 'ours', status: 8 });
        expect(result.catalogItem).toContain('/api/catalogItem/');
        const puts = world.simulator.requests.filter(({ path }) => path.startsWith('/transfer/'));
        expect(puts).toEqual([]);
      }),
    ));

  test('is one item however often its run dies, also where our mark was written over', () =>
    withPackage((url) =>
      withUploads({ importTimeMs: 150 }, async (world) => {
        for (const method of ['createTemplate', 'getEntity', 'addMetadata', 'edit']) {
          const around = (_call: number, when: string, name: string): void => {
            if (when === 'after' && name === method) throw new FerryError('LOCK_LOST', 'died');
          };
          const died = world.upload(url, { pull: true, name: 'fetched', around });
          await expect(died).rejects.toMatchObject({ code: 'LOCK_LOST' });
          world.remembered.current = NO_CHECKPOINT;
        }
        await world.upload(url, { pull: true, name: 'fetched' });
        expect(onlyItem(world)).toMatchObject({ name: 'fetched', status: 8 });
      }),
    ));

  test('that fails says what the server says, and leaves nothing', () =>
    withPackage((url) =>
      withUploads({}, async (world) => {
        const missing = url.replace('box.ovf', 'none.ovf');
        await expect(world.upload(missing, { pull: true })).rejects.toMatchObject({
          code: 'IMPORT_FAILED',
          message: expect.stringContaining('none.ovf'),
        });
        await world.cleanUp();
        expect(world.simulator.items()).toEqual([]);
      }),
    ));
});

test('what an upload needs of requests besides its PUTs: at most twelve, with an import of 10 s', () =>
  withFolder((folder) =>
    withUploads({ importTimeMs: 10_000, storageProfiles: { Gold: 100 * MiB } }, async (world) => {
      const pace = {
        pollFirstMs: 100,
        pollLongestMs: 3_000,
        importFirstMs: 300,
        importLongestMs: 5_000,
      };
      await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([1000, 1000])), {
        pace,
      });
      const others = world.simulator.requests.filter(({ method }) => method !== 'PUT');
      expect(others.length).toBeLessThanOrEqual(12);
    }),
  ));

describe('what servers were seen to show', () => {
  test('files in any order, and transfers at another address', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const { simulator } = world;
        const { port } = new URL(simulator.url);
        Object.assign(simulator.world.options, { transferUrl: `http://localhost:${port}` });
        simulator.world.faults.add({
          on: { method: 'GET', path: '/api/vAppTemplate/' },
          times: 0,
          do: { reverseFiles: true },
        });
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([1000, 10])));
        expect(onlyItem(world)).toMatchObject({ status: 8 });
        const puts = simulator.requests.filter(({ path }) => path.startsWith('/transfer/'));
        // Another host, over a line without protection: it gets the bytes, and no token.
        for (const { headers } of puts) {
          expect(headers['host']).toBe(`localhost:${port}`);
          expect(headers['authorization']).toBeUndefined();
        }
      }),
    ));

  test('a status that lags behind its task is waited for', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        world.simulator.world.faults.add({
          on: { method: 'GET', path: '/api/vAppTemplate/' },
          after: 2,
          times: 3,
          do: { showStatus: 0 },
        });
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([1000])));
        expect(onlyItem(world)).toMatchObject({ status: 8, description: '' });
      }),
    ));

  test('a failed task without its error is a failed import that says so', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const { faults } = world.simulator.world;
        const failure = { majorCode: 500, minorCode: 'X', message: 'hidden' };
        faults.add({ on: { file: 'disk1' }, times: 0, do: { failImport: failure } });
        faults.add({ on: { method: 'GET' }, times: 0, do: { hideError: true } });
        const failed = world.upload(await writeOva(join(folder, 'box.ova'), packageOf([1000])));
        await expect(failed).rejects.toMatchObject({
          code: 'IMPORT_FAILED',
          message: expect.stringContaining('it gave no reason'),
        });
      }),
    ));
});
