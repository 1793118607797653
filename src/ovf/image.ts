import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FerryError } from '../errors.ts';
import type { ByteSource } from '../source/byte-source.ts';
import { type FileIdentity, fileError } from '../source/local-file.ts';
import { identityOfSource, isAddress, openSource } from '../source/open-source.ts';
import type { SourceFile } from '../source/source-file.ts';
import { isJunk } from './archive.ts';
import { type Container, openArchive, openBeside, openFolder } from './container.ts';
import { findDescriptor, type OvfPackage, type PackageOptions, readPackage } from './package.ts';

/** An ISO, or any other single file. */
export interface MediaImage {
  readonly kind: 'media';
  readonly file: ByteSource;
  /** Whether its content, or at least its name, says that it is an ISO. */
  readonly isIso: boolean;
  readonly warnings: readonly string[];
}

/** Something that can be uploaded, held open. */
export type OpenImage = (OvfPackage | MediaImage) & {
  /** Of the file that stands for the image, when it was opened. */
  readonly identity: FileIdentity;
  /** Another one whenever any of its files is another or was written to. */
  readonly fingerprint: string;
  /** @throws FerryError SOURCE_CHANGED */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
};

/** Bytes of all its files; of a package the descriptor is not counted. */
export function bytesOf(image: Pick<OvfPackage, 'kind' | 'files'> | MediaImage): number {
  if (image.kind === 'media') return image.file.size;
  return image.files.reduce((sum, { size }) => sum + size, 0);
}

/** What a path turned out to be, without opening the package. */
export interface LocatedImage {
  readonly kind: 'ovf' | 'media';
  /** The file that stands for the image: the archive, the descriptor, the ISO. */
  readonly path: string;
  /** Its name in a catalog unless another is given. */
  readonly defaultName: string;
  readonly identity: FileIdentity;
  /** Bytes that are to be sent, as far as that shows from outside. */
  readonly expectedBytes: number;
}

/**
 * Tells what a path holds by its kind, its name, and for an ISO its header.
 *
 * @param media take any file as a media image
 * @throws FerryError SOURCE_NOT_FOUND, PACKAGE_AMBIGUOUS, PACKAGE_INCOMPLETE, PACKAGE_UNSUPPORTED
 */
export async function locateImage(path: string, media = false): Promise<LocatedImage> {
  const file = await fileOf(path);
  const kind = media || (await isIso(file)) ? 'media' : 'ovf';
  if (kind === 'ovf') await assertPackage(file);
  const identity = await identityOfSource(file);
  const isDescriptor = /\.ovf$/i.test(file);
  const expectedBytes = isDescriptor ? await sizeOfReferences(file) : identity.size;
  return { kind, path: file, defaultName: defaultName(file), identity, expectedBytes };
}

/** Descriptors are smaller, as a rule; of a larger one the sum is too small. */
const LOOKED_AT_BYTES = 1024 * 1024;

/** What a descriptor names and lies beside it. Only an estimate: nothing is parsed or believed here. */
async function sizeOfReferences(descriptor: string): Promise<number> {
  let text: string;
  try {
    const file = await openSource(descriptor);
    const head = Buffer.alloc(Math.min(file.size, LOOKED_AT_BYTES));
    await file.read(head, 0).finally(() => file.close());
    text = head.toString('utf8');
  } catch {
    return 0; // opening it for the upload says what is wrong
  }
  const hrefs = [...text.matchAll(/<(?:\w+:)?File\b[^>]*?\bhref\s*=\s*["']([^"']+)["']/g)];
  const sizes = hrefs.slice(0, 1_000).map(async ([, href = '']) => {
    if (isAddress(descriptor)) return 0; // asking for each would take a while
    const path = join(dirname(descriptor), basename(href));
    return (await stat(path).catch(() => undefined))?.size ?? 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** A file's name without what says that it is an image. */
export function defaultName(path: string): string {
  return fileName(path).replace(/\.(ova|ovf|iso)$/i, '');
}

/** The last part of a path or of an address. */
function fileName(path: string): string {
  if (!isAddress(path)) return basename(path);
  const name = basename(new URL(path).pathname);
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a literal percent sign
  }
}

function isNamedIso(path: string): boolean {
  return /\.iso$/i.test(fileName(path));
}

/** The file itself, or the only package in a folder. */
async function fileOf(path: string): Promise<string> {
  if (isAddress(path)) return path;
  const stats = await stat(path).catch((error: unknown) => {
    throw fileError(path, error);
  });
  return stats.isDirectory() ? join(path, await onlyPackageIn(path)) : path;
}

/** By its name, or by what it is: an OVA is one whatever it is called. */
async function assertPackage(file: string): Promise<void> {
  if (/\.(ova|ovf)$/i.test(file) || (await isArchive(file))) return;
  const what = isNamedIso(file)
    ? 'is no ISO: it has no ISO 9660 or UDF header'
    : 'is neither an .ova, an .ovf nor an .iso';
  throw new FerryError('PACKAGE_UNSUPPORTED', `${file} ${what}`, {
    hint: 'Use --media to upload it as it is.',
  });
}

async function isArchive(path: string): Promise<boolean> {
  return lookInto(path, async (file) => (await sniff(file)) === 'tar');
}

/**
 * A page that a web server answered with is often saved under the name of the image. What can't be read here
 * and now is taken by its name: whoever sends it reads it.
 */
async function isIso(path: string): Promise<boolean> {
  return isNamedIso(path) && lookInto(path, hasIsoHeader).catch(() => true);
}

async function lookInto<T>(path: string, look: (file: SourceFile) => Promise<T>): Promise<T> {
  const file = await openSource(path);
  try {
    return await look(file);
  } finally {
    await file.close();
  }
}

async function onlyPackageIn(folder: string): Promise<string> {
  const found = (await readdir(folder))
    .filter((name) => /\.(ova|ovf)$/i.test(name) && !isJunk(name))
    .sort();
  const [only] = found;
  if (only === undefined) {
    throw new FerryError('PACKAGE_INCOMPLETE', `${folder} holds no .ova and no .ovf`, {
      hint: 'Name a folder that holds exactly one package, or the file itself.',
    });
  }
  if (found.length > 1) {
    throw new FerryError(
      'PACKAGE_AMBIGUOUS',
      `${folder} holds ${found.length} packages: ${found.join(', ')}`,
    );
  }
  return only;
}

/**
 * Opens an image for uploading. The name's ending is only a hint: browsers save an .ova as .ovf.
 *
 * @throws FerryError PACKAGE_…, DESCRIPTOR_INVALID, MANIFEST_INVALID, SOURCE_…
 */
export async function openImage(
  located: Pick<LocatedImage, 'kind' | 'path'>,
  options: PackageOptions,
): Promise<OpenImage> {
  const path = await fileOf(located.path);
  if (located.kind === 'ovf') await assertPackage(path);
  const file = await openSource(path);
  if (located.kind === 'media') return openMedia(file, await hasIsoHeader(file));
  let container: Container | undefined;
  try {
    const { opened, descriptor } = await openContainer(file);
    container = opened;
    const content = await readPackage(opened, descriptor, options);
    return {
      ...content,
      identity: file.identity,
      fingerprint: fingerprintOf(opened.opened()),
      assertUnchanged: () => opened.assertUnchanged(),
      close: () => opened.close(),
    };
  } catch (error) {
    await (container ?? file).close();
    throw error;
  }
}

function openMedia(file: SourceFile, hasHeader: boolean): OpenImage {
  return {
    kind: 'media',
    file,
    identity: file.identity,
    fingerprint: fingerprintOf([file]),
    isIso: hasHeader || isNamedIso(file.name),
    warnings:
      isNamedIso(file.name) && !hasHeader
        ? [`${file.name} has no ISO 9660 or UDF header: is it an ISO?`]
        : [],
    assertUnchanged: () => file.assertUnchanged(),
    close: () => file.close(),
  };
}

/** Volume descriptors begin at sector 16 (ECMA-119); each says what it is after its first byte. */
async function hasIsoHeader(file: SourceFile): Promise<boolean> {
  for (const sector of [16, 17, 18]) {
    const at = sector * 2048 + 1;
    if (file.size < at + 5) return false;
    const name = Buffer.alloc(5);
    await file.read(name, at);
    if (/^(CD001|BEA01|NSR0[23])$/.test(name.toString('latin1'))) return true;
  }
  return false;
}

function fingerprintOf(files: readonly SourceFile[]): string {
  const states = files.map(({ name, identity: { size, mtimeMs, etag } }) => [
    ...[name, size, mtimeMs],
    ...(etag === undefined ? [] : [etag]),
  ]);
  return createHash('sha256').update(JSON.stringify(states.sort())).digest('base64url');
}

async function openContainer(file: SourceFile): Promise<{ opened: Container; descriptor: string }> {
  const what = await sniff(file);
  if (what === 'tar') {
    const opened = await openArchive(file);
    return { opened, descriptor: findDescriptor(opened, file.name) };
  }
  if (what !== 'text') {
    throw new FerryError('PACKAGE_CORRUPT', `${file.name} ${what}`, {
      hint: 'An OVA is a plain tar archive; unpack or fetch it again.',
    });
  }
  if (/\.ova$/i.test(file.name)) {
    throw new FerryError('PACKAGE_CORRUPT', `${file.name} is not an OVA: it is no tar archive`);
  }
  await file.close(); // the folder opens the descriptor as one of its files
  const opened = await (isAddress(file.name) ? openBeside : openFolder)(file.name);
  return { opened, descriptor: fileName(file.name) };
}

const MAGIC: readonly [bytes: readonly number[], what: string][] = [
  [[0x1f, 0x8b], 'is compressed with gzip'],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], 'is compressed with xz'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'is compressed with zstd'],
  [[0x42, 0x5a, 0x68], 'is compressed with bzip2'],
  [[0x50, 0x4b, 0x03, 0x04], 'is a zip archive'],
];

/** 'tar', 'text', or in words what else it is. */
async function sniff(file: SourceFile): Promise<string> {
  if (file.size === 0) return 'is empty';
  const head = Buffer.alloc(Math.min(file.size, 512));
  await file.read(head, 0);
  if (head.subarray(257, 262).toString('latin1') === 'ustar') return 'tar';
  const known = MAGIC.find(([bytes]) => bytes.every((byte, i) => head[i] === byte));
  return known?.[1] ?? 'text';
}
