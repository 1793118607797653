import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { locateImage, type OpenImage, openImage } from '../../src/ovf/image.ts';
import { readAll } from '../../src/source/byte-source.ts';
import {
  descriptorOf,
  digest,
  type Member,
  manifestOf,
  packageOf,
  writeFolder,
  writeOva,
} from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';

async function opened<T>(
  path: string,
  use: (image: Extract<OpenImage, { kind: 'ovf' }>) => Promise<T>,
  verify: 'full' | 'off' = 'full',
): Promise<T> {
  const image = await openImage(await locateImage(path), { verify });
  try {
    if (image.kind !== 'ovf') throw new Error('not a package');
    return await use(image);
  } finally {
    await image.close();
  }
}

const ova = (members: Member[], use: Parameters<typeof opened>[1]) =>
  withFolder(async (folder) => opened(await writeOva(join(folder, 'box.ova'), members), use));

/** The code and message with which opening these members fails. */
async function refusal(members: Member[]): Promise<{ code: string; message: string }> {
  try {
    await ova(members, async () => undefined);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('it was accepted');
}

const disk: Member = { name: 'disk.vmdk', bytes: randomBytes(3_000) };

describe('a package', () => {
  test('gives the bytes of its files, and their digests', () => {
    const members = packageOf([5_000, 70_000]);
    return ova(members, async (image) => {
      expect(image.descriptor.equals(members[0]?.bytes as Buffer)).toBe(true);
      expect(image.descriptorCorrected).toBe(false);
      expect(image.warnings).toEqual([]);
      for (const [i, file] of image.files.entries()) {
        const { name, bytes } = members[i + 2] as Member;
        expect(file.href).toBe(name);
        expect((await readAll(file.source)).equals(bytes)).toBe(true);
        expect(file.checks).toEqual([
          { algorithm: 'sha256', start: 0, end: bytes.length, expected: digest(bytes), name },
        ]);
      }
    });
  });

  test('is the same as an .ovf with its files beside it, and as a folder', () =>
    withFolder(async (folder) => {
      const members = packageOf([4_000]);
      const path = await writeFolder(folder, members);
      for (const given of [path, folder]) {
        await opened(given, async (image) => {
          const bytes = await readAll(image.files[0]?.source as never);
          expect(bytes.equals(members[2]?.bytes as Buffer)).toBe(true);
          expect(image.files[0]?.checks).toHaveLength(1);
        });
      }
      expect(await locateImage(folder)).toMatchObject({ kind: 'ovf', defaultName: 'box' });
    }));

  test('may have its members in any order, in sub-folders, with ./ and AppleDouble files', () => {
    const [descriptor, manifest, first] = packageOf([2_000]) as [Member, Member, Member];
    const prefixed = [first, manifest, descriptor].map((m) => ({ ...m, name: `./sub/${m.name}` }));
    const junk = { name: './sub/._box.ovf', bytes: Buffer.from('junk') };
    return ova([junk, ...prefixed], async (image) => {
      const bytes = await readAll(image.files[0]?.source as never);
      expect(bytes.equals(first.bytes)).toBe(true);
      expect(image.files[0]?.checks).toHaveLength(1);
    });
  });

  test.each([
    ['spaces', 'my disk.vmdk', 'my disk.vmdk'],
    ['percent-encoded spaces', 'my%20disk.vmdk', 'my disk.vmdk'],
    ['a literal percent sign', 'url%24a%a-1.vmdk', 'url%24a%a-1.vmdk'],
    ['Unicode', 'plätte.vmdk', 'plätte.vmdk'],
    ['another case', 'DISK.VMDK', 'disk.vmdk'],
    ['a bracket', 'disk[1].vmdk', 'disk[1].vmdk'],
  ])('may name its files with %s', (_name, href, member) => {
    const bytes = randomBytes(600);
    const descriptor = { name: 'box.ovf', bytes: descriptorOf([{ href, size: 600 }]) };
    return ova([descriptor, { name: member, bytes }], async (image) => {
      expect((await readAll(image.files[0]?.source as never)).equals(bytes)).toBe(true);
      expect(image.files[0]?.href).toBe(href);
    });
  });

  test.each([
    ['wrong', 17],
    ['missing', undefined],
    ['not a number', 'x'],
  ])('whose size is %s gets the real one', (_name, size) => {
    const descriptor = {
      name: 'box.ovf',
      bytes: descriptorOf([
        size === undefined ? { href: 'disk.vmdk' } : { href: 'disk.vmdk', size },
      ]),
    };
    // The digest is of the original, not of what is sent.
    const manifest = { name: 'box.mf', bytes: manifestOf([descriptor, disk]) };
    return ova([descriptor, manifest, disk], async (image) => {
      expect(image.descriptorCorrected).toBe(true);
      expect(image.descriptor.toString()).toContain('ovf:size="3000"');
      expect(image.warnings).toEqual([expect.stringContaining('corrected')]);
    });
  });

  test('with two Files of one href has one file', () => {
    const twice = [
      { href: 'disk.vmdk', size: 1 },
      { href: 'disk.vmdk', size: 3_000 },
    ];
    return ova([{ name: 'box.ovf', bytes: descriptorOf(twice) }, disk], async (image) => {
      expect(image.files).toHaveLength(1);
      expect(image.descriptor.toString().match(/ovf:size="3000"/g)).toHaveLength(2);
    });
  });

  test('in chunks is one file, with a digest for each part and for the whole', () => {
    const whole = randomBytes(2_500);
    const parts = [0, 1_000, 2_000].map((start, i) => ({
      name: `disk.vmdk.${String(i).padStart(9, '0')}`,
      bytes: whole.subarray(start, start + 1_000),
    }));
    const descriptor = {
      name: 'box.ovf',
      bytes: descriptorOf([{ href: 'disk.vmdk', size: 2_500, extra: ' ovf:chunkSize="1000"' }]),
    };
    const covered = [descriptor, ...parts, { name: 'disk.vmdk', bytes: whole }];
    const manifest = { name: 'box.mf', bytes: manifestOf(covered, 'sha1') };
    return ova([descriptor, manifest, ...parts], async (image) => {
      const [file] = image.files;
      expect(file?.size).toBe(2_500);
      expect((await readAll(file?.source as never)).equals(whole)).toBe(true);
      expect(file?.checks.map(({ start, end }) => [start, end])).toEqual([
        [0, 1_000],
        [1_000, 2_000],
        [2_000, 2_500],
        [0, 2_500],
      ]);
    });
  });

  test('without files, without a manifest, and with a manifest of another name', async () => {
    await ova([{ name: 'box.ovf', bytes: descriptorOf([]) }], async (image) => {
      expect(image.files).toEqual([]);
      expect(image.manifestName).toBeUndefined();
    });
    const [descriptor, manifest, only] = packageOf([10]) as [Member, Member, Member];
    await ova([descriptor, { ...manifest, name: 'other.mf' }, only], async (image) => {
      expect(image.manifestName).toBe('other.mf');
    });
  });

  test('named .ovf though it is an archive is read as what it is', () =>
    withFolder(async (folder) => {
      const path = await writeOva(join(folder, 'box.ovf'), packageOf([100]));
      await opened(path, async (image) => expect(image.files).toHaveLength(1));
    }));

  test('that changes while it is open is noticed', () =>
    withFolder(async (folder) => {
      const path = await writeOva(join(folder, 'box.ova'), packageOf([100]));
      await opened(path, async (image) => {
        await image.assertUnchanged();
        await writeOva(path, packageOf([200]));
        await expect(image.assertUnchanged()).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
      });
    }));
});

describe('a digest vouches for a file by any of its spellings', () => {
  const withManifest = (href: string, member: string, names: [string, string]): Member[] => {
    const descriptor = { name: 'sub/box.ovf', bytes: descriptorOf([{ href, size: 3_000 }]) };
    const lines = [
      { name: names[0], bytes: descriptor.bytes },
      { name: names[1], bytes: disk.bytes },
    ];
    const manifest = { name: 'sub/box.mf', bytes: manifestOf(lines) };
    return [descriptor, manifest, { name: `sub/${member}`, bytes: disk.bytes }];
  };

  test.each([
    ['the folder of the descriptor', 'disk.vmdk', 'disk.vmdk', ['box.ovf', 'disk.vmdk']],
    ['the root of the archive', 'disk.vmdk', 'disk.vmdk', ['sub/box.ovf', 'sub/disk.vmdk']],
    ['another case', 'disk.vmdk', 'disk.vmdk', ['BOX.OVF', 'DISK.VMDK']],
    ['percent signs', 'a b.vmdk', 'a b.vmdk', ['box.ovf', 'a%20b.vmdk']],
    ['no percent signs', 'a%20b.vmdk', 'a b.vmdk', ['box.ovf', 'a b.vmdk']],
    ['decomposed Unicode', 'ü.vmdk', 'ü.vmdk', ['box.ovf', 'u\u0308.vmdk']],
    ['quotes', 'disk.vmdk', 'disk.vmdk', ['box.ovf', '"disk.vmdk"']],
  ] as [string, string, string, [string, string]][])('%s', (_name, href, member, names) =>
    ova(withManifest(href, member, names), async (image) => {
      expect(image.files[0]?.checks).toHaveLength(1);
      expect(image.warnings).toEqual([]);
    }),
  );

  test('and what nothing vouches for, or vouches for nothing, is told', () => {
    const [descriptor, , file] = withManifest('disk.vmdk', 'disk.vmdk', ['', '']) as [
      Member,
      Member,
      Member,
    ];
    const other = {
      name: 'sub/box.mf',
      bytes: manifestOf([{ name: 'other.vmdk', bytes: disk.bytes }]),
    };
    const stray = { name: 'stray.mf', bytes: other.bytes };
    return ova([descriptor, other, stray, file], async (image) => {
      expect(image.warnings).toEqual([
        expect.stringMatching(/stray\.mf .* was not used/),
        expect.stringMatching(/sub\/box\.ovf is not in the manifest/),
        expect.stringMatching(/disk\.vmdk is not in the manifest/),
        expect.stringMatching(/other\.vmdk, which the descriptor does not name/),
      ]);
    });
  });
});

describe('a package is refused, by the name of what is wrong', () => {
  const naming = (href: string, extra = ''): Member => ({
    name: 'box.ovf',
    bytes: descriptorOf([{ href, size: 3_000, extra }]),
  });

  test.each([
    ['a missing file', [naming('gone.vmdk')], 'PACKAGE_INCOMPLETE', /gone\.vmdk/],
    ['a way out', [naming('../../etc/passwd'), disk], 'PACKAGE_UNSAFE', /\.\.\/\.\.\/etc\/passwd/],
    ['an encoded way out', [naming('%2e%2e/x'), disk], 'PACKAGE_UNSAFE', /%2e%2e/],
    ['an absolute path', [naming('/etc/passwd'), disk], 'PACKAGE_UNSAFE', /absolute/],
    ['a drive', [naming('C:\\x.vmdk'), disk], 'PACKAGE_UNSAFE', /absolute/],
    ['a UNC path', [naming('\\\\host\\x'), disk], 'PACKAGE_UNSAFE', /absolute/],
    ['a URL', [naming('http://host/x.vmdk'), disk], 'PACKAGE_UNSAFE', /URL/],
    [
      'gzip',
      [naming('disk.vmdk', ' ovf:compression="gzip"'), disk],
      'PACKAGE_UNSUPPORTED',
      /disk\.vmdk.*gzip/,
    ],
    ['no descriptor', [disk], 'PACKAGE_CORRUPT', /holds no \.ovf/],
    [
      'two descriptors',
      [naming('disk.vmdk'), { ...naming('disk.vmdk'), name: 'b.ovf' }, disk],
      'PACKAGE_AMBIGUOUS',
      /box\.ovf, b\.ovf/,
    ],
    ['a file that is there twice', [naming('disk.vmdk'), disk, disk], 'PACKAGE_AMBIGUOUS', /twice/],
    [
      'an HTML descriptor',
      [{ name: 'box.ovf', bytes: Buffer.from('<html><body>Login</body></html>') }],
      'DESCRIPTOR_INVALID',
      /HTML page/,
    ],
    [
      'a part that is missing',
      [
        naming('disk.vmdk', ' ovf:chunkSize="1000"'),
        { name: 'disk.vmdk.000000000', bytes: randomBytes(1_000) },
        { name: 'disk.vmdk.000000002', bytes: randomBytes(1_000) },
      ],
      'PACKAGE_INCOMPLETE',
      /disk\.vmdk\.000000001/,
    ],
    [
      'a part that is missing, though no size says so',
      [
        {
          name: 'box.ovf',
          bytes: descriptorOf([{ href: 'disk.vmdk', extra: ' ovf:chunkSize="1000"' }]),
        },
        { name: 'disk.vmdk.000000000', bytes: randomBytes(1_000) },
        { name: 'disk.vmdk.000000002', bytes: randomBytes(400) },
      ],
      'PACKAGE_INCOMPLETE',
      /disk\.vmdk\.000000001/,
    ],
    [
      'a member above the package',
      [naming('disk.vmdk'), disk, { name: '../x', bytes: disk.bytes }],
      'PACKAGE_UNSAFE',
      /\.\.\/x/,
    ],
    [
      'a member at the root of the machine',
      [naming('disk.vmdk'), disk, { name: '/etc/x', bytes: disk.bytes }],
      'PACKAGE_UNSAFE',
      /\/etc\/x/,
    ],
    [
      'an HTML page with a document type',
      [{ name: 'box.ovf', bytes: Buffer.from('<!DOCTYPE html><html></html>') }],
      'DESCRIPTOR_INVALID',
      /HTML page/,
    ],
    [
      'a descriptor that is not what its digest says',
      [
        naming('disk.vmdk'),
        { name: 'box.mf', bytes: manifestOf([{ name: 'box.ovf', bytes: disk.bytes }]) },
        disk,
      ],
      'DIGEST_MISMATCH',
      /box\.ovf/,
    ],
  ] as [string, Member[], string, RegExp][])('%s', async (_name, members, code, message) => {
    expect(await refusal(members)).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test.each([
    ['empty', Buffer.alloc(0), /is empty/],
    ['text', Buffer.from('hello '.repeat(200)), /not an OVA/],
    ['a gzip', gzipSync(randomBytes(2_000)), /compressed with gzip/],
    ['a zip', Buffer.concat([Buffer.from('PK\x03\x04'), randomBytes(600)]), /zip archive/],
  ])('an .ova that is %s', (_name, bytes, message) =>
    withFolder(async (folder) => {
      const path = join(folder, 'box.ova');
      await writeFile(path, bytes);
      await expect(opened(path, async () => undefined)).rejects.toMatchObject({
        code: 'PACKAGE_CORRUPT',
        message: expect.stringMatching(message),
      });
    }),
  );

  test('a link out of its folder', () =>
    withFolder(async (folder) => {
      const path = await writeFolder(folder, [naming('disk.vmdk')]);
      await symlink('/etc/hostname', join(folder, 'disk.vmdk'));
      await expect(opened(path, async () => undefined)).rejects.toMatchObject({
        code: 'PACKAGE_UNSAFE',
      });
    }));

  test('a named pipe, without waiting for its writer', () =>
    withFolder(async (folder) => {
      execFileSync('mkfifo', [join(folder, 'box.ova')]);
      await expect(opened(join(folder, 'box.ova'), async () => undefined)).rejects.toMatchObject({
        code: 'SOURCE_UNREADABLE',
      });
    }));

  test('a folder with two packages, or with none', () =>
    withFolder(async (folder) => {
      await expect(locateImage(folder)).rejects.toMatchObject({ code: 'PACKAGE_INCOMPLETE' });
      await writeFile(join(folder, 'a.ovf'), '');
      await writeFile(join(folder, 'b.ova'), '');
      await expect(locateImage(folder)).rejects.toMatchObject({
        code: 'PACKAGE_AMBIGUOUS',
        message: expect.stringContaining('a.ovf, b.ova'),
      });
    }));
});

describe('what vCD would pass over or change is said beforehand', () => {
  const withText = (from: string, to: string, namespace?: string): Member[] => [
    {
      name: 'box.ovf',
      bytes: Buffer.from(descriptorOf([], namespace).toString().replace(from, to)),
    },
  ];

  test.each([
    [
      'deployment options',
      withText('<DiskSection>', '<DeploymentOptionSection/><DiskSection>'),
      /deployment options/,
    ],
    [
      'extra configuration',
      withText('</VirtualSystem>', '<v:ExtraConfig xmlns:v="urn:v"/></VirtualSystem>'),
      /extra configuration/,
    ],
    [
      'a long name of a machine',
      withText('ovf:id="vm"', 'ovf:id="a-name-of-many-characters"'),
      /shorten the VM name a-name-of-many-characters/,
    ],
    ['OVF 2', withText('', '', 'http://schemas.dmtf.org/ovf/envelope/2'), /is OVF 2\.x/],
  ])('%s', (_what, members, message) =>
    ova(members, async ({ warnings }) => {
      expect(warnings).toEqual([expect.stringMatching(message)]);
    }),
  );

  test('more than 12 MB of descriptor are refused', async () => {
    const bytes = Buffer.alloc(12 * 1024 * 1024 + 1, ' ');
    const { code } = await refusal([{ name: 'box.ovf', bytes }]);
    expect(code).toBe('PACKAGE_UNSUPPORTED');
  });

  test('more than 1 MB of manifest are refused', async () => {
    const bytes = Buffer.alloc(1024 * 1024 + 1, '\n');
    const members = [
      { name: 'box.ovf', bytes: descriptorOf([]) },
      { name: 'box.mf', bytes },
    ];
    expect((await refusal(members)).code).toBe('PACKAGE_UNSUPPORTED');
  });
});
