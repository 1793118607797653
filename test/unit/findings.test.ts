import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type Findings, findingsOf } from '../../src/ovf/findings.ts';
import { locateImage, openImage } from '../../src/ovf/image.ts';
import { descriptorOf, HARDWARE, type Member, manifestOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';

const SECTOR = 512;

interface VmdkOptions {
  readonly compressed?: boolean;
  readonly directory?: bigint;
  readonly footer?: boolean;
  readonly redundant?: boolean;
  readonly sectors?: number;
}

/** The head and the end of a stream-optimized disk, with nothing between them. */
function vmdk({
  compressed = true,
  directory = 0xffff_ffff_ffff_ffffn,
  footer = true,
  redundant = false,
  sectors = 2048,
}: VmdkOptions = {}): Buffer {
  const head = Buffer.alloc(SECTOR);
  head.write('KDMV', 0, 'latin1');
  head.writeUInt32LE(3, 4);
  head.writeUInt32LE((compressed ? 0x3_0001 : 1) + (redundant ? 2 : 0), 8);
  head.writeBigUInt64LE(BigInt(sectors), 12);
  head.writeBigUInt64LE(directory, 56);
  const end = Buffer.alloc(SECTOR);
  return Buffer.concat([head, Buffer.alloc(4 * SECTOR), ...(footer ? [head] : []), end]);
}

const FILE = { name: 'd.vmdk', bytes: vmdk() };
const described = (extra = ''): Member => ({
  name: 'box.ovf',
  bytes: Buffer.from(
    descriptorOf([{ href: 'd.vmdk', size: FILE.bytes.length }])
      .toString()
      .replace(extra.includes('VirtualHardwareSection') ? HARDWARE : '', '')
      .replace('<Info>A machine</Info>', `<Info>A machine</Info>${extra}`),
  ),
});

/** Described as usual, with something else in one place. */
const changed = (text: string, by: string): Member => ({
  name: 'box.ovf',
  bytes: Buffer.from(described().bytes.toString().replace(text, by)),
});

async function lookAt(members: readonly Member[], name = 'box.ova'): Promise<Findings> {
  return withFolder(async (folder) => {
    const path = await writeOva(join(folder, name), members);
    const image = await openImage(await locateImage(path), {
      ...{ verify: 'full', collect: true, contents: true },
    });
    try {
      if (image.kind !== 'ovf' || !image.contents) throw new Error('not described');
      const { warnings, notes } = await findingsOf(image, image.contents);
      return { warnings, notes };
    } finally {
      await image.close();
    }
  });
}

const hardware = (family: string): string =>
  `<VirtualHardwareSection><Info/><System><VirtualSystemType>${family}</VirtualSystemType></System></VirtualHardwareSection>`;

describe('of an ordinary package', () => {
  test('nothing is odd', async () => {
    const covered = [described(hardware('vmx-19')), FILE];
    const mf = { name: 'box.mf', bytes: manifestOf(covered) };
    const [descriptor, disk] = covered as [Member, Member];
    expect(await lookAt([descriptor, mf, disk])).toEqual({ warnings: [], notes: [] });
  });

  test('it is told what it is', () =>
    withFolder(async (folder) => {
      const extra = `<Name>Box</Name><ProductSection><Info/><Product>Thing</Product><Vendor>Acme</Vendor><Version>3</Version></ProductSection>
        <VirtualHardwareSection><Info/><System><VirtualSystemType>vmx-19</VirtualSystemType></System>
        <Item><ResourceType>3</ResourceType><VirtualQuantity>2</VirtualQuantity></Item>
        <Item><AllocationUnits>byte * 2^30</AllocationUnits><ResourceType>4</ResourceType><VirtualQuantity>8</VirtualQuantity></Item>
        <Item><Connection>net</Connection><ResourceType>10</ResourceType></Item></VirtualHardwareSection>`;
      const path = await writeOva(join(folder, 'box.ova'), [described(extra), FILE]);
      const image = await openImage(await locateImage(path), { verify: 'off', contents: true });
      await image.close();
      expect(image).toMatchObject({
        contents: {
          product: { name: 'Thing', vendor: 'Acme', version: '3' },
          systems: [
            {
              ...{ id: 'vm', name: 'Box', cpus: 2, memoryBytes: 8 * 2 ** 30 },
              ...{ hardware: ['vmx-19'], adapters: ['net'] },
            },
          ],
          disks: [{ id: 'd0', file: 'd.vmdk', capacityBytes: 1_048_576, isDelta: false }],
        },
      });
    }));
});

describe('oddities of disks', () => {
  const cases: readonly [what: string, disk: Buffer, said: RegExp][] = [
    [
      'as qemu-img makes them',
      vmdk({ directory: 30n, redundant: true, footer: false }),
      /two grain directories/,
    ],
    ['cut short', vmdk({ footer: false }), /no footer/],
    ['not for streams', vmdk({ compressed: false }), /not stream-optimized/],
    [
      'of another size',
      vmdk({ sectors: 4096 }),
      /a disk of 2097152 bytes, the descriptor says 1048576/,
    ],
    ['QCOW2', Buffer.from('QFI\u00fb and more of it', 'latin1'), /no VMDK but a QCOW2/],
    ['VHDX', Buffer.alloc(600, 'vhdxfile'), /a VHDX disk/],
    [
      'a description',
      Buffer.from('# Disk DescriptorFile\nversion=1\n'),
      /only a VMDK's description/,
    ],
    ['anything', Buffer.alloc(5_000, 'x'), /does not begin like one/],
    ['nothing', Buffer.alloc(0), /d\.vmdk is empty/],
  ];
  test.each(cases)('%s', async (_what, bytes, said) => {
    const { warnings } = await lookAt([described(), { name: 'd.vmdk', bytes }]);
    expect(warnings).toContainEqual(expect.stringMatching(said));
  });
});

test("disks as VMware's own tools write them are in order, the directory in front or padded", async () => {
  for (const bytes of [
    vmdk({ directory: 21n, footer: false }),
    Buffer.concat([vmdk(), Buffer.alloc(64 * 1024)]),
  ]) {
    const { warnings } = await lookAt([
      { name: 'box.ovf', bytes: descriptorOf([{ href: 'd.vmdk', size: bytes.length }]) },
      { name: 'd.vmdk', bytes },
    ]);
    expect(warnings).toEqual([]);
  }
});

describe('oddities of packages', () => {
  const digest = (line: string): Member => ({ name: 'box.mf', bytes: Buffer.from(line) });
  const hex = 'ab'.repeat(32);
  const cases: readonly [what: string, members: readonly Member[], said: RegExp][] = [
    ['descriptor not first', [FILE, described()], /not the first in the archive/],
    [
      'everything in a folder',
      [described(), FILE].map((one) => ({ ...one, name: `sub/${one.name}` })),
      /lies in a folder/,
    ],
    [
      'names with ./',
      [described(), FILE].map((one) => ({ ...one, name: `./${one.name}` })),
      /begin with \.\//,
    ],
    ['blanks', [described(), digest(`SHA256 (d.vmdk) = ${hex}\n`), FILE], /blanks before/],
    ['SHA2-256', [described(), digest(`SHA2-256(d.vmdk)= ${hex}\n`), FILE], /SHA2-256 for SHA256/],
    ['SHA-1', [described(), digest(`SHA1(d.vmdk)= ${'ab'.repeat(20)}\n`), FILE], /SHA-1 digests/],
    [
      'a manifest in itself',
      [described(), digest(`SHA256(box.mf)= ${hex}\nSHA256(d.vmdk)= ${hex}\n`), FILE],
      /digest of itself/,
    ],
    [
      'what nobody names',
      [described(), FILE, { name: 'more.txt', bytes: Buffer.from('x') }],
      /more\.txt is not in the descriptor/,
    ],
    [
      "macOS's own files",
      [{ name: '._box.ovf', bytes: Buffer.from('x') }, described(), FILE],
      /left out: \._box\.ovf/,
    ],
    [
      'a licence',
      [described('<EulaSection><License>x</License></EulaSection>'), FILE],
      /a licence/,
    ],
    [
      'a network that is nowhere',
      [
        described(
          '<VirtualHardwareSection><Item><Connection>dmz</Connection><ResourceType>10</ResourceType></Item></VirtualHardwareSection>',
        ),
        FILE,
      ],
      /network dmz, which the descriptor does not describe/,
    ],
    [
      'a drive without a disk',
      [
        described(
          '<VirtualHardwareSection><Item><HostResource>ovf:/disk/x9</HostResource><ResourceType>17</ResourceType></Item></VirtualHardwareSection>',
        ),
        FILE,
      ],
      /the disk x9, which there is not/,
    ],
    ['no manifest', [described(), FILE], /no manifest/],
    [
      'a compressed disk of another name',
      [
        { name: 'box.ovf', bytes: descriptorOf([{ href: 'd.vmdk.gz', size: 4 }]) },
        { name: 'd.vmdk.gz', bytes: Buffer.from([0x1f, 0x8b, 8, 0]) },
      ],
      /d\.vmdk\.gz is no VMDK but compressed with gzip/,
    ],
    ['VirtualBox', [described(hardware('virtualbox-2.2')), FILE], /hardware virtualbox-2\.2/],
    [
      'attributes without a prefix',
      [
        {
          ...described(),
          bytes: Buffer.from(
            described()
              .bytes.toString()
              .replaceAll(/(<File.*?\/>)/g, (file) => file.replaceAll('ovf:', '')),
          ),
        },
        FILE,
      ],
      /no ovf: prefix/,
    ],
    [
      'a delta disk',
      [
        {
          ...described(),
          bytes: Buffer.from(
            described().bytes.toString().replace('<Disk ', '<Disk ovf:parentRef="x" '),
          ),
        },
        FILE,
      ],
      /only what differs/,
    ],
    ['no hardware', [changed(HARDWARE, ''), FILE], /vm has no VirtualHardwareSection/],
    [
      'hardware as in OVF 2',
      [described('<VirtualHardwareSection><StorageItem/></VirtualHardwareSection>'), FILE],
      /hardware of vm is described as in OVF 2/,
    ],
    [
      'a section of somebody else that is required',
      [described('<x:Licence xmlns:x="http://x" ovf:required="true"/>'), FILE],
      /requires the section Licence \(line 7\)/,
    ],
    [
      'a prefix of an attribute that is not declared',
      [changed('<VirtualSystem ', '<VirtualSystem xsi:type="x" '), FILE],
      /prefix xsi .* is not defined \(line 7\); vSphere refuses it/,
    ],
    [
      'a prefix of an element that is not declared',
      [described('<vmw:Config/>'), FILE],
      /prefix vmw .* is not defined \(line 7\)/,
    ],
    [
      'an attribute twice, by two prefixes',
      [changed('<VirtualSystem ', '<VirtualSystem xmlns:a="u:" xmlns:b="u:" a:x="" b:x="" '), FILE],
      /Attribute x in 'u:' redefined \(line 7\)/,
    ],
    [
      'another size',
      [{ name: 'box.ovf', bytes: descriptorOf([{ href: 'd.vmdk', size: 7 }]) }, FILE],
      /says 7; corrected/,
    ],
  ];
  test.each(cases)('%s', async (_what, members, said) => {
    const { warnings, notes } = await lookAt(members);
    expect([...warnings, ...notes]).toContainEqual(expect.stringMatching(said));
  });

  test('an archive under a wrong name', async () => {
    const { notes } = await lookAt([described(), FILE], 'box.ovf');
    expect(notes).toContainEqual(expect.stringMatching(/is an OVA, though/));
  });

  test('a file in parts', async () => {
    const [a, b] = [FILE.bytes.subarray(0, 1000), FILE.bytes.subarray(1000)];
    const extra = ' ovf:chunkSize="1000"';
    const descriptor = descriptorOf([{ href: 'd.vmdk', size: FILE.bytes.length, extra }]);
    const digest = createHash('sha256').update(a).digest('hex');
    const { notes, warnings } = await lookAt([
      { name: 'box.ovf', bytes: descriptor },
      { name: 'box.mf', bytes: Buffer.from(`SHA256(d.vmdk.000000000)= ${digest}\n`) },
      { name: 'd.vmdk.000000000', bytes: a },
      { name: 'd.vmdk.000000001', bytes: b.subarray(0, 1000) },
      { name: 'd.vmdk.000000002', bytes: b.subarray(1000) },
    ]);
    expect(notes).toContainEqual(expect.stringMatching(/d\.vmdk lies in \d parts/));
    expect(warnings).toContainEqual(
      expect.stringMatching(/of d\.vmdk what begins at byte 1000 is not in the manifest/),
    );
  });

  test('all of them do not stop an upload', () =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'd.vmdk'), 'QFI');
      await writeFile(join(folder, 'box.ovf'), descriptorOf([{ href: 'd.vmdk' }]));
      const image = await openImage(await locateImage(folder), { verify: 'full' });
      await image.close();
      expect(image).toMatchObject({ kind: 'ovf', problems: [] });
    }));
});

test('every problem is told, with what the package is', () =>
  withFolder(async (folder) => {
    const members = [
      described(),
      { name: 'box.mf', bytes: Buffer.from(`SHA256(box.ovf)= ${'ab'.repeat(32)}\n`) },
    ];
    const path = await writeOva(join(folder, 'box.ova'), members);
    const options = { verify: 'full', collect: true, contents: true } as const;
    const image = await openImage(await locateImage(path), options);
    await image.close();
    if (image.kind !== 'ovf') throw new Error('no package');
    expect(image.problems.map(({ code }) => code)).toEqual([
      'DIGEST_MISMATCH',
      'PACKAGE_INCOMPLETE',
    ]);
    expect(image.contents?.systems).toHaveLength(1);
  }));

test('a package of thousands of files is opened in a moment', () =>
  withFolder(async (folder) => {
    const files = Array.from({ length: 5_000 }, (_, i) => ({
      name: `f${i}.bin`,
      bytes: Buffer.from([i & 255]),
    }));
    const descriptor = {
      name: 'box.ovf',
      bytes: descriptorOf(files.map(({ name }) => ({ href: name, size: 1 }))),
    };
    const mf = { name: 'box.mf', bytes: manifestOf([descriptor, ...files]) };
    const path = await writeOva(join(folder, 'box.ova'), [descriptor, mf, ...files]);
    const begun = performance.now();
    const image = await openImage(await locateImage(path), { verify: 'full' });
    await image.close();
    expect(performance.now() - begun).toBeLessThan(10_000); // it was minutes
  }));
