import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { partName } from '../../src/ovf/digest-lines.ts';
import { locateImage, type OpenImage, openImage } from '../../src/ovf/image.ts';
import { readAll } from '../../src/source/byte-source.ts';
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

  test.each(['box', 'box.tar'])('is taken by what it is when it is called %s', (name) =>
    withFolder(async (folder) => {
      const path = await writeOva(join(folder, name), packageOf([100]));
      await opened(path, async (image) => expect(image.files).toHaveLength(1));
    }),
  );

  test('that changes while it is open is noticed', () =>
    withFolder(async (folder) => {
      const path = await writeOva(join(folder, 'box.ova'), packageOf([100]));
      await utimes(path, 1_000, 1_000); // times of files are no finer than a tick of the clock
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
    const other = { name: 'other.vmdk', bytes: disk.bytes };
    const manifest = { name: 'sub/box.mf', bytes: manifestOf([other, descriptor]) };
    const stray = { name: 'stray.mf', bytes: manifest.bytes };
    return ova([descriptor, manifest, stray, file], async (image) => {
      expect(image.warnings).toEqual([
        expect.stringMatching(/stray\.mf .* was not used/),
        expect.stringMatching(/disk\.vmdk is not in the manifest/),
        expect.stringMatching(/other\.vmdk, which the descriptor does not name/),
      ]);
    });
  });

  test('or by its last name alone, where tools wrote another path before it', async () => {
    const elsewhere: [string, string] = ['output/box.ovf', 'output\\disk.vmdk'];
    const members = withManifest('disk.vmdk', 'disk.vmdk', elsewhere);
    await ova(members, async (image) => {
      expect(image.files[0]?.checks).toHaveLength(1);
      expect(image.warnings).toEqual([]);
    });
    const [descriptor, , file] = members as [Member, Member, Member];
    const corrupt = { name: 'output/box.ovf', bytes: disk.bytes };
    const manifest = { name: 'sub/box.mf', bytes: manifestOf([corrupt]) };
    expect(await refusal([descriptor, manifest, file])).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('of chunks as well', () => {
    const parts = [0, 1].map((i) => ({ name: partName('disk.vmdk', i), bytes: randomBytes(100) }));
    const extra = ' ovf:chunkSize="100"';
    const descriptor = { name: 'box.ovf', bytes: descriptorOf([{ href: 'disk.vmdk', extra }]) };
    const lines = parts.map(({ name, bytes }) => ({ name: `out/${name}`, bytes }));
    const manifest = { name: 'box.mf', bytes: manifestOf([descriptor, ...lines]) };
    return ova([descriptor, manifest, ...parts], async (image) => {
      expect(image.files[0]?.checks).toHaveLength(2);
      expect(image.warnings).toEqual([expect.stringMatching(/descriptor says nothing; corrected/)]);
    });
  });

  test('unless it can not be told which line, or which file, is meant', async () => {
    const files = ['a/disk.vmdk', 'b/disk.vmdk'].map((name) => ({ ...disk, name }));
    const descriptor = {
      name: 'box.ovf',
      bytes: descriptorOf(files.map(({ name }) => ({ href: name, size: 3_000 }))),
    };
    const manifest = (...names: string[]): Member => ({
      name: 'box.mf',
      bytes: manifestOf([descriptor, ...names.map((name) => ({ ...disk, name }))]),
    });
    const refused = { code: 'MANIFEST_INVALID', message: expect.stringMatching(/c\/disk\.vmdk/) };
    expect(await refusal([descriptor, manifest('c/disk.vmdk'), ...files])).toMatchObject(refused);
    const two = manifest('a/disk.vmdk', 'c/disk.vmdk', 'd/disk.vmdk');
    expect(await refusal([descriptor, two, ...files])).toMatchObject(refused);
    // A line that has its own file speaks of no other.
    await ova([descriptor, manifest('a/disk.vmdk'), ...files], async (image) => {
      expect(image.files.map(({ checks }) => checks.length)).toEqual([1, 0]);
    });
  });

  test('and a manifest of other files altogether is refused', async () => {
    const [descriptor, , file] = withManifest('disk.vmdk', 'disk.vmdk', ['', '']) as [
      Member,
      Member,
      Member,
    ];
    const other = manifestOf([{ name: 'other.vmdk', bytes: disk.bytes }]);
    const members = [descriptor, { name: 'sub/box.mf', bytes: other }, file];
    expect(await refusal(members)).toMatchObject({
      code: 'MANIFEST_INVALID',
      message: expect.stringMatching(/sub\/box\.mf has digests of other files/),
    });
  });
});

describe('a package in a folder', () => {
  const inFolder = (members: Member[], use: Parameters<typeof opened>[1]) =>
    withFolder(async (folder) => opened(await writeFolder(folder, members), use));
  const parts = [0, 1, 2].map((i) => ({
    name: partName('sub/disk.vmdk', i),
    bytes: randomBytes(i === 2 ? 7 : 100),
  }));
  const chunked = (href: string): Member => ({
    name: 'box.ovf',
    bytes: descriptorOf([{ href, extra: ' ovf:chunkSize="100"' }]),
  });

  test('has its parts in a folder below as well', () =>
    inFolder([chunked('sub/disk.vmdk'), ...parts], async (image) => {
      const [file] = image.files;
      const whole = Buffer.concat(parts.map(({ bytes }) => bytes));
      expect((await readAll(file?.source as never)).equals(whole)).toBe(true);
    }));

  test('and one of them missing is noticed there', () => {
    const [first, , last] = parts as [Member, Member, Member];
    const reading = inFolder([chunked('sub/disk.vmdk'), first, last], async () => undefined);
    return expect(reading).rejects.toMatchObject({
      code: 'PACKAGE_INCOMPLETE',
      message: expect.stringMatching(/sub\/disk\.vmdk\.000000001 is missing/),
    });
  });

  test.each([
    ['percent signs that are meant', 'a%20b/d%20e.vmdk', 'a%20b/d%20e.vmdk'],
    ['percent signs that are not', 'a%20b/d%20e.vmdk', 'a b/d e.vmdk'],
    ['one of each', 'a%20b/d%20e.vmdk', 'a%20b/d e.vmdk'],
    ['another case', 'Sub/Deep/D.vmdk', 'sub/deep/d.VMDK'],
    ['a dot before it', './sub/d.vmdk', 'sub/d.vmdk'],
  ])('finds what is below by a name with %s', (_name, href, member) => {
    const descriptor = { name: 'box.ovf', bytes: descriptorOf([{ href, size: 3_000 }]) };
    return inFolder([descriptor, { ...disk, name: member }], async (image) => {
      const [file] = image.files;
      expect((await readAll(file?.source as never)).equals(disk.bytes)).toBe(true);
    });
  });

  test('says what is wrong with a file that is there and can not be read', () =>
    withFolder(async (folder) => {
      const descriptor = {
        name: 'box.ovf',
        bytes: descriptorOf([{ href: 'a/d.vmdk' }, { href: 'loop/d.vmdk' }]),
      };
      const path = await writeFolder(folder, [descriptor, { ...disk, name: 'a/d.vmdk' }]);
      await symlink('loop', join(folder, 'loop'));
      await expect(opened(path, async () => undefined)).rejects.toMatchObject({
        code: 'SOURCE_UNREADABLE',
        message: expect.stringMatching(/loop can't be read \(ELOOP\)/),
      });
    }));
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
      'a last part that is missing, though only the manifest says so',
      [
        {
          name: 'box.ovf',
          bytes: descriptorOf([{ href: 'disk.vmdk', extra: ' ovf:chunkSize="1000"' }]),
        },
        {
          name: 'box.mf',
          bytes: manifestOf([{ name: 'disk.vmdk.000000001', bytes: randomBytes(1_000) }]),
        },
        { name: 'disk.vmdk.000000000', bytes: randomBytes(1_000) },
      ],
      'PACKAGE_INCOMPLETE',
      /disk\.vmdk\.000000001 is missing .* names 2 parts/,
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

  test.each([
    ['a web page', Buffer.alloc(50_000, '<!doctype html><html>')],
    ['nothing', Buffer.alloc(0)],
    ['an ISO that was cut short', isoOf().subarray(0, 16 * 2048 + 3)],
  ])('an .iso that is %s, unless any file is to be taken', (_what, bytes) =>
    withFolder(async (folder) => {
      const path = join(folder, 'page.ISO');
      await writeFile(path, bytes);
      await expect(locateImage(path)).rejects.toMatchObject({
        code: 'PACKAGE_UNSUPPORTED',
        message: expect.stringContaining('page.ISO is no ISO'),
        hint: expect.stringContaining('--media'),
      });
      expect(await locateImage(path, true)).toMatchObject({ kind: 'media' });
    }),
  );

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
