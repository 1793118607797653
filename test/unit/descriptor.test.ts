import { describe, expect, test } from '@jest/globals';
import { parseDescriptor, withFileSizes } from '../../src/ovf/descriptor.ts';
import { readDescriptor } from '../../src/ovf/read-descriptor.ts';
import { descriptorOf } from '../helpers/packages.ts';

const text = (...files: Parameters<typeof descriptorOf>) => descriptorOf(...files).toString();

describe('a descriptor', () => {
  test('gives its files, in order, with what it says of them', () => {
    const { files, version, virtualSystems, problems } = parseDescriptor(
      text([
        { href: 'a.vmdk', size: 5, extra: ' ovf:compression="gzip"' },
        { href: 'b c%20.vmdk', extra: ' ovf:chunkSize="100"' },
        { href: 'c', size: 'many' },
      ]),
    );
    expect(version).toBe('1.x');
    expect(virtualSystems).toEqual(['vm']);
    expect(problems).toEqual([]);
    expect(files).toEqual([
      { id: 'f0', href: 'a.vmdk', size: 5, compression: 'gzip', chunkBytes: undefined },
      { id: 'f1', href: 'b c%20.vmdk', size: undefined, compression: undefined, chunkBytes: 100 },
      { id: 'f2', href: 'c', size: undefined, compression: undefined, chunkBytes: undefined },
    ]);
  });

  test.each([
    ['1.x', 'http://schemas.dmtf.org/ovf/envelope/1'],
    ['2.x', 'http://schemas.dmtf.org/ovf/envelope/2'],
    ['0.9', 'http://www.vmware.com/schema/ovf/1/envelope'],
  ])('of OVF %s is told by its namespace', (version, namespace) => {
    expect(parseDescriptor(text([], namespace)).version).toBe(version);
  });

  test('of 0.9 is read although its children have no namespace', () => {
    const old = `<ovf:Envelope xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope">
      <References><File ovf:id="a" ovf:href="a.vmdk" ovf:size="7"/></References>
      <Section/><Content ovf:id="x"/><VirtualSystem ovf:id="vm"/></ovf:Envelope>`;
    expect(parseDescriptor(old).files).toMatchObject([{ href: 'a.vmdk', size: 7 }]);
  });

  test('of 0.9 requires nothing that would be unknown: its sections are in no namespace', () => {
    const namespace = 'http://www.vmware.com/schema/ovf/1/envelope';
    const text = `<ovf:Envelope xmlns:ovf="${namespace}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      <Section ovf:required="true" xsi:type="ovf:NetworkSection_Type"/><Content ovf:id="x">
      <Section xsi:type="ovf:VirtualHardwareSection_Type"/></Content></ovf:Envelope>`;
    expect(parseDescriptor(text)).toMatchObject({ unsupported: [], namespaceFaults: [] });
  });

  test('of 0.9 may have Content instead of a VirtualSystem', () => {
    const old = `<ovf:Envelope xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope">
      <References/><Content ovf:id="vm"/></ovf:Envelope>`;
    expect(parseDescriptor(old).problems).toEqual([]);
  });

  test.each([
    ['an HTML page', '<html><body>404</body></html>', /HTML page/],
    ['another document', '<Other/>', /Other document/],
    ['an unknown namespace', '<Envelope xmlns="urn:x"/>', /unknown OVF namespace/],
  ])('that is %s is refused', (_name, other, message) => {
    expect(() => parseDescriptor(other)).toThrow(message);
  });

  test('whose disk refers to no file has a problem', () => {
    const broken = text([{ href: 'a', size: 1 }]).replace('ovf:id="f0"', 'ovf:id="g0"');
    expect(parseDescriptor(broken).problems).toEqual([expect.stringContaining('f0')]);
  });
});

describe('sizes are corrected in the text', () => {
  test('and nothing else changes', () => {
    const before = text([
      { href: 'a', size: 1 },
      { href: 'b', size: 2 },
    ]);
    const after = withFileSizes(before, [11, undefined]);
    expect(after).toBe(before.replace('ovf:size="1"', 'ovf:size="11"'));
  });

  test('and put in where they are missing, with the prefix of their neighbours', () => {
    const after = withFileSizes(text([{ href: 'a' }]), [42]);
    expect(parseDescriptor(after).files[0]?.size).toBe(42);
    expect(after).toContain(' ovf:size="42"');
  });

  test("and another vendor's sizes are left alone", () => {
    const before = `<o:Envelope xmlns:o="http://schemas.dmtf.org/ovf/envelope/1" xmlns:v="urn:v">
      <o:References><o:File v:size="1" v:href="no" o:id="a" o:href="a"/></o:References>
      <o:VirtualSystem o:id="v"/></o:Envelope>`;
    expect(parseDescriptor(before).files).toMatchObject([{ href: 'a', size: undefined }]);
    const after = withFileSizes(before, [9]);
    expect(after).toContain('v:size="1"');
    expect(parseDescriptor(after).files).toMatchObject([{ href: 'a', size: 9 }]);
  });

  test('only in References, whatever else is called File', () => {
    const before = `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:x="urn:x">
      <x:Machine><x:File href="no" size="1"/></x:Machine>
      <References><File id="a" href="a" size='1'/><Other><File href="n"/></Other></References>
      <VirtualSystem id="v"/></Envelope>`;
    expect(withFileSizes(before, [9])).toBe(before.replace("size='1'", "size='9'"));
  });
});

describe('a descriptor is parsed in a process of its own', () => {
  test('which gives the same facts', async () => {
    const bytes = descriptorOf([{ href: 'a.vmdk', size: 5 }]);
    const { facts, text: decoded } = await readDescriptor(bytes, 'box.ovf');
    expect(facts).toEqual(parseDescriptor(bytes.toString()));
    expect(decoded).toBe(bytes.toString());
  });

  test('and what is wrong with it comes back as a sentence that names the file', async () => {
    await expect(readDescriptor(Buffer.from('<html/>'), 'box.ovf')).rejects.toMatchObject({
      code: 'DESCRIPTOR_INVALID',
      message: expect.stringMatching(/^box\.ovf is an HTML page/),
    });
  });
});
