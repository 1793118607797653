import { createHash } from 'node:crypto';
import { FerryError } from '../errors.ts';
import type { OvfPackage } from '../ovf/package.ts';
import type { PackageFile } from '../ovf/references.ts';
import { type DigestCheck, type DigestWish, digestOf } from '../source/digest-watch.ts';
import type { EntityState, WantedFile } from '../vcd/entity.ts';
import type { Upload } from './upload-deps.ts';

/** The one that vCD's manual names; what a package's own manifest uses goes before it. */
const ALGORITHM = 'sha1';

/** The file for the manifest, which vCD gives a name of its own. */
export function findManifestFile(
  entity: EntityState,
  { files }: Pick<OvfPackage, 'files'>,
): WantedFile | undefined {
  const named = new Set(files.map(({ href }) => href));
  return entity.files.find(({ name }) => /\.mf$/i.test(name) && !named.has(name));
}

/** The digest of a whole file that its package knows already. */
function knownOf({ checks, size }: PackageFile): DigestCheck | undefined {
  return checks.find(({ start, end }) => start === 0 && end === size);
}

/** What is to be hashed of a file while it passes, so that a manifest can be made in the end. */
export function checksWith(
  file: PackageFile,
  { verify }: Upload['request'],
): readonly DigestWish[] {
  if (verify !== 'server' || knownOf(file)) return file.checks;
  const { href: name, size: end } = file;
  return [...file.checks, { algorithm: ALGORITHM, start: 0, end, expected: undefined, name }];
}

/** The digest that `checksWith` asked for, among those of all checks. */
export function madeOf(
  checks: readonly DigestWish[],
  digests: readonly string[],
): string | undefined {
  return digests[checks.findIndex(({ expected }) => expected === undefined)];
}

/**
 * A manifest of exactly what is sent: with the package's own digests, where it has them, with ours
 * for the rest (OVF 1.1, clause 5.1). What is not known any more is read once more.
 */
export async function makeManifest(upload: Upload, image: OvfPackage): Promise<Buffer> {
  const { deps, context } = upload;
  const { made } = deps.checkpoint.current;
  const algorithm = image.manifestAlgorithm ?? ALGORITHM;
  const name = image.descriptorName.slice(image.descriptorName.lastIndexOf('/') + 1);
  const own = createHash(algorithm).update(image.descriptor).digest('hex');
  const lines = [line(algorithm, name, own)];
  for (const file of image.files) {
    const { href, source } = file;
    const known = knownOf(file);
    const digest =
      known?.expected ?? made[href] ?? (await digestOf(source, ALGORITHM, context.signal));
    lines.push(line(known?.algorithm ?? ALGORITHM, href, digest));
  }
  return Buffer.from(lines.join(''), 'utf8');
}

function line(algorithm: string, name: string, digest: string): string {
  return `${algorithm.toUpperCase()}(${name})= ${digest}\n`;
}

/** @throws FerryError VERIFY_UNSUPPORTED if the server is to check a manifest, and does not ask for it */
export function assertManifestWanted(
  { request }: Upload,
  entity: EntityState,
  image: OvfPackage,
): void {
  if (request.verify !== 'server' || entity.files.length === 0) return;
  if (findManifestFile(entity, image)) return;
  throw new FerryError(
    'VERIFY_UNSUPPORTED',
    'the server was asked to check a manifest, but does not wait for one',
    { facts: { member: image.descriptorName } },
  );
}
