import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { until } from '../helpers/cli.ts';
import { withClock } from '../helpers/clock.ts';
import { attribute, call, linkPath, pathOf } from '../helpers/http.ts';
import { descriptorOf } from '../helpers/packages.ts';
import { assertionFor } from '../helpers/saml.ts';
import { withFolder } from '../helpers/temp.ts';

/** What the simulator is strict about besides uploading itself: rights, limits, time, and the queries. */

const NS = 'xmlns="http://www.vmware.com/vcloud/v1.5"';
const MEDIA = 'application/vnd.vmware.vcloud.media+xml';
const PARAMS = 'application/vnd.vmware.vcloud.uploadVAppTemplateParams+xml';

/** Somebody who is logged in. */
interface Client {
  get(path: string): ReturnType<typeof call>;
  send(method: string, path: string, body?: string, type?: string): ReturnType<typeof call>;
  /** Path of a catalog that this client sees. */
  catalog(name: string, org?: string): Promise<string>;
  media(name: string, size: number): Promise<{ status: number; body: string; entity: string }>;
  put(href: string, body: Buffer): ReturnType<typeof call>;
  entity(path: string): Promise<string>;
}

async function withSimulator<T>(
  options: SimulatorOptions,
  use: (
    simulator: Simulator,
    as: (org: string, user: string, more?: object) => Client,
  ) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator(options);
  try {
    return await use(simulator, (org, user, more = {}) => clientOf(simulator, { org, user }, more));
  } finally {
    await simulator.close();
  }
}

function clientOf(simulator: Simulator, who: { org: string; user: string }, more: object): Client {
  const { url, world } = simulator;
  const account = world.sessions.accounts.find(
    ({ org, user }) => org === who.org && user === who.user,
  );
  const [token = ''] = world.sessions.open(account as never, ['jwt']);
  const headers = {
    accept: 'application/*+xml;version=37.0',
    authorization: `Bearer ${token}`,
    ...more,
  };
  const client: Client = {
    get: (path) => call(url, path, { headers }),
    send: (method, path, body = '', type = '') =>
      call(url, path, {
        method,
        headers: { ...headers, ...(type === '' ? {} : { 'content-type': type }) },
        body,
      }),
    async catalog(name, org = 'acme') {
      const { body } = await client.get(`/api/query?type=catalog&filter=name==${name}`);
      const records = body.split('<CatalogRecord').filter((r) => r.includes(`orgName="${org}"`));
      return pathOf(attribute(records[0] ?? '', 'href'));
    },
    async media(name, size) {
      const path = `${await client.catalog('appliances')}/action/upload`;
      const body = `<Media ${NS} name="${name}" size="${size}"/>`;
      const answer = await client.send('POST', path, body, MEDIA);
      const entity = /<Entity [^>]*>/.exec(answer.body)?.[0] ?? '';
      return { ...answer, entity: entity === '' ? '' : pathOf(attribute(entity, 'href')) };
    },
    put: (href, body) =>
      call(url, pathOf(href), {
        method: 'PUT',
        headers: { 'content-length': String(body.length) },
        body,
      }),
    entity: async (path) => (await client.get(path)).body,
  };
  return client;
}

const uploadHref = (xml: string): string => /href="([^"]*\/transfer\/[^"]*)"/.exec(xml)?.[1] ?? '';

describe('rights', () => {
  test.each([
    ['acme', 'admin', 'appliances', 'acme', true, true],
    ['acme', 'author', 'appliances', 'acme', true, true],
    ['acme', 'reader', 'appliances', 'acme', true, false],
    ['acme', 'admin', 'published', 'acme', true, false],
    ['acme', 'admin', 'subscribed', 'acme', true, false],
    ['acme', 'admin', 'appliances', 'globex', true, false],
    ['acme', 'admin', 'tools', 'globex', true, false],
    ['globex', 'admin', 'appliances', 'globex', true, true],
    ['globex', 'admin', 'published', 'acme', false, false],
    ['System', 'administrator', 'appliances', 'acme', true, true],
    ['System', 'administrator', 'subscribed', 'acme', true, false],
  ])('%s/%s and catalog %s of %s: sees it %s, adds to it %s', (org, user, name, of, sees, adds) =>
    withSimulator({}, async ({ world }, as) => {
      const client = as(org, user);
      const catalog = world.orgs
        .flatMap(({ catalogs }) => catalogs)
        .find((c) => c.name === name && c.org.name === of);
      const path = `/api/catalog/${catalog?.id}`;
      const { status, body } = await client.get(path);
      expect(status).toBe(sees ? 200 : 403);
      expect(linkPath(body, 'add', 'media') !== '').toBe(adds);
      const media = `<Media ${NS} name="x" size="1"/>`;
      const added = await client.send('POST', `${path}/action/upload`, media, MEDIA);
      expect(added.status).toBe(adds ? 201 : 403);
      // Who lacks the right itself is told which.
      const named = 'vApp Template / Media: Create / Upload';
      expect(added.body.includes(named)).toBe(user === 'reader');
    }),
  );

  test("what is another organisation's is neither read, edited nor removed", () =>
    withSimulator({}, async (_simulator, as) => {
      const { entity, body } = await as('acme', 'admin').media('ours', 5);
      const item = pathOf(attribute(body, 'href'));
      const other = as('globex', 'admin');
      for (const [method, path] of [
        ['GET', entity],
        ['GET', item],
        ['GET', `${entity}/metadata`],
        ['DELETE', entity],
        ['DELETE', item],
        ['POST', `${entity}/action/enableDownload`],
      ] as const) {
        expect([path, (await other.send(method, path)).status]).toEqual([path, 403]);
      }
      expect((await other.get('/api/query?type=media')).body).toContain('total="0"');
      expect((await other.get('/api/query?type=task')).body).toContain('total="0"');
    }));

  test("a task is its organisation's, and who may only read cancels none", () =>
    withSimulator({}, async ({ items }, as) => {
      const { entity } = await as('acme', 'admin').media('ours', 5);
      const [task = ''] =
        /href="[^"]*(\/api\/task\/[^"/]+)"/
          .exec(await as('acme', 'admin').entity(entity))
          ?.slice(1) ?? [];
      expect((await as('globex', 'admin').get(task)).status).toBe(403);
      for (const client of [as('globex', 'admin'), as('acme', 'reader')]) {
        expect((await client.send('POST', `${task}/action/cancel`)).status).toBe(403);
      }
      expect(items()).toHaveLength(1);
      const seen = await as('acme', 'reader').entity(entity);
      // Whoever has such an address can write.
      expect(seen).not.toMatch(/upload:default|task:cancel/);
    }));

  test('who may only read edits and removes nothing', () =>
    withSimulator({}, async (_simulator, as) => {
      const { entity } = await as('acme', 'admin').media('ours', 5);
      const reader = as('acme', 'reader');
      const { status, body } = await reader.get(entity);
      expect(status).toBe(200);
      expect(body).not.toMatch(/rel="(edit|remove)"/);
      expect((await reader.send('DELETE', entity)).status).toBe(403);
      const edited = `<Media ${NS} name="theirs" size="5"/>`;
      expect((await reader.send('PUT', entity, edited, MEDIA)).status).toBe(403);
    }));

  test('a provider with a tenant context is that tenant; a tenant has no use of one', () =>
    withSimulator({}, async ({ world }, as) => {
      const globex = world.orgs.find(({ name }) => name === 'globex')?.id ?? '';
      const context = { 'x-vmware-vcloud-tenant-context': globex };
      const orgs = async (client: Client) =>
        [...(await client.get('/api/org')).body.matchAll(/ name="(\w+)"/g)].map(([, name]) => name);
      expect(await orgs(as('System', 'administrator', context))).toEqual(['globex']);
      expect(await orgs(as('System', 'administrator'))).toEqual(['System', 'acme', 'globex']);
      expect(await orgs(as('acme', 'admin', context))).toEqual(['acme']);
      const nobody = as('System', 'administrator', { 'x-vmware-vcloud-tenant-context': 'none' });
      expect((await nobody.get('/api/org')).status).toBe(403);
    }));
});

describe('limits', () => {
  test('of operations count what is under way, of a user and of the organisation', () =>
    withSimulator({ operationsPerUser: 1, operationsPerOrg: 2 }, async (_simulator, as) => {
      const [admin, author] = [as('acme', 'admin'), as('acme', 'author')];
      const first = await admin.media('one', 1);
      const second = await admin.media('two', 1);
      expect(second).toMatchObject({ status: 400 });
      expect(attribute(second.body, 'minorErrorCode')).toBe('OPERATION_LIMITS_EXCEEDED');
      expect(second.body).toContain('user &quot;admin&quot; on organization &quot;acme&quot;');
      expect((await author.media('three', 1)).status).toBe(201);
      await admin.put(uploadHref(await admin.entity(first.entity)), Buffer.from('1'));
      // The first is imported; the author's own is still under way.
      expect((await admin.media('four', 1)).status).toBe(201);
      expect((await author.media('five', 1)).status).toBe(400);
    }));

  test('of a storage profile refuse media at once, and a template when it is imported', () =>
    withSimulator({ storageProfiles: { Gold: 1024 * 1024 } }, async (_simulator, as) => {
      const admin = as('acme', 'admin');
      const media = await admin.media('big', 1024 * 1024 + 1);
      expect(media.status).toBe(400);
      expect(attribute(media.body, 'minorErrorCode')).toContain('QUOTA');
      const path = `${await admin.catalog('appliances')}/action/upload`;
      const body = `<UploadVAppTemplateParams ${NS} name="box"/>`;
      const created = await admin.send('POST', path, body, PARAMS);
      expect(created.status).toBe(201);
      const entity = pathOf(attribute(/<Entity [^>]*>/.exec(created.body)?.[0] ?? '', 'href'));
      const bytes = randomBytes(1024 * 1024 + 1);
      const descriptor = descriptorOf([{ href: 'd.vmdk', size: bytes.length }]);
      await admin.put(uploadHref(await admin.entity(entity)), descriptor);
      const [, disk = ''] = [
        ...(await admin.entity(entity)).matchAll(/href="([^"]*\/transfer\/[^"]*)"/g),
      ].map(([, href]) => href);
      expect((await admin.put(disk, bytes)).status).toBe(200);
      const failed = await admin.entity(entity);
      expect(attribute(failed, 'status')).toBe('-1');
      expect(failed).toMatch(/minorErrorCode="[A-Z_]*QUOTA/);
    }));

  test('of the transfer store answer 500 and keep nothing of the range, until an import makes room', () =>
    withSimulator({ transferStoreBytes: 15, importTimeMs: 100 }, async ({ items }, as) => {
      const admin = as('acme', 'admin');
      const [one, two] = [await admin.media('one', 10), await admin.media('two', 10)];
      await admin.put(uploadHref(await admin.entity(one.entity)), randomBytes(10));
      const href = uploadHref(await admin.entity(two.entity));
      const full = await admin.put(href, randomBytes(10));
      expect(full).toMatchObject({ status: 500, body: '', reason: 'Error persisting client data' });
      expect(items().find(({ name }) => name === 'two')?.files[0]?.received).toBe(0);
      await until('room', async () => (await admin.put(href, randomBytes(10))).status === 200);
    }));

  test('of imports at once let the others wait, as tasks that have not begun', () =>
    withSimulator({ importSlots: 1, importMsPerGB: 400_000_000_000 }, async (_simulator, as) => {
      const admin = as('acme', 'admin'); // 400 ms for each byte
      const items = [await admin.media('one', 2), await admin.media('two', 2)];
      for (const { entity } of items) {
        await admin.put(uploadHref(await admin.entity(entity)), randomBytes(2));
      }
      const stateOf = async (item = items[0]) => {
        const body = await admin.entity(item?.entity ?? '');
        return /<Task [^>]*status="(\w+)"/.exec(body)?.[1] ?? 'done';
      };
      expect(await stateOf(items[1])).toBe('preRunning');
      expect(await stateOf(items[0])).toBe('running');
      await until('the second import', async () => (await stateOf(items[1])) === 'running');
      expect(await stateOf(items[0])).toBe('done');
      await until('its end', async () => (await stateOf(items[1])) === 'done');
    }));
});

describe('time', () => {
  test('ends a session that idles, and any session in the end', () =>
    withClock((clock) =>
      withSimulator({ sessionIdleMs: 300, sessionAbsoluteMs: 900 }, async (_simulator, as) => {
        const [idle, busy] = [as('acme', 'admin'), as('acme', 'admin')];
        const statuses: number[] = [];
        for (let i = 0; i < 5; i += 1) {
          clock.forward(150);
          statuses.push((await busy.get('/api/org')).status);
        }
        expect(statuses).toEqual([200, 200, 200, 200, 200]);
        expect(await idle.get('/api/org')).toMatchObject({ status: 401, body: '' });
        clock.forward(200);
        expect(await busy.get('/api/org')).toMatchObject({ status: 401, body: '' });
      }),
    ));

  test('removes a template whose lease has run out', () =>
    withClock((clock) =>
      withSimulator({ templateLeaseSeconds: 600 }, async (_simulator, as) => {
        const admin = as('acme', 'admin');
        const path = `${await admin.catalog('appliances')}/action/upload`;
        const body = `<UploadVAppTemplateParams ${NS} name="box"/>`;
        const created = await admin.send('POST', path, body, PARAMS);
        const entity = pathOf(attribute(/<Entity [^>]*>/.exec(created.body)?.[0] ?? '', 'href'));
        await admin.put(uploadHref(await admin.entity(entity)), descriptorOf([]));
        const ready = await admin.entity(entity);
        expect(ready).toContain('<StorageLeaseExpiration>');
        clock.forward(599_000);
        expect((await admin.get(entity)).status).toBe(200);
        clock.forward(2_000);
        expect((await admin.get(entity)).status).toBe(403);
      }),
    ));
});

describe('the query service', () => {
  const names = ['alpha', 'beta', 'gamma', 'a(b),c;d', 'x y'];

  const withItems = <T>(
    use: (ask: (query: string) => Promise<string[]>, client: Client) => Promise<T>,
  ) =>
    withSimulator({}, async (_simulator, as) => {
      const admin = as('acme', 'admin');
      for (const [i, name] of names.entries()) await admin.media(name, (i + 1) * 10);
      const ask = async (query: string): Promise<string[]> => {
        const { body } = await admin.get(`/api/query?type=media&${query}`);
        return [...body.matchAll(/<MediaRecord name="([^"]*)"/g)].map(([, name = '']) => name);
      };
      return use(ask, admin);
    });

  test.each([
    ['name==beta', ['beta']],
    ['name!=beta', ['alpha', 'gamma', 'a(b),c;d', 'x y']],
    ['name==*a', ['alpha', 'beta', 'gamma']],
    ['storageB=lt=20', ['alpha']],
    ['storageB=le=20', ['alpha', 'beta']],
    ['storageB=gt=40', ['x y']],
    ['storageB=ge=40', ['a(b),c;d', 'x y']],
    ['name==alpha,name==gamma', ['alpha', 'gamma']],
    ['storageB=gt=10;storageB=lt=40', ['beta', 'gamma']],
    ['(name==alpha,name==beta);storageB=gt=10', ['beta']],
    ['name==alpha,name==beta;storageB=gt=10', ['alpha', 'beta']],
    ['(name==alpha),(name==gamma)', ['alpha', 'gamma']],
    ['((name==alpha;storageB=gt=10),(name==x%20y))', ['x y']],
    ['name==a%5C%28b%5C%29%5C%2Cc%5C%3Bd', ['a(b),c;d']],
    ['name==x%2520y&filterEncoded=true', ['x y']],
  ])('filters by %s', (filter, expected) =>
    withItems(async (ask) => {
      expect(await ask(`filter=${filter}`)).toEqual(expected);
    }),
  );

  test.each([
    ['sortAsc=name', ['a(b),c;d', 'alpha', 'beta', 'gamma', 'x y']],
    ['sortDesc=storageB', ['x y', 'a(b),c;d', 'gamma', 'beta', 'alpha']],
  ])('sorts by %s', (sort, expected) =>
    withItems(async (ask) => {
      expect(await ask(sort)).toEqual(expected);
    }),
  );

  test('gives pages, with links to all others, which keep filter and order', () =>
    withItems(async (ask, client) => {
      expect(await ask('pageSize=2&page=2&sortAsc=name')).toEqual(['beta', 'gamma']);
      const query = '/api/query?type=media&pageSize=2&page=2&sortAsc=name&filter=name!=x';
      const { body } = await client.get(query);
      for (const rel of ['firstPage', 'previousPage', 'nextPage', 'lastPage']) {
        expect(linkPath(body, rel)).toContain('sortAsc=name');
        expect(linkPath(body, rel)).toContain('filter=');
      }
      expect((await client.get('/api/query?type=media&page=9')).status).toBe(400);
      expect(
        attribute((await client.get('/api/query?type=media&pageSize=999')).body, 'pageSize'),
      ).toBe('128');
    }));

  test('gives records, ids and references', () =>
    withItems(async (_ask, client) => {
      const of = async (format: string) =>
        (await client.get(`/api/query?type=media&format=${format}`)).body;
      expect(await of('records')).toMatch(/<MediaRecord [^>]*href="http/);
      expect(await of('idrecords')).toMatch(/<MediaRecord id="urn:vcloud:media:/);
      expect(await of('references')).toMatch(/<MediaReferences .*<MediaReference href="http/s);
    }));

  test.each([
    'filter=colour==red',
    'filter=name',
    'filter=name==%E0%A4%A',
    'sortAsc=colour',
    'sortAsc=constructor',
    'filter=toString==x',
    'filter=org==x',
    'page=1.5',
    'format=none',
    'pageSize=many',
  ])('refuses what makes no sense: %s', (query) =>
    withItems(async (_ask, client) => {
      const { status } = await client.get(`/api/query?type=media&${query}`);
      expect(status).toBe(400);
    }),
  );

  test('knows its own types alone, and refuses what makes no sense also where nothing is there', () =>
    withSimulator({}, async (_simulator, as) => {
      const client = as('acme', 'admin');
      for (const query of ['type=constructor', 'type=__proto__', 'type=media&filter=nope==x']) {
        expect([query, (await client.get(`/api/query?${query}`)).status]).toEqual([query, 400]);
      }
    }));

  test("keeps the provider's own queries from tenants", () =>
    withItems(async (_ask, client) => {
      expect((await client.get('/api/query?type=adminMedia')).status).toBe(403);
    }));
});

test('replies are compressed for who takes that', () =>
  withSimulator({}, async ({ url }) => {
    const { hostname, port } = new URL(url);
    const raw = await new Promise<{ encoding: string | undefined; body: Buffer }>((resolve) => {
      const options = {
        hostname,
        port,
        path: '/api/versions',
        headers: { 'accept-encoding': 'gzip' },
      };
      httpRequest(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ encoding: response.headers['content-encoding'], body: Buffer.concat(chunks) }),
        );
      }).end();
    });
    expect(raw.encoding).toBe('gzip');
    expect(gunzipSync(raw.body).toString()).toContain('<SupportedVersions');
  }));

describe('a download', () => {
  test('of media is enabled by a link without a type, and gives back what was sent, also from an offset', () =>
    withFolder((store) =>
      withSimulator({ store }, async ({ url }, as) => {
        const admin = as('acme', 'admin');
        const { entity } = await admin.media('disc', 1000);
        const bytes = randomBytes(1000);
        await admin.put(uploadHref(await admin.entity(entity)), bytes);
        const ready = await admin.entity(entity);
        expect(ready).toMatch(/<Link rel="enable" href="[^"]*"\/>/);
        const task = await admin.send('POST', linkPath(ready, 'enable'));
        expect(attribute(task.body, 'status')).toBe('success');
        const offered = await admin.entity(entity);
        expect(offered).toMatch(/<File size="1000" [^>]*><Link rel="download:default"/);
        const path = pathOf(/rel="download:default" href="([^"]*)"/.exec(offered)?.[1] ?? '');
        const whole = await fetch(`${url}${path}`);
        expect(Buffer.from(await whole.arrayBuffer())).toEqual(bytes);
        const rest = await fetch(`${url}${path}`, { headers: { range: 'bytes=900-' } });
        expect(rest.status).toBe(206);
        expect(Buffer.from(await rest.arrayBuffer())).toEqual(bytes.subarray(900));
        await admin.send('POST', linkPath(offered, 'disable'));
        expect((await fetch(`${url}${path}`)).status).toBe(404);
      }),
    ));

  test('of a template is one link to its descriptor, with the files beside it, of the sizes it says', () =>
    withFolder((store) =>
      withSimulator({ store }, async ({ url }, as) => {
        const admin = as('acme', 'admin');
        const path = `${await admin.catalog('appliances')}/action/upload`;
        const body = `<UploadVAppTemplateParams ${NS} name="box"/>`;
        const created = await admin.send('POST', path, body, PARAMS);
        const entity = pathOf(attribute(/<Entity [^>]*>/.exec(created.body)?.[0] ?? '', 'href'));
        const disk = randomBytes(500);
        const descriptor = descriptorOf([{ href: 'd.vmdk', size: disk.length }]);
        await admin.put(uploadHref(await admin.entity(entity)), descriptor);
        const links = [
          ...(await admin.entity(entity)).matchAll(/href="([^"]*\/transfer\/[^"]*)"/g),
        ];
        await admin.put(links[1]?.[1] ?? '', disk);
        await admin.send('POST', linkPath(await admin.entity(entity), 'enable'));
        const offered = await admin.entity(entity);
        const href = /<Link rel="download:default" href="([^"]*)" type="text\/xml"/.exec(
          offered,
        )?.[1];
        const base = pathOf(href ?? '').replace('descriptor.ovf', '');
        const seen = await (await fetch(`${url}${base}descriptor.ovf`)).text();
        expect(seen).toBe(descriptor.toString());
        expect(seen).toContain(`ovf:size="${disk.length}"`);
        const got = await (await fetch(`${url}${base}d.vmdk`)).arrayBuffer();
        expect(Buffer.from(got)).toEqual(disk);
      }),
    ));

  test('needs a simulator that keeps bytes', () =>
    withSimulator({}, async (_simulator, as) => {
      const admin = as('acme', 'admin');
      const { entity } = await admin.media('disc', 1);
      await admin.put(uploadHref(await admin.entity(entity)), Buffer.from('1'));
      const answer = await admin.send('POST', linkPath(await admin.entity(entity), 'enable'));
      expect(answer).toMatchObject({ status: 400, body: expect.stringContaining('--store') });
    }));
});

describe('what makes no sense', () => {
  test.each([
    ['GET', '/api/query?type=%ff'],
    ['GET', '/api/query?type=media&filter=%'],
    ['GET', '/cloudapi/1.0.0/roles/%zz/rights'],
    ['POST', '/oauth/tenant/%zz/token'],
  ])("is the client's mistake: %s %s", (method, path) =>
    withSimulator({}, async (_simulator, as) => {
      const token = 'grant_type=refresh_token&refresh_token=simulated-token-acme-admin';
      const { status } = await as('acme', 'admin').send(
        method,
        path,
        method === 'POST' ? token : '',
      );
      expect(status).toBe(400);
    }),
  );

  test('such as a lease of ages, a name of nothing, another kind, or no XML is refused', () =>
    withSimulator({}, async (_simulator, as) => {
      const admin = as('acme', 'admin');
      const { entity } = await admin.media('disc', 5);
      const lease = (seconds: string) =>
        `<LeaseSettingsSection ${NS}><ovf:Info xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"/><StorageLeaseInSeconds>${seconds}</StorageLeaseInSeconds></LeaseSettingsSection>`;
      const path = `${await admin.catalog('appliances')}/action/upload`;
      const body = `<UploadVAppTemplateParams ${NS} name="box"/>`;
      const created = await admin.send('POST', path, body, PARAMS);
      const box = pathOf(attribute(/<Entity [^>]*>/.exec(created.body)?.[0] ?? '', 'href'));
      const type = 'application/vnd.vmware.vcloud.leaseSettingsSection+xml';
      for (const seconds of ['99999999999999', '-1', 'x']) {
        const put = await admin.send('PUT', `${box}/leaseSettingsSection/`, lease(seconds), type);
        expect(put.status).toBe(400);
      }
      expect(
        (await admin.send('PUT', entity, `<Media ${NS} name="" size="5"/>`, MEDIA)).status,
      ).toBe(400);
      const plain = await admin.send(
        'PUT',
        entity,
        `<Media ${NS} name="x" size="5"/>`,
        'text/plain',
      );
      expect(plain.status).toBe(415);
      expect((await admin.get(entity.replace('/media/', '/vAppTemplate/'))).status).toBe(403);
    }));

  test('such as two Authorization headers is a 400, as from a balancer', () =>
    withSimulator({}, async ({ url }) => {
      const headers = {
        accept: 'application/*+xml;version=37.0',
        authorization: ['Bearer a', 'Bearer b'],
      };
      expect((await call(url, '/api/org', { headers })).status).toBe(400);
    }));

  test('an assertion that is none, or whose certificate is none, is a 401 without a body', () =>
    withSimulator({}, async ({ url }) => {
      const ask = (text: string) =>
        call(url, '/api/sessions', {
          method: 'POST',
          headers: {
            accept: 'application/*+xml;version=37.0',
            authorization: `SIGN token="${gzipSync(text).toString('base64')}",org="acme",signature="x",signature_alg="SHA256withRSA"`,
          },
        });
      const good = assertionFor('author', { holder: true });
      for (const text of [
        'nothing',
        '<!DOCTYPE a><a/>',
        good.replace(/(<ds:X509Certificate>)[^<]*/, '$1AAAA'),
        good,
      ]) {
        expect(await ask(text)).toMatchObject({ status: 401, body: '' });
      }
    }));

  test("secrets don't show in the log of requests", () =>
    withSimulator({ api: ['32.0'] }, async ({ requests, world }) => {
      const [token = ''] = world.sessions.open(world.sessions.accounts[0] as never, ['legacy']);
      const headers = { accept: 'application/*+xml;version=32.0', 'x-vcloud-authorization': token };
      await call(world.base, '/api/org', { headers });
      expect(JSON.stringify(requests)).not.toContain(token);
    }));
});
