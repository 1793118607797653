import { FerryError } from '../errors.ts';
import { type ByteSource, concatenationOf } from '../source/byte-source.ts';
import type { DigestCheck } from '../source/digest-watch.ts';
import type { FileReference } from './descriptor.ts';
import { type DigestLines, parsePartName, partName } from './digest-lines.ts';
import type { Member, Members } from './members.ts';
import { lastNameOf, plainName } from './names.ts';

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
  /** Its last part is as long as the others, and nothing says that it is the last. */
  readonly mayLackParts: boolean;
  /** Names in the container of what holds its bytes: one, or its parts. */
  readonly members: readonly string[];
}

export interface ResolveOptions {
  /** The descriptor's folder inside the container, '' or ending in '/'. */
  readonly folder: string;
  readonly members: Members;
  /** Of the manifest. */
  readonly lines: DigestLines;
  /** Digests are not checked; what a manifest names must be there all the same. */
  readonly isUnverified: boolean;
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
    checks: options.isUnverified ? [] : checksOf(reference.href, parts, source.size, options.lines),
    mayLackParts:
      reference.chunkBytes !== undefined &&
      reference.size === undefined &&
      parts.at(-1)?.source.size === reference.chunkBytes &&
      options.lines.partsOf(reference.href) === 0,
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
  { members, lines, folder }: ResolveOptions,
): Promise<Part[]> {
  const { href } = reference;
  if (!reference.chunkBytes) return [partOf(await members.open(href))];
  const whole = await members.openIfThere(href);
  if (whole) return [partOf(whole)];
  const parts: Part[] = [];
  let total = 0;
  // Where a size is known, the name after the last is not asked for.
  while (parts.length < MAX_PARTS && total !== reference.size) {
    const member = await members.openIfThere(partName(href, parts.length));
    if (!member) break;
    parts.push(partOf(member));
    total += member.source.size;
  }
  await checkParts(reference, parts, { members, lines });
  return parts;

  function partOf({ name, source }: Member): Part {
    const inFolder = name.startsWith(folder) ? name.slice(folder.length) : name;
    return { names: [name, inFolder], source };
  }
}

/** @throws FerryError PACKAGE_INCOMPLETE, PACKAGE_CORRUPT */
async function checkParts(
  reference: FileReference,
  parts: readonly Part[],
  { members, lines }: Pick<ResolveOptions, 'members' | 'lines'>,
): Promise<void> {
  const { href } = reference;
  const total = parts.reduce((sum, { source }) => sum + source.size, 0);
  const isShort = reference.size !== undefined && total < reference.size;
  const named = lines.partsOf(href);
  // Without a size only a later part, or the manifest, shows that one is missing.
  if (parts.length === 0 || isShort || named > parts.length || (await hasLater())) {
    const next = partName(href, parts.length);
    const why = named > parts.length ? `, of which the manifest names ${named} parts` : '';
    throw new FerryError('PACKAGE_INCOMPLETE', `${next} is missing from the package${why}`, {
      facts: { member: next },
    });
  }
  const odd = parts.slice(0, -1).find(({ source }) => source.size !== reference.chunkBytes);
  if (odd) {
    throw new FerryError(
      'PACKAGE_CORRUPT',
      `${odd.source.name} has ${odd.source.size} bytes, but parts of ${href} have ${reference.chunkBytes}`,
      { facts: { member: odd.source.name } },
    );
  }

  async function hasLater(): Promise<boolean> {
    const own = lastNameOf(plainName(href));
    const beside = (await members.besides(href)).map((name) => parsePartName(lastNameOf(name)));
    return beside.some((part) => part?.href === own && part.i >= parts.length);
  }
}

function checksOf(
  href: string,
  parts: readonly Part[],
  size: number,
  lines: DigestLines,
): DigestCheck[] {
  const checks: DigestCheck[] = [];
  const add = (names: readonly string[], start: number, end: number): void => {
    for (const { algorithm, name, digest } of lines.of(names)) {
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
  for (const { algorithm, name, digest } of lines.named(href)) {
    checks.push({ algorithm, start: 0, end: size, expected: digest, name });
  }
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
