import { createHash } from 'node:crypto';
import { FerryError } from '../errors.ts';
import { readAll } from '../source/byte-source.ts';
import { DESCRIPTOR_LIMITS } from '../xml.ts';
import { orderNotes, strangers } from './archive-notes.ts';
import type { Container } from './container.ts';
import type { PackageContents } from './contents.ts';
import { type DescriptorFacts, withFileSizes } from './descriptor.ts';
import { DigestLines } from './digest-lines.ts';
import { type Manifest, type ManifestEntry, parseManifest } from './manifest.ts';
import { Members } from './members.ts';
import { plainName } from './names.ts';
import { readDescriptor } from './read-descriptor.ts';
import { firstUnchecked, type PackageFile, resolveReference } from './references.ts';

/** An OVF package, opened: everything an upload needs to know, nothing read but headers. */
export interface OvfPackage {
  readonly kind: 'ovf';
  readonly descriptorName: string;
  /** What is sent: the package's own bytes, unless a size had to be corrected. */
  readonly descriptor: Buffer;
  readonly descriptorCorrected: boolean;
  readonly version: DescriptorFacts['version'];
  readonly virtualSystems: readonly string[];
  /** One for each href, in the order of References. */
  readonly files: readonly PackageFile[];
  readonly manifestName: string | undefined;
  /** What its manifest hashes with. */
  readonly manifestAlgorithm: string | undefined;
  /** Oddities that do not stop an upload. */
  readonly warnings: readonly string[];
  /** What is odd and does no harm here; other tools may refuse it. */
  readonly notes: readonly string[];
  /** What it is; undefined unless that was asked for. */
  readonly contents: PackageContents | undefined;
  /** What does stop it; empty unless `collect` was asked for. */
  readonly problems: readonly FerryError[];
}

export interface PackageOptions {
  /** 'off': digests are neither read nor checked. */
  readonly verify: 'full' | 'off' | 'server';
  /** Return the problems of files instead of throwing the first. */
  readonly collect?: boolean;
  /** Tell what the package is. */
  readonly contents?: boolean;
}

/** Longer descriptors are not read. */
export const MAX_DESCRIPTOR_BYTES = DESCRIPTOR_LIMITS.maxBytes;
const MAX_MANIFEST_BYTES = 1024 * 1024;
const NO_MANIFEST: Manifest = { entries: [], warnings: [], notes: [] };
/** More of them tell nobody anything. */
const MAX_REMARKS = 100;

function capped(remarks: readonly string[]): string[] {
  const more = remarks.length - MAX_REMARKS;
  return more > 0 ? [...remarks.slice(0, MAX_REMARKS), `and ${more} more of these`] : [...remarks];
}

/**
 * Reads descriptor and manifest and finds every file.
 *
 * @throws FerryError PACKAGE_…, DESCRIPTOR_INVALID, MANIFEST_INVALID, DIGEST_MISMATCH (of the
 *   descriptor itself)
 */
export async function readPackage(
  container: Container,
  descriptorName: string,
  options: PackageOptions,
): Promise<OvfPackage> {
  const folder = descriptorName.slice(0, descriptorName.lastIndexOf('/') + 1);
  const original = await readSmall(container, descriptorName, MAX_DESCRIPTOR_BYTES);
  const { text, facts } = await readDescriptor(original, descriptorName, options);
  const manifestName = findManifest(container, descriptorName, folder);
  const problems: FerryError[] = [];
  const found = (error: unknown): void => {
    if (!options.collect || !(error instanceof FerryError)) throw error;
    problems.push(error);
  };
  for (const reason of facts.problems) {
    found(new FerryError('DESCRIPTOR_INVALID', `${descriptorName} can't be used: ${reason}`));
  }
  const isUnverified = options.verify === 'off';
  const manifest = await readManifest(container, manifestName).catch((error: unknown) => {
    if (!isUnverified) found(error);
    return NO_MANIFEST;
  });
  const ownNames = [descriptorName, descriptorName.slice(folder.length)];
  const hrefs = facts.files.map(({ href }) => href);
  const names = [...ownNames, ...hrefs, ...hrefs.map((href) => folder + plainName(href))];
  const lines = new DigestLines(manifest.entries, names);
  const own = isUnverified ? [] : lines.of(ownNames);
  for (const error of wrongDigests(original, descriptorName, own)) found(error);

  const members = new Members(container, folder);
  const byHref = new Map<string, PackageFile>();
  for (const reference of facts.files) {
    if (byHref.has(reference.href)) continue; // two Files, one file
    try {
      const file = await resolveReference(reference, { folder, members, lines, isUnverified });
      byHref.set(reference.href, file);
    } catch (error) {
      found(error);
    }
  }
  const files = [...byHref.values()];
  const vouched = own.length + files.reduce((sum, { checks }) => sum + checks.length, 0);
  if (manifest !== NO_MANIFEST && !isUnverified && vouched === 0 && problems.length === 0) {
    found(
      new FerryError('MANIFEST_INVALID', `${manifestName} has digests of other files than these`, {
        hint: 'Fetch the manifest that belongs to the package; `--verify off` does without one.',
      }),
    );
  }
  const others = lines.othersThan([...names, ...files.flatMap((file) => file.members)]);
  const sizes = facts.files.map(({ href }) => byHref.get(href)?.size);
  const corrected = facts.files.some(({ size }, i) => sizes[i] !== undefined && sizes[i] !== size);
  return {
    kind: 'ovf',
    descriptorName,
    descriptor: corrected ? encode(withFileSizes(text, sizes)) : original,
    descriptorCorrected: corrected,
    version: facts.version,
    virtualSystems: facts.virtualSystems,
    files,
    manifestName,
    manifestAlgorithm: isUnverified ? undefined : manifest.entries[0]?.algorithm,
    warnings: capped([
      ...container.warnings,
      ...(isUnverified
        ? []
        : unverified(container, { files, manifest, manifestName, descriptorName, own, others })),
      ...sizeWarnings(files),
      ...files.flatMap(({ href, mayLackParts }) =>
        mayLackParts
          ? [`whether more parts of ${href} follow can't be told: no size, no digests of them`]
          : [],
      ),
      ...(isUnverified ? [] : manifest.warnings),
      ...warningsOf(facts),
    ]),
    notes: capped([
      ...orderNotes(container, descriptorName),
      ...container.notes,
      ...(isUnverified ? [] : manifest.notes),
      ...(options.contents
        ? strangers(container, [
            ...[descriptorName, manifestName ?? ''],
            ...files.flatMap((file) => file.members),
            ...facts.files.map(({ href }) => folder + plainName(href)),
          ])
        : []),
    ]),
    contents: facts.contents,
    problems,
  };
}

/** The one descriptor of a container. @throws FerryError PACKAGE_CORRUPT, PACKAGE_AMBIGUOUS */
export function findDescriptor(container: Container, label: string): string {
  const found = container.names.filter((name) => /\.ovf$/i.test(name));
  const [only] = found;
  if (only === undefined) {
    throw new FerryError('PACKAGE_CORRUPT', `${label} holds no .ovf descriptor`);
  }
  if (found.length > 1) {
    throw new FerryError(
      'PACKAGE_AMBIGUOUS',
      `${label} holds ${found.length} descriptors: ${found.join(', ')}`,
    );
  }
  return only;
}

async function readSmall(container: Container, name: string, maxBytes: number): Promise<Buffer> {
  const source = await container.open(name);
  if (source.size > maxBytes) {
    throw new FerryError(
      'PACKAGE_UNSUPPORTED',
      `${name} has ${source.size} bytes; at most ${maxBytes} are read`,
      {
        facts: { member: name },
      },
    );
  }
  return readAll(source);
}

/** The manifest has the descriptor's name; where it has another, the only one beside it is taken. */
function findManifest(
  container: Container,
  descriptorName: string,
  folder: string,
): string | undefined {
  const beside = container.names.filter(
    (name) =>
      /\.mf$/i.test(name) && name.startsWith(folder) && !name.slice(folder.length).includes('/'),
  );
  const wanted = descriptorName.replace(/\.ovf$/i, '.mf').toLowerCase();
  return (
    beside.find((name) => name.toLowerCase() === wanted) ??
    (beside.length === 1 ? beside[0] : undefined)
  );
}

async function readManifest(container: Container, name: string | undefined): Promise<Manifest> {
  if (name === undefined) return NO_MANIFEST;
  return parseManifest(await readSmall(container, name, MAX_MANIFEST_BYTES), name);
}

/** What the descriptor itself should be, and is not. */
function wrongDigests(
  bytes: Buffer,
  name: string,
  entries: readonly ManifestEntry[],
): FerryError[] {
  return entries.flatMap(({ algorithm, digest }) => {
    const actual = createHash(algorithm).update(bytes).digest('hex');
    if (actual === digest) return [];
    const what = `${name} has the ${algorithm.toUpperCase()} ${actual}, but the manifest says ${digest}`;
    return [new FerryError('DIGEST_MISMATCH', what, { facts: { member: name, algorithm } })];
  });
}

/** UTF-8, and said to be: the original may have been UTF-16. */
function encode(text: string): Buffer {
  const declared = /^(\s*<\?xml[^>]{0,200}?encoding\s*=\s*["'])[^"']{1,40}/;
  return Buffer.from(text.replace(declared, '$1UTF-8'), 'utf8');
}

function sizeWarnings(files: readonly PackageFile[]): string[] {
  const wrong = files.filter(({ size, declaredSize }) => declaredSize !== size);
  return wrong.map(
    ({ href, size, declaredSize }) =>
      `${href} has ${size} bytes, the descriptor says ${declaredSize ?? 'nothing'}; corrected`,
  );
}

function warningsOf(facts: DescriptorFacts): string[] {
  const warnings: string[] = facts.unsupported.map((what) => `of the descriptor: ${what}`);
  for (const fault of facts.namespaceFaults) {
    warnings.push(`of the descriptor: ${fault}; vSphere refuses it`);
  }
  if (facts.version !== '1.x') {
    warnings.push(`the descriptor is OVF ${facts.version}; vCD's guide promises only 1.0 and 1.1`);
  }
  for (const id of facts.virtualSystems) {
    if (id.length <= 13) continue;
    warnings.push(`vCD may shorten the VM name ${id} to 13 characters and a number`);
  }
  return warnings;
}

interface Verified {
  readonly files: readonly PackageFile[];
  readonly manifest: Manifest;
  readonly manifestName: string | undefined;
  readonly descriptorName: string;
  /** What the manifest says of the descriptor. */
  readonly own: readonly ManifestEntry[];
  /** Whatever else it has digests of. */
  readonly others: readonly string[];
}

/** Whatever a manifest could have vouched for and does not, and digests that vouch for nothing. */
function unverified(
  container: Container,
  { files, manifest, manifestName, descriptorName, own, others }: Verified,
): string[] {
  const warnings = container.names
    .filter((name) => /\.mf$/i.test(name) && name !== manifestName)
    .map((name) => `${name} does not belong to ${descriptorName} and was not used`);
  // Of one that can't be read nothing is known.
  if (manifestName === undefined || manifest === NO_MANIFEST) return warnings;
  if (own.length === 0) {
    warnings.push(`${descriptorName} is not in the manifest, so it is sent unverified`);
  }
  for (const file of files) {
    const { href, checks } = file;
    const from = firstUnchecked(file);
    if (from === undefined) continue;
    const what = checks.length === 0 ? href : `of ${href} what begins at byte ${from}`;
    warnings.push(`${what} is not in the manifest, so it is sent unverified`);
  }
  for (const name of others) {
    warnings.push(`the manifest has a digest of ${name}, which the descriptor does not name`);
  }
  return warnings;
}
