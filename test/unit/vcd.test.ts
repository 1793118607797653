import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FerryError } from '../../src/errors.ts';
import { errorOfAnswer } from '../../src/vcd/answer.ts';
import { isReady, parseEntity } from '../../src/vcd/entity.ts';
import { encodeFilter } from '../../src/vcd/query.ts';
import { chooseVersion, compareVersions, parseVersions } from '../../src/vcd/versions.ts';
import { parseXml } from '../../src/xml.ts';

const offer = (version: string, deprecated = false) => ({
  version,
  deprecated,
  loginPath: undefined,
  providerLoginPath: undefined,
});

describe('versions', () => {
  test('are compared part by part', () => {
    expect(compareVersions('5.10', '5.1')).toBeGreaterThan(0);
    expect(compareVersions('36.3', '9.0')).toBeGreaterThan(0);
    expect(compareVersions('37.0', '37.0')).toBe(0);
  });

  test.each([
    ['the highest', ['36.3', '39.1', '37.0'], '39.1'],
    ['no alpha', ['37.0', '38.0.0-alpha-1625843840'], '37.0'],
    ['none of another product', ['39.1', '40.0'], '39.1'],
    ['an old one', ['1.5', '5.1', '5.5'], '5.5'],
  ])('the choice is %s', (_name, offered, chosen) => {
    expect(
      chooseVersion(
        offered.map((v) => offer(v)),
        'h',
      ).version,
    ).toBe(chosen);
  });

  test('deprecated ones come last', () => {
    expect(chooseVersion([offer('39.0', true), offer('36.0')], 'h').version).toBe('36.0');
    expect(chooseVersion([offer('39.0', true)], 'h').version).toBe('39.0');
  });

  test('where none is known, the error lists what is offered', () => {
    expect(() => chooseVersion([offer('12.0'), offer('13.0')], 'h')).toThrow(/12\.0, 13\.0/);
    expect(() => chooseVersion([offer('40.0')], 'h')).toThrow(/VCF Automation/);
  });

  test('are read from the document; what is none is said to be no vCD', () => {
    const xml = `<SupportedVersions xmlns="http://www.vmware.com/vcloud/versions">
      <VersionInfo deprecated="true"><Version>36.0</Version>
        <LoginUrl>https://other/cloudapi/1.0.0/sessions</LoginUrl></VersionInfo></SupportedVersions>`;
    expect(parseVersions(xml, 'h')).toEqual([
      {
        version: '36.0',
        deprecated: true,
        loginPath: '/cloudapi/1.0.0/sessions',
        providerLoginPath: undefined,
      },
    ]);
    for (const other of ['<html><body/></html>', 'hello', '']) {
      expect(() => parseVersions(other, 'h')).toThrow(expect.objectContaining({ code: 'NOT_VCD' }));
    }
  });
});

describe('a filter is encoded as its era wants it', () => {
  test.each([
    ['39.1', 'a b', '&filter=name==a%20b'],
    ['35.0', 'a(b),c;d', '&filter=name==a%5C%28b%5C%29%5C%2Cc%5C%3Bd'],
    ['34.0', 'a b', '&filterEncoded=true&filter=name==a%2520b'],
  ])('%s: %s', (version, value, expected) => {
    expect(encodeFilter([{ field: 'name', value }], version)).toBe(expected);
  });
});

test('a filter says any name so that a server of its era reads that name, and nothing else', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, unit: 'grapheme' }),
      fc.constantFrom('34.0', '35.0', '39.1'),
      (value, version) => {
        const encoded = encodeFilter([{ field: 'name', value }], version);
        const [, once = ''] =
          /^(?:&filterEncoded=true)?&filter=name==([^&=#;,]*)$/.exec(encoded) ?? [];
        const text = decodeURIComponent(once);
        const read =
          version === '34.0' ? decodeURIComponent(text) : text.replaceAll(/\\(.)/gsu, '$1');
        expect(read).toBe(value);
      },
    ),
  );
});

describe('answers become errors in one table', () => {
  const answer = (status: number, body = '', headers = {}) => ({ status, body, headers });
  const vcdError = (minor: string, message = 'no') =>
    `<Error xmlns="http://www.vmware.com/vcloud/v1.5" majorErrorCode="400" minorErrorCode="${minor}" message="${message}"/>`;

  test.each([
    ['object', 403, vcdError('ACCESS_TO_RESOURCE_IS_FORBIDDEN'), 'ITEM_GONE'],
    ['object', 404, '', 'ITEM_GONE'],
    ['object', 500, '', 'SERVER_UNAVAILABLE'],
    ['object', 502, '<html>bad</html>', 'SERVER_UNAVAILABLE'],
    ['object', 401, '', 'AUTH_REJECTED'],
    ['object', 406, '', 'VERSION_UNSUPPORTED'],
    ['object', 429, '', 'SERVER_UNAVAILABLE'],
    ['create', 403, vcdError('ACCESS_TO_RESOURCE_IS_FORBIDDEN'), 'CATALOG_FORBIDDEN'],
    ['create', 403, '<html>WAF</html>', 'SERVER_UNAVAILABLE'],
    ['create', 400, vcdError('DUPLICATE_NAME'), 'NAME_TAKEN'],
    ['create', 500, vcdError('DUPLICATE_NAME'), 'NAME_TAKEN'],
    ['create', 400, vcdError('BUSY_ENTITY'), 'ITEM_BUSY'],
    ['create', 400, vcdError('BAD_REQUEST'), 'VCD_REJECTED'],
    ['create', 500, '{"minorErrorCode":"DUPLICATE_NAME","message":"x"}', 'NAME_TAKEN'],
    ['transfer', 416, '', 'OFFSET_MISMATCH'],
    ['transfer', 404, '', 'TRANSFER_REFUSED'],
    ['transfer', 403, '<!DOCTYPE html><html>', 'SERVER_UNAVAILABLE'],
    ['transfer', 500, '', 'SERVER_UNAVAILABLE'],
  ] as const)('%s %d %s → %s', (phase, status, body, code) => {
    expect(errorOfAnswer(answer(status, body), phase, 'GET /x').code).toBe(code);
  });

  test("vCD's own message, request id and wish to wait are kept", () => {
    const error = errorOfAnswer(
      answer(503, vcdError('X', 'the cell is stopping'), {
        'x-vmware-vcloud-request-id': 'r-1',
        'retry-after': '7',
      }),
      'object',
      'GET /x',
    );
    expect(error).toBeInstanceOf(FerryError);
    expect(error.message).toBe('GET /x was answered 503: the cell is stopping');
    expect(error.facts).toEqual({ status: 503, minorCode: 'X', requestId: 'r-1' });
    expect(error.retryAfterMs).toBe(7_000);
  });
});

describe('an entity is read by relations, not by position', () => {
  const entity = (inner: string, status = 0) =>
    parseEntity(
      parseXml(
        `<VAppTemplate xmlns="http://www.vmware.com/vcloud/v1.5" status="${status}" name="n" href="h">${inner}</VAppTemplate>`,
      ),
      'h',
    );

  test('an alternate upload link before the default one is passed over', () => {
    const { files } = entity(`<Files><File name="a" size="-1" bytesTransferred="3">
      <Link rel="upload:alternate" href="wrong"/><Link rel="upload:default" href="right"/></File></Files>`);
    expect(files).toEqual([
      { name: 'a', size: undefined, bytesTransferred: 3, uploadHref: 'right' },
    ]);
  });

  test('a template is ready at 8 with nothing left to send, media at 1', () => {
    expect(isReady(entity('', 8))).toBe(true);
    expect(isReady(entity('', 0))).toBe(false);
    expect(
      isReady(entity('<Files><File name="a" size="5" bytesTransferred="1"/></Files>', 8)),
    ).toBe(false);
  });
});
