import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FerryError } from '../../src/errors.ts';
import { indexArchive, memberSource } from '../../src/ovf/archive.ts';
import { type ByteSource, readAll } from '../../src/source/byte-source.ts';
import { LocalFile } from '../../src/source/local-file.ts';
import { writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';

/** Calls the system's own tar: an archive made by somebody else. */
function tar(folder: string, ...args: string[]): void {
  const { status, stderr } = spawnSync('tar', args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

async function indexed<T>(path: string, use: (file: LocalFile) => Promise<T>): Promise<T> {
  const file = await LocalFile.open(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

const index = (path: string) => indexed(path, indexArchive);

describe('an archive made by GNU tar', () => {
  test.each(['ustar', 'gnu', 'posix'])('in the format %s is read right', (format) =>
    withFolder(async (folder) => {
      const long = `${'n'.repeat(90)}.vmdk`;
      const contents = new Map([
        ['box.ovf', randomBytes(1_000)],
        [long, randomBytes(5_000)],
        ['disk (1) ü.vmdk', randomBytes(512)],
      ]);
      for (const [name, bytes] of contents) await writeFile(join(folder, name), bytes);
      tar(
        folder,
        'cf',
        'x.ova',
        `--format=${format}`,
        ...[...contents.keys()].map((n) => `./${n}`),
      );
      await indexed(join(folder, 'x.ova'), async (file) => {
        const { members, ended } = await indexArchive(file);
        expect(ended).toBe(true);
        expect(members.map(({ name }) => name)).toEqual([...contents.keys()]);
        for (const member of members) {
          const bytes = await readAll(memberSource(file, member));
          expect(bytes.equals(contents.get(member.name) as Buffer)).toBe(true);
        }
      });
    }),
  );

  test('of any members in any format is read as tar wrote it', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('ustar', 'gnu', 'posix'),
        fc.uniqueArray(
          fc.record({
            name: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,60}$/),
            size: fc.integer({ min: 0, max: 3_000 }),
          }),
          { minLength: 1, maxLength: 6, selector: ({ name }) => name },
        ),
        (format, members) =>
          withFolder(async (folder) => {
            for (const { name, size } of members)
              await writeFile(join(folder, name), randomBytes(size));
            const names = members.map(({ name }) => name);
            tar(folder, 'cf', 'x.ova', `--format=${format}`, '--', ...names);
            const found = await index(join(folder, 'x.ova'));
            expect(found.members.map(({ name, size }) => ({ name, size }))).toEqual(members);
          }),
      ),
      { numRuns: 25 },
    ));

  test.each(['gnu', 'posix'])('with a member of 9 GiB in the format %s', (format) =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'a.ovf'), 'x');
      await writeFile(join(folder, 'big.vmdk'), '');
      await truncate(join(folder, 'big.vmdk'), 9 * 2 ** 30);
      // Only the headers: the body of a real archive would not fit on this disk.
      tar(folder, 'cf', 'head.tar', `--format=${format}`, 'a.ovf');
      const script = `tar cf - --format=${format} a.ovf big.vmdk | head -c 8192 > x.ova`;
      spawnSync('sh', ['-c', script], { cwd: folder });
      await truncate(join(folder, 'x.ova'), 9 * 2 ** 30 + 20 * 512);
      const { members } = await index(join(folder, 'x.ova'));
      expect(members.at(-1)).toMatchObject({ name: 'big.vmdk', size: 9 * 2 ** 30 });
    }),
  );

  test.each(['gnu', 'posix'])('sparse in the format %s is refused by name', (format) =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'hole.vmdk'), '');
      await truncate(join(folder, 'hole.vmdk'), 10_000_000);
      tar(folder, 'cSf', 'x.ova', `--format=${format}`, 'hole.vmdk');
      await expect(index(join(folder, 'x.ova'))).rejects.toMatchObject({
        code: 'PACKAGE_UNSUPPORTED',
        message: expect.stringContaining('hole.vmdk'),
      });
    }),
  );

  test('with links is refused by name', () =>
    withFolder(async (folder) => {
      spawnSync('ln', ['-s', '/etc/passwd', join(folder, 'disk.vmdk')]);
      tar(folder, 'cf', 'x.ova', 'disk.vmdk');
      await expect(index(join(folder, 'x.ova'))).rejects.toMatchObject({
        code: 'PACKAGE_UNSAFE',
        message: expect.stringContaining('disk.vmdk'),
      });
    }));
});

describe('an archive', () => {
  test('of any members is read as it was written', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            name: fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9 ._-]{0,120}$/),
            bytes: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        (members) =>
          withFolder(async (folder) => {
            const path = await writeOva(join(folder, 'x.ova'), members);
            const found = await index(path);
            expect(found.members.map(({ name, size }) => ({ name, size }))).toEqual(
              members.map(({ name, bytes }) => ({ name, size: bytes.length })),
            );
          }),
      ),
      { numRuns: 40 },
    ));

  test('ends at its end mark, whatever follows', () =>
    withFolder(async (folder) => {
      const path = await writeOva(join(folder, 'x.ova'), [{ name: 'a', bytes: Buffer.from('1') }]);
      const file = await open(path, 'a');
      await file.write(randomBytes(3_000));
      await file.close();
      const { members, ended } = await index(path);
      expect(members).toHaveLength(1);
      expect(ended).toBe(true);
    }));

  test('that is cut in a body is refused by name, one that lacks its end mark is told', () =>
    withFolder(async (folder) => {
      const members = [
        { name: 'a', bytes: randomBytes(512) },
        { name: 'b', bytes: randomBytes(2_000) },
      ];
      const path = await writeOva(join(folder, 'x.ova'), members);
      await truncate(path, 512 * 3 + 700);
      await expect(index(path)).rejects.toMatchObject({
        code: 'PACKAGE_CORRUPT',
        message: expect.stringMatching(/b is cut short: 2000 bytes should follow, 700 do/),
      });
      await truncate(path, 512 * 2);
      expect(await index(path)).toMatchObject({ ended: false, members: [{ name: 'a' }] });
      await truncate(path, 512 * 2 + 100);
      expect(await index(path)).toMatchObject({ ended: false });
    }));

  test('that is no archive is refused', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'x.ova');
      await writeFile(path, 'text '.repeat(1_000));
      await expect(index(path)).rejects.toMatchObject({ code: 'PACKAGE_CORRUPT' });
    }));

  test('of random bytes never hangs and never crashes', () =>
    fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4_000 }),
        fc.array(fc.tuple(fc.nat(4_000), fc.nat(255)), { maxLength: 20 }),
        async (noise, flips) => {
          const bytes = Buffer.from(await validArchive());
          for (const [at, value] of flips) bytes[at % bytes.length] = value;
          const source = memory(Buffer.concat([bytes.subarray(0, bytes.length - 1024), noise]));
          await indexArchive(source).catch((error: unknown) => {
            expect(error).toBeInstanceOf(FerryError);
          });
        },
      ),
      { numRuns: 500 },
    ));

  test('of 20 GB costs some reads of headers, and no time', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'x.ova');
      const script = 'tar cf - a.ovf big.vmdk | head -c 4096 > x.ova';
      await writeFile(join(folder, 'a.ovf'), 'x');
      await writeFile(join(folder, 'big.vmdk'), '');
      await truncate(join(folder, 'big.vmdk'), 20e9);
      spawnSync('sh', ['-c', script], { cwd: folder });
      await truncate(path, 20e9 + 10 * 512 + (512 - (20e9 % 512)));
      let read = 0;
      await indexed(path, async (file) => {
        const counting: ByteSource = {
          name: file.name,
          size: file.size,
          read(target, position) {
            read += target.length;
            return file.read(target, position);
          },
        };
        const { members } = await indexArchive(counting);
        expect(members.at(-1)?.size).toBe(20e9);
      });
      expect(read).toBeLessThanOrEqual(64 * 1024);
    }));
});

let valid: Promise<Buffer> | undefined;

function validArchive(): Promise<Buffer> {
  valid ??= withFolder(async (folder) => {
    const members = [
      { name: 'a.ovf', bytes: Buffer.from('<x/>') },
      { name: 'b'.repeat(150), bytes: randomBytes(700) },
    ];
    const path = await writeOva(join(folder, 'x.ova'), members);
    return indexed(path, readAll);
  });
  return valid;
}

function memory(bytes: Buffer): ByteSource {
  return {
    name: 'memory',
    size: bytes.length,
    async read(target, position) {
      bytes.copy(target, 0, position, position + target.length);
    },
  };
}
