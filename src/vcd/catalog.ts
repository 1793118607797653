import { FerryError } from '../errors.ts';
import { buildXml, type XmlElement, type XmlSpec } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { findLink } from './entity.ts';
import { compareVersions } from './versions.ts';

const VCLOUD = 'http://www.vmware.com/vcloud/v1.5';
const MIME = {
  template: 'application/vnd.vmware.vcloud.vAppTemplate+xml',
  templateParams: 'application/vnd.vmware.vcloud.uploadVAppTemplateParams+xml',
  media: 'application/vnd.vmware.vcloud.media+xml',
  catalog: 'application/vnd.vmware.vcloud.catalog+xml',
} as const;

/** A catalog as it is now. */
export interface CatalogState {
  readonly href: string;
  readonly name: string;
  /** Where templates and media are created; undefined without the right, and in subscribed ones. */
  readonly addTemplateHref: string | undefined;
  readonly addMediaHref: string | undefined;
  readonly items: readonly { readonly name: string; readonly href: string }[];
}

/** An item and the entity it stands for. */
export interface ItemReference {
  readonly itemHref: string;
  readonly entityHref: string;
  readonly name: string;
  readonly description: string;
}

/**
 * Finds a catalog of the organisation by name.
 *
 * @throws FerryError CATALOG_NOT_FOUND listing those there are
 */
export async function findCatalogHref(
  api: VcdApi,
  { org, name }: { org: string; name: string },
  context: CallContext,
): Promise<string> {
  const { version } = await api.session.get();
  // From 33.0 on an organisation no longer lists its catalogs.
  const found =
    compareVersions(version, '33.0') < 0
      ? await catalogsByLinks(api, org, context)
      : await catalogsByQuery(api, { org, name, version }, context);
  const match = found.find((catalog) => catalog.name === name);
  if (match) return match.href;
  throw new FerryError('CATALOG_NOT_FOUND', `there is no catalog ${name} in organisation ${org}`, {
    facts: { catalog: name, org },
  });
}

interface NamedHref {
  readonly name: string;
  readonly href: string;
}

async function catalogsByLinks(
  api: VcdApi,
  org: string,
  context: CallContext,
): Promise<NamedHref[]> {
  const list = await api.get('/api/org', context);
  const own = list
    .children('Org')
    .find((entry) => entry.attribute('name')?.toLowerCase() === org.toLowerCase());
  const href = own?.attribute('href');
  if (href === undefined) {
    throw new FerryError('CATALOG_NOT_FOUND', `the organisation ${org} can't be seen`, {
      facts: { org },
    });
  }
  const root = await api.get(href, context);
  return root
    .children('Link')
    .filter(
      (link) =>
        link.attribute('rel') === 'down' &&
        link.attribute('type')?.toLowerCase() === MIME.catalog.toLowerCase(),
    )
    .map((link) => ({ name: link.attribute('name') ?? '', href: link.attribute('href') ?? '' }));
}

/** The records also name catalogs that other organisations share: those are never ours. */
async function catalogsByQuery(
  api: VcdApi,
  { org, name, version }: { org: string; name: string; version: string },
  context: CallContext,
): Promise<NamedHref[]> {
  const type = api.session.isProvider ? 'adminCatalog' : 'catalog';
  const filter = encodeFilter('name', name, version);
  let href: string | undefined =
    `/api/query?type=${type}&format=records&page=1&pageSize=128${filter}`;
  const found: NamedHref[] = [];
  while (href !== undefined) {
    const page: XmlElement = await api.get(href, context);
    for (const record of page.children()) {
      if (!record.name.endsWith('CatalogRecord')) continue;
      if (record.attribute('orgName')?.toLowerCase() !== org.toLowerCase()) continue;
      const address = record.attribute('href') ?? '';
      // The administrator's view of a catalog has no links to upload by.
      found.push({
        name: record.attribute('name') ?? '',
        href: address.replace('/api/admin/', '/api/'),
      });
    }
    href = findLink(page, 'nextPage')?.attribute('href');
  }
  return found;
}

/** `&filter=…`: from 35.0 on encoded once, with `( ) , ;` escaped; encoded twice before. */
export function encodeFilter(field: string, value: string, version: string): string {
  if (compareVersions(version, '35.0') >= 0) {
    const escaped = value.replaceAll(/[\\(),;*]/g, '\\$&');
    return `&filter=${field}==${encodeStrictly(escaped)}`;
  }
  return `&filterEncoded=true&filter=${field}==${encodeURIComponent(encodeStrictly(value))}`;
}

/** `encodeURIComponent` leaves some of RFC 3986's reserved characters as they are. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

export async function getCatalog(
  api: VcdApi,
  href: string,
  context: CallContext,
): Promise<CatalogState> {
  const root = await api.get(href, context);
  return {
    href,
    name: root.attribute('name') ?? '',
    addTemplateHref: findLink(root, 'add', MIME.templateParams)?.attribute('href'),
    addMediaHref: findLink(root, 'add', MIME.media)?.attribute('href'),
    items: (root.child('CatalogItems')?.children('CatalogItem') ?? []).map((item) => ({
      name: item.attribute('name') ?? '',
      href: item.attribute('href') ?? '',
    })),
  };
}

interface NewItem {
  readonly name: string;
  readonly description: string;
  readonly storageProfileHref?: string | undefined;
}

export interface NewTemplate extends NewItem {
  /** The server then waits for the manifest, too, and checks every digest itself. */
  readonly manifestRequired: boolean;
}

export interface NewMedia extends NewItem {
  readonly size: number;
  /** Only `iso` may be said; what is left unsaid becomes `other` (guide, "Upload a Media Image"). */
  readonly imageType: 'iso' | undefined;
  /** vCD makes one item of two requests with the same key. */
  readonly operationKey: string;
}

/** `POST …/action/upload` for a template. Not idempotent: a lost reply may have made an item. */
export async function createTemplate(
  api: VcdApi,
  addHref: string,
  item: NewTemplate,
  context: CallContext,
): Promise<ItemReference> {
  const body = buildXml(
    {
      name: 'UploadVAppTemplateParams',
      attributes: { name: item.name, manifestRequired: String(item.manifestRequired) },
      children: commonChildren(item),
    },
    VCLOUD,
  );
  return create(api, { href: addHref, body, type: MIME.templateParams }, context);
}

/** `POST …/action/upload` for media. The size must be exact. */
export async function createMedia(
  api: VcdApi,
  addHref: string,
  item: NewMedia,
  context: CallContext,
): Promise<ItemReference> {
  const { name, size, imageType, operationKey } = item;
  const body = buildXml(
    {
      name: 'Media',
      attributes: { name, operationKey, size: String(size), imageType },
      children: commonChildren(item),
    },
    VCLOUD,
  );
  return create(api, { href: addHref, body, type: MIME.media }, context);
}

/** In this order: vCD's parser validates against the schema. */
function commonChildren({
  description,
  storageProfileHref,
}: NewItem): readonly (XmlSpec | undefined)[] {
  return [
    { name: 'Description', text: description },
    storageProfileHref === undefined
      ? undefined
      : { name: 'VdcStorageProfile', attributes: { href: storageProfileHref } },
  ];
}

async function create(
  api: VcdApi,
  request: { href: string; body: string; type: string },
  context: CallContext,
): Promise<ItemReference> {
  const root = await api.request({ method: 'POST', phase: 'create', ...request }, context);
  if (!root) throw new FerryError('SERVER_UNAVAILABLE', 'the new item came back empty');
  return parseItem(root);
}

export async function getItem(
  api: VcdApi,
  href: string,
  context: CallContext,
): Promise<ItemReference> {
  return parseItem(await api.get(href, context));
}

function parseItem(root: XmlElement): ItemReference {
  const itemHref = root.attribute('href');
  const entityHref = root.child('Entity')?.attribute('href');
  if (itemHref === undefined || entityHref === undefined) {
    throw new FerryError('SERVER_UNAVAILABLE', `expected a catalog item, got a ${root.name}`);
  }
  return {
    itemHref,
    entityHref,
    name: root.attribute('name') ?? '',
    description: root.child('Description')?.text ?? '',
  };
}

/** The body with which an entity's description is changed; everything else stays. */
export function entityWithDescription(
  entity: {
    kind: 'vAppTemplate' | 'media';
    name: string;
    media?: { size: string; imageType: string | undefined } | undefined;
  },
  description: string,
): { body: string; type: string } {
  const isMedia = entity.kind === 'media';
  const body = buildXml(
    {
      name: isMedia ? 'Media' : 'VAppTemplate',
      attributes: {
        name: entity.name,
        size: entity.media?.size,
        imageType: entity.media?.imageType,
      },
      children: [{ name: 'Description', text: description }],
    },
    VCLOUD,
  );
  return { body, type: isMedia ? MIME.media : MIME.template };
}
