import { createHash } from 'node:crypto';
import { FerryError } from '../../errors.ts';
import type { Container } from '../../ovf/container.ts';
import type { OpenImage } from '../../ovf/image.ts';
import { MAX_DESCRIPTOR_BYTES, readPackage } from '../../ovf/package.ts';
import { readDescriptor } from '../../ovf/read-descriptor.ts';
import { type ByteSource, readAll } from '../../source/byte-source.ts';
import type { RangedFile } from '../../source/ranged-file.ts';
import type { ItemLink } from './item-link.ts';

/** Nobody tells when it was changed: what was seen of its files does, when they are read on. */
const NO_IDENTITY = { mtimeMs: 0 };

/**
 * An item that is enabled for download, as an image: its files are read from the server, by ranges.
 *
 * @throws FerryError DESCRIPTOR_INVALID, PACKAGE_UNSAFE, PACKAGE_INCOMPLETE …; SOURCE_CHANGED
 */
export async function openRemoteImage(link: ItemLink): Promise<OpenImage> {
  return link.entity.kind === 'media' ? openMedia(link) : openTemplate(link);
}

async function openMedia(link: ItemLink): Promise<OpenImage> {
  const { media, download } = link.entity;
  const file = await link.file(download.file?.name ?? 'file');
  return {
    kind: 'media',
    file,
    isIso: media?.imageType === 'iso',
    warnings: [],
    identity: { size: file.size, ...NO_IDENTITY },
    fingerprint: fingerprintOf(link, [file]),
    assertUnchanged: () => Promise.resolve(),
    close: () => file.close(),
  };
}

async function openTemplate(link: ItemLink): Promise<OpenImage> {
  const { descriptorName } = link;
  const opened = new Map<string, RangedFile>();
  const open = async (name: string): Promise<ByteSource> => {
    const file = opened.get(name) ?? (await link.file(name));
    opened.set(name, file);
    return file;
  };
  const close = async (): Promise<void> => {
    for (const file of opened.values()) await file.close();
  };
  try {
    const descriptor = await open(descriptorName);
    if (descriptor.size > MAX_DESCRIPTOR_BYTES) {
      throw new FerryError('PACKAGE_UNSUPPORTED', `${descriptorName} has ${descriptor.size} bytes`);
    }
    const bytes = await readAll(descriptor);
    const { facts } = await readDescriptor(bytes, descriptorName);
    const manifestName = descriptorName.replace(/\.ovf$/i, '.mf');
    const manifest = await link.findFile(manifestName);
    if (manifest) opened.set(manifestName, manifest);
    const container: Container = {
      names: [
        ...[descriptorName, ...(manifest ? [manifestName] : [])],
        ...new Set(facts.files.map(({ href }) => href)),
      ],
      ...{ warnings: [], notes: [], isOrdered: false, isListed: true },
      open,
      opened: () => [],
      assertUnchanged: () => Promise.resolve(),
      close,
    };
    const image = await readPackage(container, descriptorName, { verify: 'full' });
    return {
      ...image,
      identity: { size: image.descriptor.length, ...NO_IDENTITY },
      fingerprint: fingerprintOf(link, [...opened.values()]),
      assertUnchanged: () => Promise.resolve(),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Of which item it is, and what its files are called and how large they are. */
function fingerprintOf(link: ItemLink, files: readonly RangedFile[]): string {
  const states = files.map(({ name, size }) => [name, size]).sort();
  const parts = [new URL(link.entity.href).pathname, states];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
