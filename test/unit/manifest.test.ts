import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FerryError } from '../../src/errors.ts';
import { parseManifest } from '../../src/ovf/manifest.ts';
import { digest, manifestOf } from '../helpers/packages.ts';

const SHA1 = 'a'.repeat(40);
const SHA256 = 'b'.repeat(64);
const SHA512 = 'c'.repeat(128);

const parse = (text: string) => parseManifest(Buffer.from(text), 'box.mf');

describe('a manifest is read as tools write it', () => {
  test.each([
    ["the standard's spelling", `SHA1(a.vmdk)= ${SHA1}`, 'sha1', 'a.vmdk'],
    ["coreutils' --tag", `SHA256 (a.vmdk) = ${SHA256}`, 'sha256', 'a.vmdk'],
    ["OpenSSL 3's label", `SHA2-256(a.vmdk)= ${SHA256}`, 'sha256', 'a.vmdk'],
    ['a dash', `SHA-512(a.vmdk)= ${SHA512}`, 'sha512', 'a.vmdk'],
    ['lower case', `sha256(a.vmdk)=${SHA256.toUpperCase()}`, 'sha256', 'a.vmdk'],
    ['CRLF', `SHA1(a.vmdk)= ${SHA1}\r`, 'sha1', 'a.vmdk'],
    ['parentheses in the name', `SHA1(a (1).vmdk)= ${SHA1}`, 'sha1', 'a (1).vmdk'],
    ['an equals sign in the name', `SHA1(a)=b.vmdk)= ${SHA1}`, 'sha1', 'a)=b.vmdk'],
    ['a leading ./', `SHA1(./a.vmdk)= ${SHA1}`, 'sha1', 'a.vmdk'],
    ['a name in Unicode', `SHA1(ü.vmdk)= ${SHA1}`, 'sha1', 'ü.vmdk'],
  ])('%s', (_name, line, algorithm, name) => {
    const { entries, warnings } = parse(`${line}\n`);
    expect(warnings).toEqual([]);
    expect(entries).toEqual([{ algorithm, name, digest: expect.stringMatching(/^[a-c]+$/) }]);
  });

  test('blank lines are nothing, junk is a warning with its line', () => {
    const { entries, warnings } = parse(`\n\nhello\nSHA1(a)= ${SHA1}\n`);
    expect(entries).toHaveLength(1);
    expect(warnings).toEqual([expect.stringContaining('line 3')]);
  });

  test('its own digest is not taken for a file', () => {
    const { entries } = parse(`SHA1(box.mf)= ${SHA1}\nSHA1(sub/box.mf)= ${SHA1}\n`);
    expect(entries.map(({ name }) => name)).toEqual(['sub/box.mf']);
  });

  test('UTF-16 is read, as a shell of Windows writes it', () => {
    const bytes = Buffer.from(`\ufeffSHA1(a)= ${SHA1}\r\n`, 'utf16le');
    expect(parseManifest(bytes, 'box.mf').entries).toHaveLength(1);
  });

  test.each([
    ['an unknown kind of digest', `MD5(a)= ${'a'.repeat(32)}`],
    ['digits that are none', `SHA256(a)= ${'x'.repeat(64)}`],
    ['nothing at all', ''],
    ['no digest', 'hello\n'],
  ])('%s is an error, not less verification', (_name, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });

  test('a digest of the wrong length is an error, not less verification', () => {
    expect(() => parse(`SHA256(a)= ${SHA1}\n`)).toThrow(FerryError);
    expect(() => parse(`SHA256(a)= ${SHA1}\n`)).toThrow(/line 1.*64 digits/);
  });

  test('Latin-1 names are read, too', () => {
    const bytes = Buffer.from(`SHA1(\xfc.vmdk)= ${SHA1}`, 'latin1');
    expect(parseManifest(bytes, 'x.mf').entries[0]?.name).toBe('ü.vmdk');
  });
});

test('of any names is read as it was written', () => {
  const name = fc
    .string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 40 })
    .map((text) => text.trim())
    // What stands in quotes is meant without them.
    .filter((text) => text !== '' && !text.startsWith('./') && !/^".*"$/.test(text));
  const entry = fc.record({
    name,
    bytes: fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  });
  const entries = fc.uniqueArray(entry, { minLength: 1, selector: (one) => one.name });
  fc.assert(
    fc.property(entries, fc.constantFrom('sha1', 'sha256', 'sha512'), (members, algorithm) => {
      const read = parseManifest(manifestOf(members, algorithm), 'box.mf');
      expect(read.warnings).toEqual([]);
      expect(read.entries).toEqual(
        members.map((one) => ({ algorithm, name: one.name, digest: digest(one.bytes, algorithm) })),
      );
    }),
  );
});
