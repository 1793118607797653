import { FerryError } from '../errors.ts';
import { type ByteSource, concatenationOf } from '../source/byte-source.ts';
import type { DigestCheck } from '../source/digest-watch.ts';
import type { Container } from './container.ts';
import type { FileReference } from './descriptor.ts';
import type { ManifestEntry } from './manifest.ts';
import { type NameIndex, plainName } from './names.ts';

/** A file of a package as it will be sent. */
export interface PackageFile {
  /** As the descriptor has it; vCD names its File so. */
  readonly href: string;
  /** The real size in bytes, whatever the descriptor says. */
  readonly size: number;
  readonly declaredSize: number | undefined;
  /** Of the parts that the descriptor wants it in; undefined for one whole. */
  readonly chunkBytes: number | undefined;
  readonly source: ByteSource;
  readonly checks: readonly DigestCheck[];
  /** Names in the container of what holds its bytes: one, or its parts. */
  readonly members: readonly string[];
}

export interface ResolveOptions {
  readonly container: Container;
  /** The descriptor's folder inside the container, '' or ending in '/'. */
  readonly folder: string;
  /** The container's names. */
  readonly members: NameIndex<string>;
  /** The manifest's lines. */
  readonly digests: NameIndex<ManifestEntry>;
}

/** Chunked files have at most this many parts; nine digits would allow a thousand million. */
const MAX_PARTS = 100_000;

/**
 * Finds the bytes of one File of the descriptor, and what they must hash to.
 *
 * @throws FerryError PACKAGE_UNSAFE, PACKAGE_UNSUPPORTED, PACKAGE_INCOMPLETE, PACKAGE_CORRUPT
 */
export async function resolveReference(
  reference: FileReference,
  options: ResolveOptions,
): Promise<PackageFile> {
  assertSafeHref(reference.href);
  if (reference.compression !== undefined && !/^(identity)?$/i.test(reference.compression)) {
    throw new FerryError(
      'PACKAGE_UNSUPPORTED',
      `${reference.href} is stored with compression="${reference.compression}", which vCD does not accept`,
      {
        facts: { member: reference.href },
        hint: 'Export the package uncompressed (streamOptimized VMDKs are fine).',
      },
    );
  }
  const parts = await openParts(reference, options);
  const source =
    parts.length === 1 && parts[0]
      ? parts[0].source
      : concatenationOf(
          parts.map((p) => p.source),
          reference.href,
        );
  return {
    href: reference.href,
    size: source.size,
    declaredSize: reference.size,
    chunkBytes: reference.chunkBytes,
    source,
    checks: checksOf(reference.href, parts, source.size, options.digests),
    members: parts.flatMap(({ names }) => names[0] ?? []),
  };
}

interface Part {
  /** Names by which a manifest may call it. */
  readonly names: readonly string[];
  readonly source: ByteSource;
}

async function openParts(
  reference: FileReference,
  { container, folder, members }: ResolveOptions,
): Promise<Part[]> {
  const whole = findName(members, folder, reference.href);
  if (whole !== undefined) return [await openPart(container, folder, whole)];
  if (!reference.chunkBytes) {
    // Lets the container say what it misses (a sub-folder's file is not in a folder's names).
    return [await openPart(container, folder, folder + plainName(reference.href))];
  }
  const parts: Part[] = [];
  for (let i = 0; i < MAX_PARTS; i += 1) {
    const name = findName(members, folder, partName(reference.href, i));
    if (name === undefined) break;
    parts.push(await openPart(container, folder, name));
  }
  checkParts(reference, parts, container);
  return parts;
}

function partName(href: string, i: number): string {
  return `${href}.${String(i).padStart(9, '0')}`;
}

function checkParts(reference: FileReference, parts: readonly Part[], container: Container): void {
  const next = partName(reference.href, parts.length);
  const total = parts.reduce((sum, { source }) => sum + source.size, 0);
  // Without a size only a later part shows that one is missing.
  const prefix = `${plainName(reference.href).split('/').at(-1)}.`;
  const there = container.names.filter((name) => {
    const base = name.split('/').at(-1) ?? '';
    return base.startsWith(prefix) && /^\d{9}$/.test(base.slice(prefix.length));
  });
  const short = reference.size !== undefined && total < reference.size;
  if (parts.length === 0 || short || there.length > parts.length) {
    throw new FerryError('PACKAGE_INCOMPLETE', `${next} is missing from the package`, {
      facts: { member: next },
    });
  }
  const odd = parts.slice(0, -1).find(({ source }) => source.size !== reference.chunkBytes);
  if (odd) {
    throw new FerryError(
      'PACKAGE_CORRUPT',
      `${odd.source.name} has ${odd.source.size} bytes, but parts of ${reference.href} have ${reference.chunkBytes}`,
      { facts: { member: odd.source.name } },
    );
  }
}

async function openPart(container: Container, folder: string, name: string): Promise<Part> {
  const source = await container.open(name);
  const inFolder = name.startsWith(folder) ? name.slice(folder.length) : name;
  return { names: [name, inFolder], source };
}

/** The literal name first, then percent-decoded once, then whatever is alike. */
function findName(members: NameIndex<string>, folder: string, href: string): string | undefined {
  const wanted = [href.replace(/^(\.\/)+/, ''), plainName(href)].map((name) => folder + name);
  return members.find(wanted);
}

function checksOf(
  href: string,
  parts: readonly Part[],
  size: number,
  digests: NameIndex<ManifestEntry>,
): DigestCheck[] {
  const checks: DigestCheck[] = [];
  const add = (names: readonly string[], start: number, end: number): void => {
    for (const { algorithm, name, digest } of digests.all(names)) {
      checks.push({ algorithm, start, end, expected: digest, name });
    }
  };
  const [only] = parts;
  if (parts.length === 1 && only) {
    add([href, ...only.names], 0, size);
    return checks;
  }
  let start = 0;
  for (const { names, source } of parts) {
    add(names, start, start + source.size);
    start += source.size;
  }
  add([href], 0, size);
  return checks;
}

/** Bytes that no digest vouches for: the first of them; undefined if every byte has one. */
export function firstUnchecked({
  checks,
  size,
}: Pick<PackageFile, 'checks' | 'size'>): number | undefined {
  let checked = 0;
  for (const { start, end } of [...checks].sort((a, b) => a.start - b.start)) {
    if (start > checked) return checked;
    checked = Math.max(checked, end);
  }
  return checked < size || checks.length === 0 ? checked : undefined;
}

/** A package may only name files of its own: nothing absolute, nothing above it, nothing elsewhere. */
function assertSafeHref(href: string): void {
  const plain = plainName(href);
  const fault = [
    { bad: /^[a-z][a-z0-9+.-]*:\/\//i.test(plain), what: 'is a URL, not a file of the package' },
    { bad: /^([/\\]|[a-z]:)/i.test(plain), what: 'is an absolute path' },
    { bad: plain.split(/[/\\]/).includes('..'), what: 'leads out of the package' },
    { bad: plain.includes('\\') || plain.includes('\0'), what: 'is not a relative path' },
  ].find(({ bad }) => bad);
  if (!fault) return;
  throw new FerryError('PACKAGE_UNSAFE', `${href} ${fault.what}`, { facts: { member: href } });
}
