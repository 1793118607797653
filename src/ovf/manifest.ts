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
  /** How it differs from what the standard says and is read all the same, for people. */
  readonly notes: readonly string[];
}

/**
 * `SHA256(disk.vmdk)= 01ab…` as DSP0243 has it, and as tools write it: coreutils' `SHA256 (f) = `,
 * OpenSSL 3's `SHA2-256(f)= `, any case, CRLF, parentheses in the name.
 */
const LINE = /^\s*SHA-?(?:2-)?(1|224|256|384|512)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i;
/** Looks like a digest, but is none that we understand. */
const ALIKE = /^\s*[a-z0-9/-]{2,20}\s*\(.+\)\s*=/i;
const HEX_DIGITS = { 1: 40, 224: 56, 256: 64, 384: 96, 512: 128 } as const;

/**
 * Parses a manifest. Blank lines and junk are passed over with a warning; what looks like a digest and
 * can't be read, and a manifest without any digest, are errors: to skip them would be to verify less
 * than was promised.
 *
 * @param own the manifest's own name: some tools list it in itself, with the digest of nothing
 * @throws FerryError MANIFEST_INVALID
 */
export function parseManifest(bytes: Uint8Array, own: string): Manifest {
  const entries: ManifestEntry[] = [];
  const warnings: string[] = [];
  const text = decode(bytes);
  for (const [i, line] of text.split(/\r\n|\n|\r/).entries()) {
    if (line.trim() === '') continue;
    const entry = parseLine(line, own, i + 1);
    if (entry) entries.push(entry);
    else warnings.push(`${own} line ${i + 1} is not a digest and was passed over`);
  }
  if (entries.length === 0) {
    throw new FerryError('MANIFEST_INVALID', `${own} holds no digest`, { facts: { member: own } });
  }
  const isOwn = ({ name }: ManifestEntry): boolean => name === own || name === baseName(own);
  return {
    entries: entries.filter((entry) => !isOwn(entry)),
    warnings,
    notes: notesOf(text, entries.some(isOwn), own),
  };
}

function notesOf(text: string, listsItself: boolean, own: string): string[] {
  const notes: string[] = [];
  if (listsItself)
    notes.push(`${own} has a digest of itself, which can't be right; it is left out`);
  if (/^\s*SHA2?-/im.test(text))
    notes.push(`${own} writes SHA2-256 for SHA256; it is read as that`);
  if (/^\s*SHA[\d-]+\s+\(/im.test(text)) {
    notes.push(`${own} has blanks before its parentheses, which other tools refuse`);
  }
  if (/^\s*SHA-?1\s*\(/im.test(text)) {
    notes.push(`${own} has SHA-1 digests, which newer servers refuse to check`);
  }
  return notes;
}

function parseLine(line: string, own: string, number: number): ManifestEntry | undefined {
  const fault = (what: string): FerryError =>
    new FerryError('MANIFEST_INVALID', `${own} line ${number}: ${what}`, {
      facts: { member: own, line: number },
    });
  const [, bits, name, digest] = LINE.exec(line) ?? [];
  if (bits === undefined || name === undefined || digest === undefined) {
    if (ALIKE.test(line)) throw fault('this digest is of no kind that is known here');
    return undefined;
  }
  const wanted = HEX_DIGITS[Number(bits) as keyof typeof HEX_DIGITS];
  if (digest.length !== wanted) {
    throw fault(`a SHA-${bits} digest has ${wanted} digits, this one has ${digest.length}`);
  }
  return {
    algorithm: `sha${bits}` as ManifestEntry['algorithm'],
    name: name.replace(/^"(.*)"$/, '$1').replace(/^(\.\/)+/, ''),
    digest: digest.toLowerCase(),
  };
}

function decode(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('latin1').decode(bytes);
  }
}

function baseName(name: string): string {
  return name.split('/').at(-1) ?? name;
}
