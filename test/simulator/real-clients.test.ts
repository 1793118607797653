import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { attribute, basic, call, linkPath, loggedIn, pathOf } from '../helpers/http.ts';
import { descriptorOf, digest } from '../helpers/packages.ts';

/** What pyvcloud, vcd-cli and go-vcloud-director need of a vCD, found by reading them: each a test. */

async function withSimulator<T>(
  use: (base: string, simulator: Simulator) => Promise<T>,
  options: SimulatorOptions = {},
): Promise<T> {
  const simulator = await startSimulator(options);
  try {
    return await use(simulator.url, simulator);
  } finally {
    await simulator.close();
  }
}

const PARAMS = 'application/vnd.vmware.vcloud.uploadVAppTemplateParams+xml';
const MEDIA = 'application/vnd.vmware.vcloud.media+xml';
const NS = 'xmlns="http://www.vmware.com/vcloud/v1.5"';

async function catalogPath(base: string, headers: Record<string, string>, name = 'appliances') {
  const path = `/api/query?type=catalog&format=records&filter=name==${name}`;
  return pathOf(
    attribute((await call(base, path, { headers })).body.split('CatalogRecord')[1] ?? '', 'href'),
  );
}

/** Creates a template and returns the paths of item and entity. */
async function created(base: string, headers: Record<string, string>, body: string, type = PARAMS) {
  const catalog = await call(base, await catalogPath(base, headers), { headers });
  const answer = await call(base, linkPath(catalog.body, 'add', type), {
    method: 'POST',
    headers: { ...headers, 'content-type': type },
    body,
  });
  const entity = /<Entity [^>]*>/.exec(answer.body)?.[0] ?? '';
  return {
    answer,
    item: answer.status === 201 ? pathOf(attribute(answer.body, 'href')) : '',
    entity: entity === '' ? '' : pathOf(attribute(entity, 'href')),
  };
}

const fileLink = (xml: string, name: string): string => {
  const file = xml.split('<File ').find((part) => attribute(` ${part}`, 'name') === name) ?? '';
  return pathOf(attribute(file, 'href'));
};

describe('login and versions', () => {
  test('versions need no login and no Accept, and tell where to log in', () =>
    withSimulator(async (base) => {
      const { status, body } = await call(base, '/api/versions');
      expect(status).toBe(200);
      expect(body).toContain('<Version>37.0</Version>');
      expect(body).toContain('/cloudapi/1.0.0/sessions/provider</ProviderLoginUrl>');
      expect(body).toMatch(/<VersionInfo deprecated="false">/);
    }));

  test('the cloudapi login answers exactly 200 with the token in a header, over 32 characters', () =>
    withSimulator(async (base) => {
      for (const accept of ['application/json;version=36.3', 'application/*;version=37.0']) {
        const { status, headers } = await call(base, '/cloudapi/1.0.0/sessions', {
          method: 'POST',
          headers: { authorization: basic('admin@acme', 'simulated'), accept },
        });
        expect(status).toBe(200);
        expect(String(headers['x-vmware-vcloud-access-token']).length).toBeGreaterThan(32);
      }
    }));

  test('a wrong password is a 401 without a body', () =>
    withSimulator(async (base) => {
      const answer = await call(base, '/cloudapi/1.0.0/sessions', {
        method: 'POST',
        headers: {
          authorization: basic('admin@acme', 'no'),
          accept: 'application/json;version=36.3',
        },
      });
      expect(answer).toMatchObject({ status: 401, body: '' });
      expect(answer.headers['www-authenticate']).toBe('BASIC realm="vCloud"');
    }));

  test('GET /api/session has org, user and exactly one link to the organisation', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { body } = await call(base, '/api/session', { headers });
      expect(attribute(body, 'org')).toBe('acme');
      expect(attribute(body, 'user')).toBe('admin');
      expect(body.match(/vcloud\.org\+xml/g)).toHaveLength(1);
      expect(body).toContain('vcloud.orgList+xml');
      expect(body).toContain('vcloud.query.queryList+xml');
    }));

  test('below 33 the old login gives a token of 32 digits and the session itself', () =>
    withSimulator(
      async (base) => {
        const login = await call(base, '/api/sessions', {
          method: 'POST',
          headers: {
            authorization: basic('admin@acme', 'simulated'),
            accept: 'application/*+xml;version=31.0',
          },
        });
        expect(login.headers['x-vcloud-authorization']).toMatch(/^[0-9a-f]{32}$/);
        expect(login.body).toContain('<Session ');
        const headers = {
          'x-vcloud-authorization': String(login.headers['x-vcloud-authorization']),
          accept: 'application/*+xml;version=31.0',
        };
        const list = await call(base, '/api/org', { headers });
        const org = await call(
          base,
          pathOf(attribute(/<Org [^>]*>/.exec(list.body)?.[0] ?? '', 'href')),
          {
            headers,
          },
        );
        expect(linkPath(org.body, 'down', 'vcloud.catalog+xml')).toMatch(/^\/api\/catalog\//);
      },
      { api: ['31.0'] },
    ));

  test('from 38 on the old login is gone', () =>
    withSimulator(async (base) => {
      const { status } = await call(base, '/api/sessions', {
        method: 'POST',
        headers: {
          authorization: basic('admin@acme', 'simulated'),
          accept: 'application/*+xml;version=38.1',
        },
      });
      expect([403, 404, 405]).toContain(status);
    }));

  test("go's three ways of sending the token at once are one login", () =>
    withSimulator(async (base) => {
      const { authorization, accept } = await loggedIn(base);
      const token = String(authorization).split(' ')[1] as string;
      const { status } = await call(base, '/api/org', {
        headers: {
          accept: accept as string,
          authorization: `bearer ${token}`,
          'x-vmware-vcloud-access-token': token,
          'x-vmware-vcloud-token-type': 'Bearer',
        },
      });
      expect(status).toBe(200);
    }));

  test.each([
    ['DELETE', '/api/session'],
    ['DELETE', '/cloudapi/1.0.0/sessions'],
  ])('%s %s logs out with 204', (method, path) =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      expect((await call(base, path, { method, headers })).status).toBe(204);
      expect(await call(base, '/api/org', { headers })).toMatchObject({ status: 401, body: '' });
    }),
  );

  test('a version that is not served is a 406 in words', () =>
    withSimulator(async (base) => {
      const headers = { ...(await loggedIn(base)), accept: 'application/*+xml;version=12.0' };
      const { status, body } = await call(base, '/api/org', { headers });
      expect(status).toBe(406);
      expect(body).toContain('No valid API version can be selected.');
    }));

  test('no token at all is 403, an unknown object is 403 in words', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { authorization: _none, ...anonymous } = headers;
      expect((await call(base, '/api/org', { headers: anonymous })).status).toBe(403);
      const { status, body } = await call(base, '/api/catalog/none', { headers });
      expect(status).toBe(403);
      expect(attribute(body, 'minorErrorCode')).toBe('ACCESS_TO_RESOURCE_IS_FORBIDDEN');
      expect(attribute(body, 'message')).toMatch(/^\[ [\w-]+ \] /);
    }));
});

describe('finding the catalog', () => {
  test('the organisation has name, id, href, and links to queries for catalogs and vDCs', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const session = await call(base, '/api/session', { headers });
      const { body } = await call(base, linkPath(session.body, 'down', 'vcloud.org+xml'), {
        headers,
      });
      expect(attribute(body, 'id')).toMatch(/^urn:vcloud:org:/);
      expect(body).toMatch(/rel="down" href="[^"]*catalog[^"]*" type="[^"]*query.records\+xml"/);
      expect(body).toMatch(/rel="down" href="[^"]*[vV]dc[^"]*" type="[^"]*query.records\+xml"/);
      const query = pathOf(
        /href="([^"]*orgVdc[^"]*)"/.exec(body)?.[1]?.replaceAll('&amp;', '&') ?? '',
      );
      expect((await call(base, query, { headers })).body).toContain('total="1"');
    }));

  test("go's query begins with & and asks for an encoded filter", () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base, '37.0');
      const path = '/api/query?&type=catalog&filter=name==appliances&filterEncoded=true';
      const { body } = await call(base, path, { headers });
      // Another organisation shares one of the same name: whose it is stands in the record.
      expect(attribute(body, 'total')).toBe('2');
      expect(body.match(/orgName="acme"/g)).toHaveLength(1);
      expect(body.match(/orgName="globex"/g)).toHaveLength(1);
    }));

  test('a filter may hold a semicolon', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      await created(base, headers, `<UploadVAppTemplateParams name="a b" ${NS}/>`);
      const path = '/api/query?&type=vAppTemplate&filter=catalogName==appliances;name==a%20b';
      expect(attribute((await call(base, path, { headers })).body, 'total')).toBe('1');
      const other = path.replace('a%20b', 'c');
      expect(attribute((await call(base, other, { headers })).body, 'total')).toBe('0');
    }));

  test('the list of queries names them in three formats', () =>
    withSimulator(async (base) => {
      const { body } = await call(base, '/api/query', { headers: await loggedIn(base) });
      for (const name of ['catalog', 'media', 'vAppTemplate', 'task']) {
        for (const format of ['records', 'idrecords', 'references']) {
          expect(body).toMatch(new RegExp(`query.${format}\\+xml" name="${name}"`));
        }
      }
    }));

  test('an empty catalog still has CatalogItems, and both add links', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { body } = await call(base, await catalogPath(base, headers), { headers });
      expect(body).toContain('<CatalogItems/>');
      expect(linkPath(body, 'add', PARAMS)).toMatch(/action\/upload$/);
      expect(linkPath(body, 'add', MEDIA)).toMatch(/action\/upload$/);
    }));

  test('a read-only catalog has no add links and refuses', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const path = await catalogPath(base, headers, 'published');
      const { body } = await call(base, path, { headers });
      expect(body).not.toContain('rel="add"');
      const { status } = await call(base, `${path}/action/upload`, {
        method: 'POST',
        headers: { ...headers, 'content-type': PARAMS },
        body: `<UploadVAppTemplateParams name="x" ${NS}/>`,
      });
      expect(status).toBe(403);
    }));

  test('items are listed with name, href and type', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { item } = await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      const { body } = await call(base, await catalogPath(base, headers), { headers });
      const entry = /<CatalogItem [^>]*>/.exec(body)?.[0] ?? '';
      expect(attribute(entry, 'name')).toBe('x');
      expect(pathOf(attribute(entry, 'href'))).toBe(item);
      expect(attribute(entry, 'type')).toContain('catalogItem+xml');
    }));
});

describe('uploading', () => {
  const bytes = randomBytes(5_000);
  const range = (start: number, end: number, total = bytes.length) => ({
    method: 'PUT',
    headers: { 'content-range': `bytes ${start}-${end - 1}/${total}` },
    body: bytes.subarray(start, end),
  });

  async function described(base: string, headers: Record<string, string>, attributes = '') {
    const params = `<UploadVAppTemplateParams name="box" ${attributes} ${NS}><Description>d</Description></UploadVAppTemplateParams>`;
    const { entity, item } = await created(base, headers, params);
    const first = await call(base, entity, { headers });
    const descriptor = descriptorOf([{ href: 'disk.vmdk', size: bytes.length }]);
    const put = await call(base, fileLink(first.body, 'descriptor.ovf'), {
      method: 'PUT',
      headers: { 'content-type': 'text/xml' },
      body: descriptor,
    });
    return { entity, item, first, put, descriptor };
  }

  test('the new item names its entity with href and type', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { answer } = await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      expect(answer.status).toBe(201);
      expect(answer.body).toMatch(/<Entity href="[^"]+" type="[^"]*vAppTemplate\+xml" name="x"\/>/);
    }));

  test('the first look shows exactly one File and a running task', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      const { body } = await call(base, entity, { headers });
      expect(body.match(/<File /g)).toHaveLength(1);
      expect(attribute(body, 'status')).toBe('0');
      expect(attribute(body, 'ovfDescriptorUploaded')).toBe('false');
      const task = /<Task .*<\/Task>/.exec(body)?.[0] ?? '';
      expect(task).toContain('operationName="vdcUploadOvfContents"');
      expect(task).toContain('status="running"');
      expect(task).toMatch(/<Owner href="[^"]+" name="x"/);
      expect((await call(base, pathOf(attribute(task, 'href')), { headers })).status).toBe(200);
    }));

  test('media shows its only file and a task, too', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const body = `<Media name="i" size="10" imageType="iso" ${NS}><Description>d</Description></Media>`;
      const { entity } = await created(base, headers, body, MEDIA);
      const media = await call(base, entity, { headers });
      expect(media.body.match(/<File /g)).toHaveLength(1);
      expect(media.body).toContain('<Tasks><Task ');
      const path = fileLink(media.body, 'file');
      expect(path).toMatch(/\/file$/);
      const put = await call(base, path, { method: 'PUT', body: '0123456789' });
      expect(put.status).toBe(200);
      expect(attribute((await call(base, entity, { headers })).body, 'status')).toBe('1');
    }));

  test('the descriptor is answered with nothing; then each file is listed as the descriptor names it', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity, put, descriptor } = await described(base, headers);
      expect(put).toMatchObject({ status: 200, body: '' });
      expect(put.headers['x-vmware-vcloud-request-id']).toBeUndefined();
      const { body } = await call(base, entity, { headers });
      expect(attribute(body, 'ovfDescriptorUploaded')).toBe('true');
      expect(body).toContain(
        `<File size="${descriptor.length}" bytesTransferred="${descriptor.length}" name="descriptor.ovf">`,
      );
      expect(body).toContain('<File size="5000" bytesTransferred="0" name="disk.vmdk">');
    }));

  test('ranges are answered with exactly 200 and nothing, without a version in Accept or a login', () =>
    withSimulator(async (base, simulator) => {
      const headers = await loggedIn(base);
      const { entity } = await described(base, headers);
      const path = fileLink((await call(base, entity, { headers })).body, 'disk.vmdk');
      for (const [start, end] of [
        [0, 2_000],
        [2_000, 5_000],
      ] as const) {
        const { headers: sent, ...rest } = range(start, end);
        const answer = await call(base, path, { ...rest, headers: { ...sent, accept: '*/*' } });
        expect(answer).toMatchObject({ status: 200, body: '' });
      }
      const { body } = await call(base, entity, { headers });
      expect(attribute(body, 'status')).toBe('8');
      expect(body).not.toContain('<Files>');
      expect(simulator.items()[0]?.files[1]?.sha256).toBe(digest(bytes));
    }));

  test('a range that does not begin at the last byte stored is a 416 in words', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await described(base, headers);
      const path = fileLink((await call(base, entity, { headers })).body, 'disk.vmdk');
      await call(base, path, range(0, 2_000));
      for (const [start, end] of [
        [0, 2_000],
        [1_000, 3_000],
        [3_000, 5_000],
      ] as const) {
        expect(await call(base, path, range(start, end))).toMatchObject({
          status: 416,
          reason: 'Content-Range not satisifiable: Request must begin at the last byte stored',
          body: '',
        });
      }
      expect((await call(base, path, range(2_000, 5_000))).status).toBe(200);
    }));

  test('a range that contradicts itself closes the connection', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await described(base, headers);
      const path = fileLink((await call(base, entity, { headers })).body, 'disk.vmdk');
      const wrong = { ...range(0, 2_000), headers: { 'content-range': 'bytes 0-2000/5000' } };
      await expect(call(base, path, wrong)).rejects.toThrow();
    }));

  test('a total other than the size is refused', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await described(base, headers);
      const path = fileLink((await call(base, entity, { headers })).body, 'disk.vmdk');
      expect(await call(base, path, range(0, 2_000, 4_000))).toMatchObject({
        status: 400,
        reason: 'Client sent more data than expected',
        body: '',
      });
    }));

  test('a file without a size in the descriptor is listed with -1', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      const first = await call(base, entity, { headers });
      const body = descriptorOf([{ href: 'disk.vmdk' }]);
      await call(base, fileLink(first.body, 'descriptor.ovf'), { method: 'PUT', body });
      expect((await call(base, entity, { headers })).body).toContain(
        '<File size="-1" bytesTransferred="0" name="disk.vmdk">',
      );
    }));

  test('a manifest that is asked for is waited for, and believed', () =>
    withSimulator(async (base) => {
      for (const [name, right] of [
        ['right', true],
        ['wrong', false],
      ] as const) {
        const headers = await loggedIn(base);
        const { entity, descriptor, item } = await described(
          base,
          headers,
          'manifestRequired="true"',
        );
        const { body } = await call(base, entity, { headers });
        await call(base, fileLink(body, 'disk.vmdk'), range(0, 5_000));
        const sums = [
          `SHA256(box.ovf)= ${digest(descriptor)}`,
          `SHA256(disk.vmdk)= ${right ? digest(bytes) : digest(descriptor)}`,
        ].join('\n');
        await call(base, fileLink(body, 'manifest.mf'), { method: 'PUT', body: sums });
        const after = await call(base, entity, { headers });
        expect({ name, status: attribute(after.body, 'status') }).toEqual({
          name,
          status: right ? '8' : '-1',
        });
        if (!right) {
          const error = /<Error [^>]*>/.exec(after.body)?.[0] ?? '';
          expect(attribute(error, 'message')).toMatch(/checksum of disk\.vmdk/);
        }
        await call(base, item, { method: 'DELETE', headers });
      }
    }));

  test('a descriptor that is not valid fails the task with an Error child', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { entity } = await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      const first = await call(base, entity, { headers });
      const put = { method: 'PUT', body: '<html/>' };
      await call(base, fileLink(first.body, 'descriptor.ovf'), put);
      const { body } = await call(base, entity, { headers });
      expect(attribute(body, 'status')).toBe('-1');
      expect(body).toMatch(/<Task [^>]*status="error".*<Error [^>]*message=/);
    }));

  test.each([
    [
      'an element in the wrong order',
      `<UploadVAppTemplateParams name="x" ${NS}><VdcStorageProfile href="h"/><Description/></UploadVAppTemplateParams>`,
    ],
    ['the wrong namespace', '<UploadVAppTemplateParams name="x" xmlns="urn:x"/>'],
    ['an attribute that does not exist', `<UploadVAppTemplateParams name="x" colour="red" ${NS}/>`],
    ['a document type', `<!DOCTYPE a><UploadVAppTemplateParams name="x" ${NS}/>`],
    ['another document', `<Media name="x" size="1" ${NS}/>`],
    ['no XML', 'hello'],
  ])('%s is a 400 of the validating parser', (_name, body) =>
    withSimulator(async (base) => {
      const { answer } = await created(base, await loggedIn(base), body);
      expect(answer.status).toBe(400);
      expect(attribute(answer.body, 'minorErrorCode')).toBe('BAD_REQUEST');
    }),
  );

  test('a name that is taken is a 400 DUPLICATE_NAME, for templates and media alike', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      await created(base, headers, `<UploadVAppTemplateParams name="x" ${NS}/>`);
      const media = `<Media name="x" size="1" imageType="iso" ${NS}/>`;
      for (const [body, type] of [
        [`<UploadVAppTemplateParams name="x" ${NS}/>`, PARAMS],
        [media, MEDIA],
      ] as const) {
        const { answer } = await created(base, headers, body, type);
        expect(answer.status).toBe(400);
        expect(attribute(answer.body, 'minorErrorCode')).toBe('DUPLICATE_NAME');
      }
    }));

  test("go's query with an encoded question mark does no harm", () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const { status } = await call(base, '/api/query%3Ftype=task&format=records', { headers });
      expect(status).toBeGreaterThanOrEqual(400);
      expect((await call(base, '/api/org', { headers })).status).toBe(200);
    }));
});

describe('afterwards', () => {
  const make = async (base: string, headers: Record<string, string>) => {
    const { item, entity } = await created(
      base,
      headers,
      `<UploadVAppTemplateParams name="x" ${NS}/>`,
    );
    const first = await call(base, entity, { headers });
    const put = { method: 'PUT', body: descriptorOf([]) };
    await call(base, fileLink(first.body, 'descriptor.ovf'), put);
    return { item, entity, first };
  };

  test('an item is removed by its own address, also with force and recursive', () =>
    withSimulator(async (base, simulator) => {
      const headers = await loggedIn(base);
      const { item } = await make(base, headers);
      const path = `${item}?force=False&recursive=False`;
      expect((await call(base, path, { method: 'DELETE', headers })).status).toBe(204);
      expect(simulator.items()).toEqual([]);
    }));

  test("an entity's removal is answered with a task", () =>
    withSimulator(async (base, simulator) => {
      const headers = await loggedIn(base);
      const { entity } = await make(base, headers);
      const { body, status } = await call(base, entity, { method: 'DELETE', headers });
      expect(status).toBe(202);
      expect(attribute(body, 'status')).toBe('success');
      const task = await call(base, pathOf(attribute(body, 'href')), { headers });
      expect(task.status).toBe(200);
      expect(simulator.items()).toEqual([]);
    }));

  test('a busy item is not removed; cancelling its task removes it', () =>
    withSimulator(async (base, simulator) => {
      const headers = await loggedIn(base);
      const { item, entity } = await created(
        base,
        headers,
        `<UploadVAppTemplateParams name="x" ${NS}/>`,
      );
      const refused = await call(base, item, { method: 'DELETE', headers });
      expect(attribute(refused.body, 'minorErrorCode')).toBe('BUSY_ENTITY');
      const { body } = await call(base, entity, { headers });
      await call(base, linkPath(body, 'task:cancel'), { method: 'POST', headers });
      expect(simulator.items()).toEqual([]);
    }));

  test('requests are answered with their own id in front', () =>
    withSimulator(async (base) => {
      const headers = { ...(await loggedIn(base)), 'x-vmware-vcloud-client-request-id': 'job-7' };
      const answer = await call(base, '/api/org', { headers });
      expect(answer.headers['x-vmware-vcloud-request-id']).toMatch(/^job-7-[0-9a-f-]{36}$/);
    }));
});

describe('what was seen on the wire', () => {
  test('go asks with two Accept headers, of which the second names no type', () =>
    withSimulator(async (base) => {
      const { authorization = '' } = await loggedIn(base);
      const accept = ['application/*+xml;version=37.0', '*+xml;version=37.0'];
      const { status } = await call(base, '/api/org', { headers: { authorization, accept } });
      expect(status).toBe(200);
    }));

  test('answers carry the headers of a 9.x, and the older login a cookie that is a login, too', () =>
    withSimulator(
      async (base) => {
        const accept = 'application/*+xml;version=32.0';
        const login = await call(base, '/api/sessions', {
          method: 'POST',
          headers: { authorization: basic('admin@acme', 'simulated'), accept },
        });
        expect(login.headers).toMatchObject({
          'x-vmware-vcloud-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
          'x-vmware-vcloud-request-execution-time': expect.stringMatching(/^\d+$/),
          'content-type': 'application/vnd.vmware.vcloud.session+xml;version=32.0',
          vary: expect.any(String),
        });
        const [cookie = ''] = login.headers['set-cookie'] as string[];
        expect(cookie).toMatch(/^vcloud-token=[0-9a-f]{32}; Secure; Path=\/$/);
        const headers = { cookie: cookie.split(';')[0] ?? '', accept };
        expect((await call(base, '/api/org', { headers })).status).toBe(200);
      },
      { release: '9.7' },
    ));

  test.each([
    ['iso', 'iso'],
    ['img', 'other'],
    ['', 'other'],
  ])("pyvcloud names media by the item's ending (%j): it is of type %s", (said, imageType) =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const body = `<Media name="x" size="1" imageType="${said}" ${NS}/>`;
      const { entity } = await created(base, headers, body, MEDIA);
      expect(attribute((await call(base, entity, { headers })).body, 'imageType')).toBe(imageType);
    }),
  );

  test('an item has a bare id in its catalog, and a template an URN that leads to its address', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const params = `<UploadVAppTemplateParams name="box" ${NS}/>`;
      const { entity } = await created(base, headers, params);
      const { body: catalog } = await call(base, await catalogPath(base, headers), { headers });
      expect(attribute(/<CatalogItem [^>]*>/.exec(catalog)?.[0] ?? '', 'id')).toMatch(
        /^[0-9a-f-]{36}$/,
      );
      const { body } = await call(base, entity, { headers });
      const [, id = ''] = /urn:vcloud:vapptemplate:([0-9a-f-]{36})/.exec(body) ?? [];
      expect(entity).toBe(`/api/vAppTemplate/vappTemplate-${id}`);
    }));

  test('the descriptor has a count of its own once it is sent: go sends again what has none', () =>
    withSimulator(async (base) => {
      const headers = await loggedIn(base);
      const params = `<UploadVAppTemplateParams name="box" ${NS}/>`;
      const { entity } = await created(base, headers, params);
      const descriptor = descriptorOf([{ href: 'd.vmdk', size: 5 }]);
      const href = fileLink((await call(base, entity, { headers })).body, 'descriptor.ovf');
      await call(base, href, {
        method: 'PUT',
        headers: { 'content-length': String(descriptor.length) },
        body: descriptor,
      });
      const { body } = await call(base, entity, { headers });
      const [own = ''] = body
        .split('<File ')
        .filter((file) => file.includes('name="descriptor.ovf"'));
      expect(attribute(` ${own}`, 'bytesTransferred')).toBe(String(descriptor.length));
    }));

  test('a proxy that wants a login for what vCD wants none for is a rule', () =>
    withSimulator(async (base, { world }) => {
      const headers = await loggedIn(base);
      const body = `<Media name="x" size="1" ${NS}/>`;
      const { entity } = await created(base, headers, body, MEDIA);
      const href = fileLink((await call(base, entity, { headers })).body, 'file');
      world.faults.add({
        on: { method: 'PUT', without: 'Authorization' },
        times: 0,
        do: { status: 403 },
      });
      const put = { method: 'PUT', body: 'x' };
      const bare = { 'content-length': '1' };
      expect((await call(base, href, { ...put, headers: bare })).status).toBe(403);
      const named = { ...bare, authorization: headers['authorization'] ?? '' };
      expect((await call(base, href, { ...put, headers: named })).status).toBe(200);
    }));
});
