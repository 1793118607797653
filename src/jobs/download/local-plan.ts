import { createHash } from 'node:crypto';
import { join, relative } from 'node:path';
import { FerryError } from '../../errors.ts';
import type { OpenImage } from '../../ovf/image.ts';
import { plainName } from '../../ovf/names.ts';
import { bytesSource, ovaOf } from '../../ovf/ova-layout.ts';
import type { OvfPackage } from '../../ovf/package.ts';
import type { PackageFile } from '../../ovf/references.ts';
import { type ByteSource, windowOf } from '../../source/byte-source.ts';
import type { DigestWish } from '../../source/digest-watch.ts';
import type { EntityState } from '../../vcd/entity.ts';
import type { DownloadRequest } from '../job-request.ts';

/** A file that is to be made of bytes from the server. */
export interface PlannedFile {
  /** Below the plan's folder, with `/`. */
  readonly name: string;
  readonly source: ByteSource;
  readonly wishes: readonly DigestWish[];
}

/** A file of the item, for the receipt and the manifest. */
interface PlannedMember {
  /** As the package calls it. */
  readonly name: string;
  readonly size: number;
  /** Which planned file it is in, and which of that one's wishes is its SHA-256. */
  readonly file: string;
  readonly wish: number;
  /** Whether the server's own manifest vouches for it. */
  readonly isVouchedFor: boolean;
}

/** What is made of an item on a disk. */
export interface LocalPlan {
  /** The file or folder that the user finds. */
  readonly path: string;
  /** Where the files are made. */
  readonly folder: string;
  readonly files: readonly PlannedFile[];
  readonly members: readonly PlannedMember[];
  readonly documentNames: readonly string[];
  /** Small files that need the others' digests; in the order in which they get their names. */
  documents(digests: MemberDigests): readonly { readonly name: string; readonly bytes: Buffer }[];
  /** What is written over a file once its digests are known. */
  readonly patch:
    | ((digests: MemberDigests) => { readonly position: number; readonly bytes: Buffer })
    | undefined;
}

/** Hexadecimal SHA-256, by the members' order. */
export type MemberDigests = readonly string[];

/** What an item is called on a disk: some characters mean something there. */
export function localName(name: string): string {
  const plain = name.replaceAll(/[\p{Cc}/\\<>:"|?*]/gu, '_').replace(/^\.+/, '_');
  return plain.replace(/[. ]+$/, '') || '_';
}

/** The file or folder that a download makes. */
export function pathOf(
  { folder, name, format }: Pick<DownloadRequest, 'folder' | 'name' | 'format'>,
  entity: Pick<EntityState, 'kind' | 'media' | 'download'>,
): string {
  const plain = localName(name);
  if (entity.kind === 'media') return join(folder, mediaName(plain, entity));
  return join(folder, format === 'ova' ? withEnding(plain, '.ova') : plain);
}

export function descriptorName({ name }: Pick<DownloadRequest, 'name'>): string {
  return `${localName(name).replace(/\.ov[af]$/i, '')}.ovf`;
}

/** With an ending that says what it is, so that it is known again when it is uploaded. */
function mediaName(plain: string, { media, download }: Pick<EntityState, 'media' | 'download'>) {
  if (media?.imageType === 'iso') return withEnding(plain, '.iso');
  const [ending] = /\.[A-Za-z0-9]{1,8}$/.exec(download.file?.name ?? '') ?? [];
  return ending === undefined ? plain : withEnding(plain, ending);
}

function withEnding(name: string, ending: string): string {
  return name.toLowerCase().endsWith(ending.toLowerCase()) ? name : name + ending;
}

/**
 * Says which files are made of an image, and of which bytes.
 *
 * @param path what `pathOf` said
 * @param begunAt the members of an archive have this time: going on gives the same bytes
 * @throws FerryError PACKAGE_UNSAFE for names that would lie on each other
 */
export function planOf(
  request: DownloadRequest,
  image: OpenImage,
  { path, begunAt }: { readonly path: string; readonly begunAt: Date },
): Promise<LocalPlan> | LocalPlan {
  if (image.kind === 'media') return planOfMedia(request, image.file, path);
  const descriptor = descriptorName(request);
  const names = { descriptor, manifest: descriptor.replace(/\.ovf$/, '.mf') };
  const pieces = image.files.flatMap(piecesOf);
  assertApart([...pieces.map(({ name }) => name), ...Object.values(names)]);
  return request.format === 'ova'
    ? planOfArchive({ request, image, path, names, pieces }, begunAt)
    : planOfFolder({ request, image, path, names, pieces });
}

function planOfMedia({ folder }: DownloadRequest, source: ByteSource, path: string): LocalPlan {
  const name = relative(folder, path);
  const wish = wholeOf(name, { start: 0, end: source.size });
  return {
    ...{ path, folder, files: [{ name, source, wishes: [wish] }] },
    members: [{ name, size: source.size, file: name, wish: 0, isVouchedFor: false }],
    documentNames: [],
    documents: () => [],
    patch: undefined,
  };
}

/** What is one file in a package: a File of the descriptor, or a part of one. */
interface Piece extends PlannedFile {
  readonly isVouchedFor: boolean;
}

/** A file that the descriptor wants in parts has them again; the server shows one. */
function piecesOf({ href, size, source, checks, chunkBytes }: PackageFile): Piece[] {
  const name = plainName(href);
  if (chunkBytes === undefined || chunkBytes <= 0 || size <= chunkBytes) {
    const wishes = [wholeOf(name, { start: 0, end: size }), ...checks];
    return [{ name, source, wishes, isVouchedFor: checks.length > 0 }];
  }
  return Array.from({ length: Math.ceil(size / chunkBytes) }, (_, i) => {
    const part = `${name}.${String(i).padStart(9, '0')}`;
    const range = { start: i * chunkBytes, end: Math.min(size, (i + 1) * chunkBytes) };
    const length = range.end - range.start;
    const wishes = [wholeOf(part, { start: 0, end: length })];
    return { name: part, source: windowOf(source, part, range), wishes, isVouchedFor: false };
  });
}

function wholeOf(name: string, { start, end }: { start: number; end: number }): DigestWish {
  return { algorithm: 'sha256', start, end, expected: undefined, name };
}

/** Without case: some file systems have none. A name plus `.part` is a name as well. */
function assertApart(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    for (const taken of [name, `${name}.part`]) {
      const key = taken.normalize('NFC').toLowerCase();
      if (seen.has(key)) {
        throw new FerryError('PACKAGE_UNSAFE', `two files of the package would both be ${taken}`, {
          facts: { member: name },
        });
      }
      seen.add(key);
    }
  }
}

interface PackageParts {
  readonly request: DownloadRequest;
  readonly image: OvfPackage;
  readonly path: string;
  readonly names: { readonly descriptor: string; readonly manifest: string };
  readonly pieces: readonly Piece[];
}

/** The descriptor comes last: what has one is whole. */
function planOfFolder({ image, path, names, pieces }: PackageParts): LocalPlan {
  return {
    path,
    folder: path,
    files: pieces,
    members: pieces.map(({ name, source: { size }, isVouchedFor }) => ({
      ...{ name, size, file: name, wish: 0, isVouchedFor },
    })),
    documentNames: [names.manifest, names.descriptor],
    documents: (digests) => [
      { name: names.manifest, bytes: manifestOf(names.descriptor, image, pieces, digests) },
      { name: names.descriptor, bytes: image.descriptor },
    ],
    patch: undefined,
  };
}

/**
 * Descriptor, manifest, files (DSP0243 clause 5.3). The manifest's digests are only known at the end,
 * but its length is known at once: until then zeros stand in its place.
 */
async function planOfArchive(
  { request, image, path, names, pieces }: PackageParts,
  begunAt: Date,
): Promise<LocalPlan> {
  const { folder } = request;
  const blank = pieces.map(() => '0'.repeat(64));
  const members = [
    { name: names.descriptor, source: bytesSource(image.descriptor) },
    {
      name: names.manifest,
      source: bytesSource(manifestOf(names.descriptor, image, pieces, blank)),
    },
    ...pieces,
  ];
  const name = relative(folder, path);
  const { source, starts } = await ovaOf(name, members, begunAt);
  const wishes: DigestWish[] = [];
  const planned = pieces.map((piece, i): PlannedMember => {
    const at = starts[i + 2] ?? 0;
    const wish = wishes.length;
    const shifted = piece.wishes.map((one) => ({
      ...one,
      start: one.start + at,
      end: one.end + at,
    }));
    wishes.push(...shifted);
    const { size } = piece.source;
    return { name: piece.name, size, file: name, wish, isVouchedFor: piece.isVouchedFor };
  });
  return {
    ...{ path, folder, files: [{ name, source, wishes }], members: planned },
    documentNames: [],
    documents: () => [],
    patch: (digests) => ({
      position: starts[1] ?? 0,
      bytes: manifestOf(names.descriptor, image, pieces, digests),
    }),
  };
}

function manifestOf(
  descriptorName: string,
  { descriptor }: Pick<OvfPackage, 'descriptor'>,
  pieces: readonly { readonly name: string }[],
  digests: MemberDigests,
): Buffer {
  const lines = [
    [descriptorName, createHash('sha256').update(descriptor).digest('hex')],
    ...pieces.map(({ name }, i) => [name, digests[i]]),
  ];
  return Buffer.from(lines.map(([name, digest]) => `SHA256(${name})= ${digest}\n`).join(''));
}
