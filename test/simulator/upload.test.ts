import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  descriptorOf,
  digest,
  isoOf,
  type Member,
  manifestOf,
  packageOf,
  writeFolder,
  writeOva,
} from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadWorld, withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

/** The server's files by name, with their digests, of its only item. */
function serverFiles({ simulator }: UploadWorld): Map<string, string> {
  const items = simulator.items();
  expect(items).toHaveLength(1);
  return new Map(items[0]?.files.map(({ name, sha256 }) => [name, sha256]));
}

describe('an OVA', () => {
  test("arrives whole, once, and ready, with the package's own descriptor", () =>
    withFolder((folder) =>
      withUploads({ linkDelayMs: 20, importTimeMs: 30 }, async (world) => {
        const members = packageOf([3 * MiB + 17, 100]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        const result = await world.upload(source, { description: 'A & B', chunkBytes: MiB });
        const files = serverFiles(world);
        expect(files.get('descriptor.ovf')).toBe(digest(members[0]?.bytes as Buffer));
        for (const { name, bytes } of members.slice(2)) expect(files.get(name)).toBe(digest(bytes));
        expect(world.simulator.items()[0]).toMatchObject({
          name: 'box',
          status: 8,
          description: 'A & B',
          catalog: 'appliances',
        });
        expect(result.warnings).toEqual([]);
        expect(world.remembered.current.item?.entityHref).toBe(result.entity);
        expect(world.retried).toEqual([]);
      }),
    ));

  test('is sent strictly in order, each byte once', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10 * 1000]));
        await world.upload(source, { chunkBytes: 1000 });
        const disk = world.simulator.items()[0]?.files[1];
        expect(disk?.ranges).toHaveLength(10);
        for (const [i, range] of (disk?.ranges ?? []).entries()) {
          expect(range).toEqual({
            start: i * 1000,
            end: (i + 1) * 1000,
            arrived: 1000,
            stored: 1000,
            request: 'test-1',
          });
        }
      }),
    ));

  test('needs at most twelve requests besides its PUTs', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([1000, 2000])));
        const others = world.simulator.requests.filter(
          ({ path }) => !path.startsWith('/transfer/'),
        );
        expect(others.length).toBeLessThanOrEqual(12);
      }),
    ));

  test('without files becomes ready without one', () =>
    withFolder((folder) =>
      withUploads({ linkDelayMs: 20 }, async (world) => {
        const members = [{ name: 'box.ovf', bytes: descriptorOf([]) }];
        await world.upload(await writeOva(join(folder, 'box.ova'), members));
        expect(world.simulator.items()[0]).toMatchObject({ status: 8 });
      }),
    ));

  test('with an empty file becomes ready', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([0, 10])));
        expect(world.simulator.items()[0]).toMatchObject({ status: 8 });
      }),
    ));

  test.each([
    ['one byte', 1],
    ['a multiple of the chunk', 3 * 1000],
    ['one more', 3 * 1000 + 1],
    ['one less', 3 * 1000 - 1],
  ])('with a file of %s arrives whole', (_name, size) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const members = packageOf([size]);
        await world.upload(await writeOva(join(folder, 'box.ova'), members), { chunkBytes: 1000 });
        expect(serverFiles(world).get('box-disk1.vmdk')).toBe(digest(members[2]?.bytes as Buffer));
      }),
    ),
  );

  test.each([
    ['spaces', 'my disk.vmdk'],
    ['percent signs', 'my%20disk.vmdk'],
    ['Unicode', 'plätte ☃.vmdk'],
  ])('with %s in a name arrives whole', (_name, href) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const bytes = randomBytes(5000);
        const members: Member[] = [
          { name: 'box.ovf', bytes: descriptorOf([{ href, size: 5000 }]) },
          { name: href, bytes },
        ];
        await world.upload(await writeOva(join(folder, 'box.ova'), members));
        expect(serverFiles(world).get(href)).toBe(digest(bytes));
      }),
    ),
  );

  test('whose descriptor gives a wrong size is sent with the real one', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const disk = { name: 'd.vmdk', bytes: randomBytes(5000) };
        const descriptor = { name: 'b.ovf', bytes: descriptorOf([{ href: 'd.vmdk', size: 4000 }]) };
        const manifest = { name: 'b.mf', bytes: manifestOf([descriptor, disk], 'sha512') };
        const source = await writeOva(join(folder, 'b.ova'), [descriptor, manifest, disk]);
        await world.upload(source);
        expect(serverFiles(world).get('d.vmdk')).toBe(digest(disk.bytes));
      }),
    ));

  test('in chunks becomes one file', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const whole = randomBytes(2500);
        const parts = [0, 1, 2].map((i) => ({
          name: `d.vmdk.00000000${i}`,
          bytes: whole.subarray(i * 1000, (i + 1) * 1000),
        }));
        const files = [{ href: 'd.vmdk', size: 2500, extra: ' ovf:chunkSize="1000"' }];
        const descriptor = { name: 'b.ovf', bytes: descriptorOf(files) };
        await world.upload(await writeOva(join(folder, 'b.ova'), [descriptor, ...parts]));
        expect(serverFiles(world).get('d.vmdk')).toBe(digest(whole));
      }),
    ));

  test('may have its files sent side by side', () =>
    withFolder((folder) =>
      withUploads({ rateBytesPerSecond: 4_000_000 }, async (world) => {
        const members = packageOf([200_000, 200_000, 200_000]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        await world.upload(source, { filesInParallel: 3, chunkBytes: 50_000 });
        const files = serverFiles(world);
        for (const { name, bytes } of members.slice(2)) expect(files.get(name)).toBe(digest(bytes));
        const order = world.simulator.requests
          .filter(({ path }) => /disk\d/.test(path))
          .map(({ path }) => /disk(\d)/.exec(path)?.[1])
          .join('');
        expect(order).not.toBe('111122223333');
      }),
    ));
});

describe('other images', () => {
  test('an .ovf with its files beside it', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const members = packageOf([4000]);
        await world.upload(await writeFolder(folder, members));
        expect(serverFiles(world).get('box-disk1.vmdk')).toBe(digest(members[2]?.bytes as Buffer));
      }),
    ));

  test('an .iso becomes media', () =>
    withFolder((folder) =>
      withUploads({ importTimeMs: 20 }, async (world) => {
        const bytes = isoOf();
        await writeFile(join(folder, 'tools.iso'), bytes);
        await world.upload(join(folder, 'tools.iso'), { chunkBytes: 4096, description: 'Tools' });
        expect(serverFiles(world).get('file')).toBe(digest(bytes));
        expect(world.simulator.items()[0]).toMatchObject({
          name: 'tools',
          kind: 'media',
          status: 1,
          description: 'Tools',
        });
      }),
    ));

  test('any other file, when it is called media', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const bytes = randomBytes(3000);
        await writeFile(join(folder, 'firmware.bin'), bytes);
        await world.upload(join(folder, 'firmware.bin'), { media: true });
        expect(serverFiles(world).get('file')).toBe(digest(bytes));
      }),
    ));
});

describe('the digests of a manifest', () => {
  const broken = (): Member[] => {
    const members = packageOf([50_000]);
    const disk = members[2] as Member;
    const wrong = Buffer.from(disk.bytes);
    wrong[49_999] = (wrong[49_999] as number) ^ 1;
    return [members[0] as Member, members[1] as Member, { ...disk, bytes: wrong }];
  };

  test('are checked before the last byte: a wrong file never completes, and nothing is left', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), broken());
        await expect(world.upload(source, { chunkBytes: 10_000 })).rejects.toMatchObject({
          code: 'DIGEST_MISMATCH',
          facts: { member: 'box-disk1.vmdk' },
        });
        const disk = world.simulator.items()[0]?.files[1];
        expect(disk?.received).toBeLessThan(50_000);
        await world.cleanUp();
        expect(world.simulator.items()).toEqual([]);
      }),
    ));

  test('are not looked at with verify off', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), broken()), { verify: 'off' });
        expect(world.simulator.items()[0]).toMatchObject({ status: 8 });
      }),
    ));
});

describe('what the server refuses', () => {
  test('a name that is taken, by template or media', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        await writeFile(join(folder, 'box.iso'), isoOf());
        await world.upload(join(folder, 'box.iso'));
        world.remembered.current = { ...world.remembered.current, item: null, creating: false };
        const other = world.upload(source, { jobId: 'lab-2' });
        await expect(other).rejects.toMatchObject({ code: 'NAME_TAKEN' });
        expect(world.simulator.items()).toHaveLength(1);
      }),
    ));

  test('a catalog that is not there, or that may not be added to', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        await expect(world.upload(source, { catalog: 'none' })).rejects.toMatchObject({
          code: 'CATALOG_NOT_FOUND',
          message: expect.stringContaining('none'),
        });
        await expect(world.upload(source, { catalog: 'published' })).rejects.toMatchObject({
          code: 'CATALOG_FORBIDDEN',
        });
        expect(world.simulator.items()).toEqual([]);
      }),
    ));

  test("a descriptor: vCD's own words come back, and the leftover goes", () =>
    withFolder((folder) =>
      withUploads({ linkDelayMs: 10 }, async (world) => {
        const text = descriptorOf([]).toString().replaceAll('envelope/1', 'envelope/2');
        const members = [{ name: 'box.ovf', bytes: Buffer.from(text) }];
        const source = await writeOva(join(folder, 'box.ova'), members);
        await expect(world.upload(source)).rejects.toMatchObject({
          code: 'IMPORT_REJECTED',
          message: expect.stringMatching(/OVF version/),
        });
        await world.cleanUp();
        expect(world.simulator.items()).toEqual([]);
      }),
    ));
});

test('a ready item is never removed by cleaning up', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([10])));
      expect(await world.cleanUp()).toMatchObject({ entity: { status: 8 } });
      expect(world.simulator.items()).toHaveLength(1);
    }),
  ));
