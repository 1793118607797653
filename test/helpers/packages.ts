import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import tar from 'tar-stream';

/** A member of a package that a test makes. */
export interface Member {
  readonly name: string;
  readonly bytes: Buffer;
  readonly header?: Partial<tar.Header>;
}

export interface DescriptorFile {
  readonly href: string;
  readonly size?: number | string;
  readonly extra?: string;
}

const OVF_1 = 'http://schemas.dmtf.org/ovf/envelope/1';

export const HARDWARE = '<VirtualHardwareSection><Info>Hardware</Info></VirtualHardwareSection>';

export function descriptorOf(files: readonly DescriptorFile[], namespace = OVF_1): Buffer {
  const references = files
    .map(({ href, size, extra }, i) => {
      const sized = size === undefined ? '' : ` ovf:size="${size}"`;
      return `<File ovf:id="f${i}" ovf:href="${escapeXml(href)}"${sized}${extra ?? ''}/>`;
    })
    .join('\n    ');
  const disks = files
    .map((_, i) => `<Disk ovf:diskId="d${i}" ovf:fileRef="f${i}" ovf:capacity="1048576"/>`)
    .join('');
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="${namespace}" xmlns:ovf="${namespace}">
  <References>
    ${references}
  </References>
  <DiskSection><Info>Disks</Info>${disks}</DiskSection>
  <VirtualSystem ovf:id="vm"><Info>A machine</Info>${HARDWARE}</VirtualSystem>
</Envelope>
`);
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

export function digest(bytes: Buffer, algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

export function manifestOf(members: readonly Member[], algorithm = 'sha256'): Buffer {
  const lines = members.map(
    ({ name, bytes }) => `${algorithm.toUpperCase()}(${name})= ${digest(bytes, algorithm)}\n`,
  );
  return Buffer.from(lines.join(''));
}

/** The members of an ordinary package: descriptor, manifest, one disk for each size. */
export function packageOf(sizes: readonly number[], name = 'box'): Member[] {
  const disks = sizes.map((size, i) => ({
    name: `${name}-disk${i + 1}.vmdk`,
    bytes: randomBytes(size),
  }));
  const descriptor: Member = {
    name: `${name}.ovf`,
    bytes: descriptorOf(disks.map((disk) => ({ href: disk.name, size: disk.bytes.length }))),
  };
  const covered = [descriptor, ...disks];
  return [descriptor, { name: `${name}.mf`, bytes: manifestOf(covered) }, ...disks];
}

/** An ISO image as far as anybody looks: a volume descriptor, and nothing in it. */
export function isoOf(size = 50_000): Buffer {
  const bytes = randomBytes(size);
  bytes.write('\u0001CD001', 16 * 2048, 'latin1');
  return bytes;
}

/** Writes members into one tar. */
export async function writeOva(path: string, members: readonly Member[]): Promise<string> {
  const pack = tar.pack();
  const file = createWriteStream(path);
  pack.pipe(file);
  for (const { name, bytes, header } of members) pack.entry({ name, ...header }, bytes);
  pack.finalize();
  await finished(file);
  return path;
}

/** Writes members beside each other; returns the path of the first. */
export async function writeFolder(folder: string, members: readonly Member[]): Promise<string> {
  for (const { name, bytes } of members) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }
  return join(folder, members[0]?.name ?? '');
}
