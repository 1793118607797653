import { FerryError } from '../errors.ts';

/** A line of a manifest: what one file of the package must hash to. */
export interface ManifestEntry {
  /** A name that node:crypto knows. */
  readonly algorithm: 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';
  readonly name: string;
  /** Hexadecimal, lower case. */
  readonly digest: string;
}

export interface Manifest {
  readonly entries: readonly ManifestEntry[];
  /** Lines that are not digests, for people. */
  readonly warnings: readonly string[];
}

/**
 * `SHA256(disk.vmdk)= 01ab…` as DSP0243 has it, and as tools write it: coreutils' `SHA256 (f) = `,
 * OpenSSL 3's `SHA2-256(f)= `, any case, CRLF, parentheses in the name.
 */
const LINE = /^\s*SHA-?(?:2-)?(1|224|256|384|512)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i;
const HEX_DIGITS = { 1: 40, 224: 56, 256: 64, 384: 96, 512: 128 } as const;

/**
 * Parses a manifest. Blank lines and junk are passed over with a warning; a line that is a digest of
 * the wrong length is an error, because to skip it would be to verify less than was promised.
 *
 * @param own the manifest's own name: some tools list it in itself, with the digest of nothing
 * @throws FerryError MANIFEST_INVALID
 */
export function parseManifest(bytes: Uint8Array, own: string): Manifest {
  const entries: ManifestEntry[] = [];
  const warnings: string[] = [];
  for (const [i, line] of decode(bytes)
    .split(/\r\n|\n|\r/)
    .entries()) {
    if (line.trim() === '') continue;
    const [, bits, name, digest] = LINE.exec(line) ?? [];
    if (bits === undefined || name === undefined || digest === undefined) {
      warnings.push(`${own} line ${i + 1} is not a digest and was passed over`);
      continue;
    }
    const wanted = HEX_DIGITS[Number(bits) as keyof typeof HEX_DIGITS];
    if (digest.length !== wanted) {
      throw new FerryError(
        'MANIFEST_INVALID',
        `${own} line ${i + 1}: a SHA-${bits} digest has ${wanted} digits, this one has ${digest.length}`,
        { facts: { member: own, line: i + 1 } },
      );
    }
    if (baseName(name) === baseName(own)) continue;
    entries.push({
      algorithm: `sha${bits}` as ManifestEntry['algorithm'],
      name: name.trim().replace(/^(\.\/)+/, ''),
      digest: digest.toLowerCase(),
    });
  }
  return { entries, warnings };
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('latin1').decode(bytes);
  }
}

function baseName(name: string): string {
  return name.trim().split('/').at(-1) ?? name;
}
