import { describe, expect, test } from '@jest/globals';
import { decodeXml } from '../../src/ovf/decode-xml.ts';
import { buildXml, parseXml, REPLY_LIMITS, scanXml, XmlError } from '../../src/xml.ts';

const refuse = (text: string): string => {
  const started = performance.now();
  try {
    parseXml(text);
  } catch (error) {
    expect(error).toBeInstanceOf(XmlError);
    expect(performance.now() - started).toBeLessThan(2_000);
    return (error as Error).message;
  }
  throw new Error('it was accepted');
};

describe('hostile XML never reaches the parser', () => {
  test.each([
    ['a document type', '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', /document type/],
    ['a lower-case document type', '<!doctype a><a/>', /document type/],
    ['an entity behind a comment', '<!-- <a> --><!DOCTYPE a><a/>', /document type/],
    [
      'many attributes',
      `<a ${'x="" '.repeat(65).replaceAll(/x/g, () => `a${Math.random().toString(36).slice(2)}`)}/>`,
      /attributes/,
    ],
    ['deep nesting', '<a>'.repeat(65) + '</a>'.repeat(65), /nested/],
    ['many elements', `<a>${'<b/>'.repeat(50_001)}</a>`, /too many elements/],
    ['a NUL', '<a>\0</a>', /NUL/],
    ['a comment without end', '<a><!-- ', /ends before/],
    ['a tag without end', '<a b="c', /ends before/],
    ['no text at all', '', /./],
    ['text that is not XML', 'hello', /./],
    ['an unknown entity', '<a>&nbsp;</a>', /nbsp/],
  ])('%s is refused quickly', (_name, text, message) => {
    expect(refuse(text)).toMatch(message);
  });

  test('a document type hidden by UTF-16 is seen', () => {
    const bytes = Buffer.from('\ufeff<!DOCTYPE a><a/>', 'utf16le');
    expect(refuse(decodeXml(bytes))).toMatch(/document type/);
  });

  test('other encodings are refused where they would read differently', () => {
    const latin = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>', 'latin1');
    expect(() => decodeXml(latin)).toThrow(XmlError);
    const ascii = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><a>e</a>');
    expect(parseXml(decodeXml(ascii)).text).toBe('e');
  });

  test('markup in comments, CDATA and attribute values is no markup', () => {
    const text = '<a b="&lt;!DOCTYPE>" c=\'>\'><!-- <!DOCTYPE x> --><![CDATA[<!DOCTYPE y>]]></a>';
    expect(parseXml(text).text).toBe('<!DOCTYPE y>');
    expect([...scanXml(text)]).toHaveLength(1);
  });
});

describe('reading', () => {
  test('elements and attributes are found by local name', () => {
    const root = parseXml('<o:E xmlns:o="urn:o"><File o:href="a"/><o:File href="b"/></o:E>');
    expect(root.name).toBe('E');
    expect(root.namespace).toBe('urn:o');
    expect(root.children('File').map((file) => file.attribute('href'))).toEqual(['a', 'b']);
    expect(root.child('None')).toBeUndefined();
  });

  test('a catalog of thousands of items is no attack', () => {
    const text = `<C>${'<I n="x"/>'.repeat(60_000)}</C>`;
    expect(parseXml(text, REPLY_LIMITS).children('I')).toHaveLength(60_000);
  });
});

test('what is built escapes what must be, and drops what no document may hold', () => {
  const text = buildXml(
    {
      name: 'Media',
      attributes: { name: 'a & "b" <c>\u0001', none: undefined },
      children: [{ name: 'Description', text: 'x < y & z\u0000 😀' }, undefined],
    },
    'urn:v',
  );
  const root = parseXml(text);
  expect(root.namespace).toBe('urn:v');
  expect(root.attribute('name')).toBe('a & "b" <c>');
  expect(root.attribute('none')).toBeUndefined();
  expect(root.child('Description')?.text).toBe('x < y & z 😀');
  expect(root.child('Description')?.namespace).toBe('urn:v');
});
