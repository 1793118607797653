import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { RELEASES } from '../../src/simulator/releases.ts';
import { ROUTES } from '../../src/simulator/routes.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import { until } from '../helpers/cli.ts';
import { attribute, basic, call, linkPath, pathOf } from '../helpers/http.ts';
import { descriptorOf, digest } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { violations } from '../schema/validate.ts';

/**
 * Every XML answer that the simulator can give, against the published schemas (as far as those go: API
 * 30), for each release and for a tenant and a provider.
 *
 * With VCLOUD_SCHEMAS naming a folder that holds those schemas (`vcd.xsd`, `catalog.xml`), every answer
 * is checked by xmllint as well.
 */
const SCHEMAS = process.env['VCLOUD_SCHEMAS'] || undefined;

/** What later versions of the API added, by the name of what has it. */
const NEWER = [
  'VersionInfo/ProviderLoginUrl', // 36.0
  'SupportedVersions/AlphaVersion',
  'VAppTemplateRecord@storageKB',
  'VAppTemplateRecord@catalogItem',
  'AdminVAppTemplateRecord@storageKB',
  'AdminVAppTemplateRecord@catalogItem',
];

const PREFIX = 'application/vnd.vmware.vcloud.';
const NS = 'xmlns="http://www.vmware.com/vcloud/v1.5"';
const QUERIES =
  'organization catalog catalogItem vAppTemplate media task orgVdc orgVdcStorageProfile adminCatalog adminCatalogItem adminVAppTemplate adminMedia adminOrgVdcStorageProfile';

interface Seen {
  readonly what: string;
  readonly status: number;
  readonly body: string;
}

/** Walks through all that a client can do, and keeps what it was answered. */
class Walk {
  readonly seen: Seen[] = [];
  readonly routes = new Set<number>();
  readonly #simulator: Simulator;
  readonly #headers: Record<string, string> = {};
  readonly #accept: string;

  constructor(simulator: Simulator, version: string) {
    this.#simulator = simulator;
    this.#accept = `application/*+xml;version=${version}`;
  }

  async ask(
    what: string,
    path: string,
    {
      method = 'GET',
      body = '',
      type = '',
    }: { method?: string; body?: string; type?: string } = {},
  ): Promise<string> {
    const answer = await call(this.#simulator.url, path, {
      method,
      headers: {
        accept: this.#accept,
        ...this.#headers,
        ...(body === '' ? {} : { 'content-type': `${PREFIX}${type}+xml` }),
      },
      body,
    });
    this.seen.push({ what: `${method} ${what}`, status: answer.status, body: answer.body });
    const [plain = ''] = path.split('?');
    const route = ROUTES.findIndex((r) => r.method === method && r.path.test(plain));
    if (route >= 0) this.routes.add(route);
    return answer.body;
  }

  /** Asks until the status is that of what is ready: imports take their time. */
  async askUntil(what: string, path: string, status: string): Promise<void> {
    await until(what, async () => attribute(await this.ask(what, path), 'status') === status);
  }

  /** By the older way, whose answer is XML; by the newer one where there is no other. */
  async logIn(user: string, isProvider: boolean): Promise<void> {
    const authorization = basic(user, 'simulated');
    const headers = { accept: this.#accept, authorization };
    const { url } = this.#simulator;
    const old = await call(url, '/api/sessions', { method: 'POST', headers });
    if (old.status === 200) this.seen.push({ what: 'login', status: 200, body: old.body });
    const path = `/cloudapi/1.0.0/sessions${isProvider ? '/provider' : ''}`;
    const answer = old.status === 200 ? old : await call(url, path, { method: 'POST', headers });
    const jwt = answer.headers['x-vmware-vcloud-access-token'];
    if (jwt) this.#headers['authorization'] = `Bearer ${jwt}`;
    else this.#headers['x-vcloud-authorization'] = String(answer.headers['x-vcloud-authorization']);
  }

  put(href: string, body: Buffer): Promise<unknown> {
    const headers = { 'content-length': String(body.length) };
    return call(this.#simulator.url, pathOf(href), { method: 'PUT', headers, body });
  }
}

const hrefs = (xml: string, pattern: RegExp): string[] =>
  [...xml.matchAll(/href="([^"]*)"/g)]
    .map(([, href = '']) => href.replaceAll('&amp;', '&'))
    .filter((href) => pattern.test(href));

/** A template and a media image from their creation to their removal, and all around them. */
async function walkThrough(walk: Walk, isProvider: boolean): Promise<void> {
  await walk.ask('versions', '/api/versions');
  await walk.ask('session', '/api/session');
  const orgs = await walk.ask('organisations', '/api/org');
  const own = hrefs(orgs, /\/api\/org\/[^/]+$/);
  const acme = orgs.split('<Org ').find((org) => org.includes('name="acme"')) ?? '';
  const org = await walk.ask('organisation', pathOf(attribute(` ${acme}`, 'href')));
  expect(own.length).toBeGreaterThan(0);
  const settings = pathOf(attribute(org, 'href')).replace('/api/org/', '/api/admin/org/');
  await walk.ask('lease policy', `${settings}/settings/vAppTemplateLeaseSettings`);
  const vdc = await walk.ask('vDC', pathOf(hrefs(org, /\/api\/vdc\//)[0] ?? ''));
  await walk.ask('storage profile', pathOf(hrefs(vdc, /\/vdcStorageProfile\//)[0] ?? ''));

  const query = await walk.ask(
    'a catalog',
    '/api/query?type=catalog&format=records&filter=name==appliances',
  );
  const record = query.split('CatalogRecord').find((part) => part.includes('orgName="acme"')) ?? '';
  const path = pathOf(attribute(record, 'href'));
  const catalog = await walk.ask('catalog, empty', path);
  const add = linkPath(catalog, 'add', 'uploadVAppTemplateParams');
  if (add !== '') await walkItems(walk, { path, add });
  await walkVdc(walk, { vdc: pathOf(attribute(vdc, 'href')), path });
  const subscribed = await walk.ask(
    'a catalog',
    '/api/query?type=catalog&format=records&filter=name==subscribed',
  );
  const source = pathOf(attribute(subscribed.split('CatalogRecord')[1] ?? '', 'href'));
  await walk.ask('catalog, subscribed', source);
  const sync = await walk.ask('synchronise', `${source}/action/sync`, { method: 'POST' });
  await walk.ask('task of a catalog', pathOf(attribute(sync, 'href')));
  await walk.ask('synchronise an item', '/api/catalogItem/none/action/sync', { method: 'POST' });
  await walk.ask('a missing catalog', '/api/catalog/none');
  await walk.ask('nothing', '/api/none');
  await walk.ask('a wrong query', '/api/query?type=none');
  await walk.ask('queries', '/api/query');
  for (const type of QUERIES.split(' ')) {
    if (type.startsWith('admin') && !isProvider) continue;
    for (const format of ['records', 'idrecords', 'references']) {
      await walk.ask(
        `query ${type}`,
        `/api/query?type=${type}&format=${format}&pageSize=1&sortAsc=name`,
      );
    }
  }
  await walk.ask('the newer session', '/cloudapi/1.0.0/sessions/current');
  await walk.ask('rights', '/cloudapi/1.0.0/roles/none/rights');
  await walk.ask('the end', '/api/session', { method: 'DELETE' });
  await walk.ask('the newer end', '/cloudapi/1.0.0/sessions/current', { method: 'DELETE' });
}

/** Uploads to a vDC, the only ones there were before 5.5. */
async function walkVdc(walk: Walk, { vdc, path }: { vdc: string; path: string }): Promise<void> {
  const params = 'uploadVAppTemplateParams';
  const body = `<UploadVAppTemplateParams ${NS} name="loose"/>`;
  const template = `${vdc}/action/uploadVAppTemplate`;
  await walk.ask('template to a vDC', template, { method: 'POST', body, type: params });
  const iso = `<Media ${NS} name="loose.iso" size="5"/>`;
  const media = await walk.ask('media to a vDC', `${vdc}/media`, {
    method: 'POST',
    body: iso,
    type: 'media',
  });
  const ovf = `<InstantiateOvfParams ${NS} name="app" deploy="false" powerOn="false"/>`;
  const vApp = await walk.ask('vApp', `${vdc}/action/instantiateOvf`, {
    ...{ method: 'POST', body: ovf, type: 'instantiateOvfParams' },
  });
  const vAppPath = pathOf(attribute(vApp.slice(vApp.indexOf('<VApp')), 'href'));
  await walk.ask('vApp, new', vAppPath);
  const [put = ''] = hrefs(vApp, /\/transfer\//);
  await walk.put(put, descriptorOf([]));
  await walk.askUntil('vApp, off', vAppPath, '8');
  await walk.ask('vApp powered on', `${vAppPath}/power/action/powerOn`, { method: 'POST' });
  await walk.ask('vDC with what it holds', vdc);
  const entity = media.includes('<Media') ? attribute(media, 'href') : 'x';
  const item = `<CatalogItem ${NS} name="added"><Entity href="${entity}"/></CatalogItem>`;
  await walk.ask('added', `${path}/catalogItems`, {
    method: 'POST',
    body: item,
    type: 'catalogItem',
  });
}

async function walkItems(walk: Walk, { path, add }: { path: string; add: string }): Promise<void> {
  const disk = Buffer.from('disk');
  const params = 'uploadVAppTemplateParams';
  const body = `<UploadVAppTemplateParams ${NS} name="box" manifestRequired="true"><Description>d</Description></UploadVAppTemplateParams>`;
  const item = await walk.ask('template', add, { method: 'POST', body, type: params });
  await walk.ask('template again', add, { method: 'POST', body, type: params });
  const itemPath = pathOf(attribute(item, 'href'));
  const entity = pathOf(attribute(/<Entity [^>]*>/.exec(item)?.[0] ?? '', 'href'));
  const created = await walk.ask('template, new', entity);
  const [task = ''] = hrefs(created, /\/api\/task\/[^/]+$/);
  await walk.ask('task, running', pathOf(task));
  const descriptor = descriptorOf([{ href: 'disk.vmdk', size: 4 }]);
  await walk.put(hrefs(created, /\/transfer\//)[0] ?? '', descriptor);
  const described = await walk.ask('template, described', entity);
  const manifest = `SHA256(box.ovf)= ${digest(descriptor)}\nSHA256(disk.vmdk)= ${digest(disk)}\n`;
  for (const href of hrefs(described, /\/transfer\//)) {
    if (href.endsWith('.mf')) await walk.put(href, Buffer.from(manifest));
    if (href.endsWith('.vmdk')) await walk.put(href, disk);
  }
  await walk.ask('template, importing', entity);
  await walk.askUntil('template, ready', entity, '8');
  await walk.ask('task, done', pathOf(task));
  await walk.ask('its lease', `${entity}/leaseSettingsSection/`);
  const lease = `<LeaseSettingsSection ${NS}><ovf:Info xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"/><StorageLeaseInSeconds>3600</StorageLeaseInSeconds></LeaseSettingsSection>`;
  const changed = { method: 'PUT', body: lease, type: 'leaseSettingsSection' };
  await walk.ask('its lease', `${entity}/leaseSettingsSection/`, changed);
  await walk.ask('template with a lease', entity);
  await walkReady(walk, {
    entity,
    itemPath,
    name: 'box',
    root: 'VAppTemplate',
    type: 'vAppTemplate',
  });

  const media = `<Media ${NS} name="disc" size="4" imageType="iso"/>`;
  const disc = await walk.ask('media', add, { method: 'POST', body: media, type: 'media' });
  const discPath = pathOf(attribute(/<Entity [^>]*>/.exec(disc)?.[0] ?? '', 'href'));
  const newDisc = await walk.ask('media, new', discPath);
  await walk.put(hrefs(newDisc, /\/transfer\//)[0] ?? '', disk);
  await walk.askUntil('media, ready', discPath, '1');
  const about = { entity: discPath, itemPath: pathOf(attribute(disc, 'href')), name: 'disc' };
  await walkReady(walk, {
    ...about,
    root: 'Media',
    type: 'media',
    more: ' size="4" imageType="iso"',
  });
  await walk.ask('catalog, filled', path);

  const bad = body.replace('"box"', '"bad"');
  const failing = await walk.ask('a second', add, { method: 'POST', body: bad, type: params });
  const failed = pathOf(attribute(/<Entity [^>]*>/.exec(failing)?.[0] ?? '', 'href'));
  const open = await walk.ask('second, new', failed);
  await walk.put(hrefs(open, /\/transfer\//)[0] ?? '', Buffer.from('<Envelope/>'));
  await walk.ask('second, failed', failed);
  const third = body.replace('"box"', '"third"');
  const last = await walk.ask('a third', add, { method: 'POST', body: third, type: params });
  const cancelled = pathOf(attribute(/<Entity [^>]*>/.exec(last)?.[0] ?? '', 'href'));
  const [running = ''] = hrefs(await walk.ask('third, new', cancelled), /\/api\/task\/[^/]+$/);
  await walk.ask('third, busy', cancelled, { method: 'DELETE' });
  await walk.ask('cancel', `${pathOf(running)}/action/cancel`, { method: 'POST' });
  await walk.ask('task, cancelled', pathOf(running));
  await walk.ask('a broken request', add, { method: 'POST', body: '<x/>', type: params });
}

async function walkReady(
  walk: Walk,
  { entity, itemPath, name, root, type, more = '' }: Record<string, string>,
): Promise<void> {
  const entityPath = String(entity);
  await walk.ask('item', String(itemPath));
  const notes = `<Metadata ${NS} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><MetadataEntry><Key>k</Key><TypedValue xsi:type="MetadataNumberValue"><Value>1</Value></TypedValue></MetadataEntry></Metadata>`;
  await walk.ask('metadata', `${entityPath}/metadata`, {
    method: 'POST',
    body: notes,
    type: 'metadata',
  });
  await walk.ask('metadata', `${entityPath}/metadata`);
  const value = `<MetadataValue ${NS} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><TypedValue xsi:type="MetadataStringValue"><Value>v</Value></TypedValue></MetadataValue>`;
  const put = { method: 'PUT', body: value, type: 'metadata.value' };
  await walk.ask('a value', `${entityPath}/metadata/k`, put);
  await walk.ask('a value', `${entityPath}/metadata/k`);
  await walk.ask('a system value', `${entityPath}/metadata/SYSTEM/s`, put);
  await walk.ask('all values', `${entityPath}/metadata`);
  await walk.ask('a value of the item', `${itemPath}/metadata/k`, put);
  await walk.ask('values of the item', `${itemPath}/metadata`);
  await walk.ask('a value', `${entityPath}/metadata/k`, { method: 'DELETE' });
  const edited = `<${root} ${NS} name="${name}"${more}><Description>e</Description></${root}>`;
  await walk.ask('edit', entityPath, { method: 'PUT', body: edited, type: String(type) });
  const renamed = `<CatalogItem ${NS} name="${name}"><Description>f</Description><Entity href="x"/></CatalogItem>`;
  await walk.ask('edit item', String(itemPath), {
    method: 'PUT',
    body: renamed,
    type: 'catalogItem',
  });
  const place = /"([^"]*\/api\/catalog\/[^"]*)"/.exec(
    (await walk.ask('item', String(itemPath))) ?? '',
  );
  const catalog = pathOf(place?.[1] ?? '');
  const other = `<CopyOrMoveCatalogItemParams ${NS} name="${name} again"><Source href="${itemPath}"/></CopyOrMoveCatalogItemParams>`;
  const params = { method: 'POST', body: other, type: 'copyOrMoveCatalogItemParams' };
  await walk.ask('copy', `${catalog}/action/copy`, params);
  const same = { ...params, body: other.replace(' again', '') };
  await walk.ask('move', `${catalog}/action/move`, same);
  await walk.ask('for download', `${entityPath}/action/enableDownload`, { method: 'POST' });
  await walk.ask('entity, offered', entityPath);
  await walk.ask('no download', `${entityPath}/action/disableDownload`, { method: 'POST' });
  await walk.ask('item', `${itemPath}?force=true`, { method: 'DELETE' });
}

const everWalked = new Set<number>();
const CELLS = RELEASES.flatMap(({ name }) => [
  [name, 'admin@acme', false] as const,
  [name, 'administrator@System', true] as const,
]);

test.each(CELLS)('release %s answers %s with what the schemas allow', (release, user, isProvider) =>
  withFolder(async (folder) => {
    const simulator = await startSimulator({
      release,
      store: folder,
      importTimeMs: 30,
      templateLeaseSeconds: 86_400,
    });
    try {
      const version = simulator.world.release.versions.at(-1)?.version ?? '';
      const walk = new Walk(simulator, version);
      await walk.logIn(user, isProvider);
      await walkThrough(walk, isProvider);
      for (const route of walk.routes) everWalked.add(route);
      const documents = walk.seen.filter(({ body }) => body.startsWith('<?xml'));
      expect(documents.length).toBeGreaterThan(40);
      const faults = documents.flatMap(({ what, status, body }) =>
        violations(body)
          .filter((fault) => !NEWER.some((name) => fault.startsWith(`${name}:`)))
          .map((fault) => `${what} (${status}): ${fault}`),
      );
      expect([...new Set(faults)]).toEqual([]);
      if (SCHEMAS !== undefined) expect(byXmllint(SCHEMAS, folder, documents)).toEqual([]);
    } finally {
      await simulator.close();
    }
  }),
);

test('no route is left out', () => {
  const left = ROUTES.filter((_route, i) => !everWalked.has(i));
  expect(left.map(({ method, path }) => `${method} ${path.source}`)).toEqual([]);
});

test('the check finds what is wrong', () => {
  const wrong = `<CatalogItem ${NS} size="much" colour="red"><Entity name="x"/><Description/></CatalogItem>`;
  expect(violations(wrong)).toEqual([
    'CatalogItem@size: "much" is no long',
    'CatalogItem@colour: unknown attribute',
    'CatalogItem@name: missing',
    'Entity@href: missing',
    'CatalogItem/Description: unknown or out of order',
  ]);
});

/** The schemas themselves, where somebody has them. */
function byXmllint(schemas: string, folder: string, documents: readonly Seen[]): string[] {
  const faults: string[] = [];
  for (const [i, { what, body }] of documents.entries()) {
    const file = join(folder, `answer-${i}.xml`);
    writeFileSync(file, body);
    const args = ['--nonet', '--noout', '--schema', join(schemas, 'vcd.xsd'), file];
    const env = { ...process.env, XML_CATALOG_FILES: join(schemas, 'catalog.xml') };
    const { status, stderr } = spawnSync('xmllint', args, { cwd: schemas, env, encoding: 'utf8' });
    const isNewer = NEWER.some((name) => stderr.includes(name.split(/[/@]/)[1] ?? ''));
    if (status !== 0 && !isNewer)
      faults.push(`${what}: ${stderr.split('\n').find((l) => l.includes('error :'))}`);
  }
  return [...new Set(faults)];
}
