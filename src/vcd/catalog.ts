import { FerryError } from '../errors.ts';
import type { XmlElement } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { findLink } from './entity.ts';
import { MIME } from './mime.ts';
import { compareVersions } from './versions.ts';

/** A catalog as it is now. */
export interface CatalogState {
  readonly href: string;
  /** The same whatever a target is called and by which address it is reached. */
  readonly urn: string;
  readonly name: string;
  /** Where templates and media are created; undefined without the right, and in subscribed ones. */
  readonly addTemplateHref: string | undefined;
  readonly addMediaHref: string | undefined;
  readonly items: readonly { readonly name: string; readonly href: string }[];
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
  const found = await listCatalogs(api, { org, name }, context);
  const match = found.find((catalog) => catalog.name === name);
  if (match) return match.href;
  throw new FerryError('CATALOG_NOT_FOUND', `there is no catalog ${name} in organisation ${org}`, {
    facts: { catalog: name, org },
  });
}

/** A catalog of which only the address is known. */
export interface NamedHref {
  readonly name: string;
  readonly href: string;
}

/** The organisation's catalogs; with a name, at least the one that has it. */
export async function listCatalogs(
  api: VcdApi,
  { org, name }: { org: string; name?: string | undefined },
  context: CallContext,
): Promise<NamedHref[]> {
  const { version } = await api.session.get();
  // From 33.0 on an organisation no longer lists its catalogs.
  return compareVersions(version, '33.0') < 0
    ? catalogsByLinks(api, org, context)
    : catalogsByQuery(api, { org, name, version }, context);
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
  { org, name, version }: { org: string; name: string | undefined; version: string },
  context: CallContext,
): Promise<NamedHref[]> {
  const type = api.session.isProvider ? 'adminCatalog' : 'catalog';
  const filter = name === undefined ? '' : encodeFilter('name', name, version);
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
    urn: root.attribute('id') ?? new URL(href, api.origin).pathname,
    name: root.attribute('name') ?? '',
    addTemplateHref: findLink(root, 'add', MIME.templateParams)?.attribute('href'),
    addMediaHref: findLink(root, 'add', MIME.media)?.attribute('href'),
    items: (root.child('CatalogItems')?.children('CatalogItem') ?? []).map((item) => ({
      name: item.attribute('name') ?? '',
      href: item.attribute('href') ?? '',
    })),
  };
}
