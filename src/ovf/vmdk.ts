import type { ByteSource } from '../source/byte-source.ts';

/** What is wrong with a VMDK for an importer that reads it as a stream. */
export interface VmdkLook {
  /** Bytes of the virtual disk; undefined where the file does not say. */
  readonly capacityBytes: number | undefined;
  /** In words; empty if nothing is. */
  readonly faults: readonly string[];
}

const SECTOR = 512;
/** Where a stream's grain directory is said to be: at its end, since it is not known before. */
const AT_END = 0xffff_ffff_ffff_ffffn;
const COMPRESSED = 0x1_0000;
const REDUNDANT_DIRECTORY = 2;

/** Other formats of disks, by their first bytes. */
const OTHERS: readonly [magic: string, what: string][] = [
  ['QFI\u00fb', 'a QCOW2 disk'],
  ['COWD', 'a sparse extent of a VMFS'],
  ['conectix', 'a VHD disk'],
  ['vhdxfile', 'a VHDX disk'],
  ['\u001f\u008b', 'compressed with gzip'],
  ['PK\u0003\u0004', 'a zip archive'],
];

/**
 * Looks at the head and the end of a `.vmdk` (Virtual Disk Format 5.0, "Hosted Sparse Extents" and
 * "Stream-Optimized Compressed Sparse Extents"). qemu-img calls its disks stream-optimized and writes two
 * grain directories in front of them, which some importers call a wrong checksum.
 */
export async function lookAtVmdk(source: ByteSource): Promise<VmdkLook> {
  const head = Buffer.alloc(Math.min(SECTOR, source.size));
  await source.read(head, 0);
  if (head.length < SECTOR || head.subarray(0, 4).toString('latin1') !== 'KDMV') {
    return { capacityBytes: undefined, faults: [faultOfOther(head)] };
  }
  const flags = head.readUInt32LE(8);
  const capacityBytes = Number(head.readBigUInt64LE(12)) * SECTOR;
  if ((flags & COMPRESSED) === 0) {
    const what = 'is not stream-optimized, and importers ask for that';
    return { capacityBytes, faults: [`${what}; export it as streamOptimized`] };
  }
  if (head.readBigUInt64LE(56) !== AT_END) {
    // VMware's own open-vmdk writes the directory at the front, too, but a single one.
    if ((flags & REDUNDANT_DIRECTORY) === 0) return { capacityBytes, faults: [] };
    const what = 'has two grain directories, both at the front, as qemu-img writes them';
    return { capacityBytes, faults: [`${what}; some importers call that a wrong checksum`] };
  }
  const hasFooter = await endsAsStream(source);
  return { capacityBytes, faults: hasFooter ? [] : ['has no footer: it may have been cut short'] };
}

function faultOfOther(head: Buffer): string {
  if (head.length === 0) return 'is empty';
  const text = head.toString('latin1');
  const other = OTHERS.find(([magic]) => text.startsWith(magic));
  if (other) return `is no VMDK but ${other[1]}`;
  if (text.startsWith('# Disk DescriptorFile')) {
    return "is only a VMDK's description; its bytes are in another file";
  }
  return 'is no VMDK: it does not begin like one';
}

/** Some writers fill up with zeros to a multiple of this. */
const PADDING_BYTES = 64 * 1024;

/** A footer and an end-of-stream marker of nothing but zeros. */
async function endsAsStream(source: ByteSource): Promise<boolean> {
  const size = Math.min(PADDING_BYTES + 3 * SECTOR, source.size - SECTOR); // the head is like a footer, and is none
  const tail = Buffer.alloc(size);
  await source.read(tail, source.size - size);
  return size >= 2 * SECTOR && tail.lastIndexOf('KDMV', size - SECTOR, 'latin1') >= 0;
}
