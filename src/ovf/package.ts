import { createHash } from 'node:crypto';
import { FerryError } from '../errors.ts';
import { readAll } from '../source/byte-source.ts';
import { DESCRIPTOR_LIMITS } from '../xml.ts';
import type { Container } from './container.ts';
import { type DescriptorFacts, withFileSizes } from './descriptor.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import { isAlike } from './names.ts';
import { readDescriptor } from './read-descriptor.ts';
import { type PackageFile, resolveReference } from './references.ts';

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
  /** What does stop it; empty unless `collect` was asked for. */
  readonly problems: readonly FerryError[];
}

export interface PackageOptions {
  /** 'off': digests are neither read nor checked. */
  readonly verify: 'full' | 'off' | 'server';
  /** Return the problems of files instead of throwing the first. */
  readonly collect?: boolean;
}

const MAX_MANIFEST_BYTES = 1024 * 1024;

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
  const original = await readSmall(container, descriptorName, DESCRIPTOR_LIMITS.maxBytes);
  const { text, facts } = await readDescriptor(original, descriptorName);
  const manifestName = findManifest(container, descriptorName, folder);
  const manifest = await readManifest(container, manifestName, options);
  verifyDescriptor(original, [descriptorName, descriptorName.slice(folder.length)], manifest);

  const problems: FerryError[] = [];
  const files: PackageFile[] = [];
  for (const reference of facts.files) {
    if (files.some(({ href }) => href === reference.href)) continue; // two Files, one file
    try {
      files.push(
        await resolveReference(reference, { container, folder, entries: manifest.entries }),
      );
    } catch (error) {
      if (!options.collect || !(error instanceof FerryError)) throw error;
      problems.push(error);
    }
  }
  const sizes = facts.files.map(({ href }) => files.find((file) => file.href === href)?.size);
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
    manifestAlgorithm: manifest.entries[0]?.algorithm,
    warnings: [
      ...container.warnings,
      ...manifest.warnings,
      ...warningsOf(facts, files),
      ...(options.verify !== 'off'
        ? unverified(container, { files, manifest, manifestName, descriptorName, folder })
        : []),
    ],
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

async function readManifest(
  container: Container,
  name: string | undefined,
  { verify }: PackageOptions,
): Promise<Manifest> {
  if (name === undefined || verify === 'off') return { entries: [], warnings: [] };
  return parseManifest(await readSmall(container, name, MAX_MANIFEST_BYTES), name);
}

function verifyDescriptor(bytes: Buffer, names: readonly string[], { entries }: Manifest): void {
  const [name = ''] = names;
  for (const entry of entries) {
    if (!isAlike(entry.name, names)) continue;
    const actual = createHash(entry.algorithm).update(bytes).digest('hex');
    if (actual === entry.digest) continue;
    throw new FerryError(
      'DIGEST_MISMATCH',
      `${name} has the ${entry.algorithm.toUpperCase()} ${actual}, but the manifest says ${entry.digest}`,
      { facts: { member: name, algorithm: entry.algorithm } },
    );
  }
}

/** UTF-8, and said to be: the original may have been UTF-16. */
function encode(text: string): Buffer {
  const declared = /^(\s*<\?xml[^>]{0,200}?encoding\s*=\s*["'])[^"']{1,40}/;
  return Buffer.from(text.replace(declared, '$1UTF-8'), 'utf8');
}

function warningsOf(facts: DescriptorFacts, files: readonly PackageFile[]): string[] {
  const warnings: string[] = facts.unsupported.map((what) => `of the descriptor: ${what}`);
  if (facts.version !== '1.x') {
    warnings.push(`the descriptor is OVF ${facts.version}; vCD's guide promises only 1.0 and 1.1`);
  }
  for (const { href, size, declaredSize } of files) {
    if (declaredSize === size) continue;
    const said = declaredSize ?? 'nothing';
    warnings.push(`${href} has ${size} bytes, the descriptor says ${said}; corrected`);
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
  readonly folder: string;
}

/** Whatever a manifest could have vouched for and does not, and digests that vouch for nothing. */
function unverified(
  container: Container,
  { files, manifest, manifestName, descriptorName, folder }: Verified,
): string[] {
  const warnings = container.names
    .filter((name) => /\.mf$/i.test(name) && name !== manifestName)
    .map((name) => `${name} does not belong to ${descriptorName} and was not used`);
  if (manifestName === undefined) return warnings;
  const descriptorNames = [descriptorName, descriptorName.slice(folder.length)];
  if (!manifest.entries.some(({ name }) => isAlike(name, descriptorNames))) {
    warnings.push(`${descriptorName} is not in the manifest, so it is sent unverified`);
  }
  for (const { href, checks } of files) {
    if (checks.length === 0) {
      warnings.push(`${href} is not in the manifest, so it is sent unverified`);
    }
  }
  const used = new Set(files.flatMap(({ checks }) => checks.map(({ name }) => name)));
  for (const { name } of manifest.entries) {
    if (used.has(name) || isAlike(name, descriptorNames)) continue;
    warnings.push(`the manifest has a digest of ${name}, which the descriptor does not name`);
  }
  return warnings;
}
