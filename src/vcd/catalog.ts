import { FerryError } from '../errors.ts';
import type { XmlElement } from '../xml.ts';
import { plainHref } from './address.ts';
import type { CallContext, VcdApi } from './api.ts';
import { MIME } from './mime.ts';
import { findOrg } from './org.ts';
import { queryRecords } from './query.ts';
import { findLink } from './task.ts';
import { findVdcUploads, type Listed } from './vdc.ts';
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
  /** Where an item of another catalog of this vCD is copied or moved to here. */
  readonly copyHref: string | undefined;
  readonly moveHref: string | undefined;
  /** Of a subscribed one: fills it from its source. */
  readonly syncHref: string | undefined;
  readonly items: readonly Listed[];
  /**
   * Where what was uploaded is added; undefined where uploading does that. Then what is uploaded is in a
   * virtual data centre first, and may be in no catalog: those are `loose`.
   */
  readonly addItemHref: string | undefined;
  readonly loose: readonly Listed[];
}

/** An organisation's catalogs by name; where each is, is looked up once. */
export class Catalogs {
  readonly #api: VcdApi;
  readonly #org: string;
  readonly #hrefs = new Map<string, string>();

  constructor(api: VcdApi, org: string) {
    this.#api = api;
    this.#org = org;
  }

  /** @throws FerryError CATALOG_NOT_FOUND */
  async find(name: string, context: CallContext, toRead: boolean): Promise<CatalogState> {
    const key = JSON.stringify([name, toRead]);
    const known = this.#hrefs.get(key);
    if (known !== undefined) {
      try {
        return await getCatalog(this.#api, known, context);
      } catch (error) {
        // Removed and made anew under its old name, perhaps: look it up again.
        if (!(error instanceof FerryError) || error.code !== 'ITEM_GONE') throw error;
        this.#hrefs.delete(key);
      }
    }
    const found = await findCatalog(this.#api, { org: this.#org, name, toRead }, context);
    const catalog = await getCatalog(this.#api, found.href, context);
    // The organisation may get one of its own, which then is meant.
    if (isOf(found, this.#org)) this.#hrefs.set(key, found.href);
    return catalog;
  }
}

/**
 * Finds a catalog of the organisation by name.
 *
 * @param toRead where the organisation has none, one that a single other organisation shares will do
 * @throws FerryError CATALOG_NOT_FOUND saying whose it is instead
 */
async function findCatalog(
  api: VcdApi,
  { org, name, toRead }: { org: string; name: string; toRead: boolean },
  context: CallContext,
): Promise<CatalogEntry> {
  const found = await seenCatalogs(api, { org, name }, context);
  const named = found.filter((catalog) => catalog.name === name);
  const own = named.find((catalog) => isOf(catalog, org));
  if (own) return own;
  // A provider sees all catalogs, shared or not: its target names an organisation, and means that.
  const [shared, another] = api.session.isProvider ? [] : named;
  if (shared && !another && toRead) return shared;
  const sharing = named.map((catalog) => catalog.org).join(' and ');
  const instead = another
    ? `; ${sharing} share one of that name each, and it is not clear whose is meant`
    : shared && `; ${sharing} shares one of that name, which can only be read`;
  const message = `there is no catalog ${name} in organisation ${org}${instead ?? ''}`;
  throw new FerryError('CATALOG_NOT_FOUND', message, { facts: { catalog: name, org } });
}

/** A catalog as a list shows it; what an older server does not say is undefined. */
export interface CatalogEntry {
  readonly name: string;
  readonly href: string;
  /** The organisation that has it. */
  readonly org: string;
  readonly owner?: string | undefined;
  readonly created?: string | undefined;
  readonly items?: number | undefined;
  /** Filled by another catalog: nothing is added to it. */
  readonly isSubscribed?: boolean | undefined;
}

/** The organisation's catalogs. */
export async function listCatalogs(
  api: VcdApi,
  org: string,
  context: CallContext,
): Promise<CatalogEntry[]> {
  return (await seenCatalogs(api, { org }, context)).filter((catalog) => isOf(catalog, org));
}

/** What other organisations share with a tenant, to be read. */
export async function listSharedCatalogs(
  api: VcdApi,
  org: string,
  context: CallContext,
): Promise<CatalogEntry[]> {
  const seen = await seenCatalogs(api, { org }, context);
  return api.session.isProvider ? [] : seen.filter((catalog) => !isOf(catalog, org));
}

function isOf(catalog: CatalogEntry, org: string): boolean {
  return catalog.org.toLowerCase() === org.toLowerCase();
}

/**
 * The organisation's catalogs, and where they are asked for by a query those that others share with it as
 * well; with a name at least those that have it.
 */
async function seenCatalogs(
  api: VcdApi,
  { org, name }: { org: string; name?: string | undefined },
  context: CallContext,
): Promise<CatalogEntry[]> {
  const { version } = await api.openSession(context);
  // From 33.0 on an organisation no longer lists its catalogs.
  return compareVersions(version, '33.0') < 0
    ? catalogsByLinks(api, org, context)
    : catalogsByQuery(api, name, context);
}

async function catalogsByLinks(
  api: VcdApi,
  org: string,
  context: CallContext,
): Promise<CatalogEntry[]> {
  const { href } = await findOrg(api, org, context);
  const root = await api.get(href, context);
  return root
    .children('Link')
    .filter(
      (link) =>
        link.attribute('rel') === 'down' &&
        link.attribute('type')?.toLowerCase() === MIME.catalog.toLowerCase(),
    )
    .map((link) => ({
      ...{ name: link.attribute('name') ?? '', href: link.attribute('href') ?? '', org },
    }));
}

async function catalogsByQuery(
  api: VcdApi,
  name: string | undefined,
  context: CallContext,
): Promise<CatalogEntry[]> {
  const type = api.session.isProvider ? 'adminCatalog' : 'catalog';
  const filter = name === undefined ? [] : [{ field: 'name', value: name }];
  const records = await queryRecords(api, { type, filter }, context);
  return records.map((record) => ({
    name: record.attribute('name') ?? '',
    href: plainHref(record.attribute('href') ?? ''),
    org: record.attribute('orgName') ?? '',
    owner: record.attribute('ownerName'),
    created: record.attribute('creationDate'),
    items: countOf(record),
    isSubscribed: isSubscribed(record),
  }));
}

function countOf(record: XmlElement): number | undefined {
  const templates = record.attribute('numberOfVAppTemplates');
  const media = record.attribute('numberOfMedia');
  return templates === undefined || media === undefined
    ? undefined
    : Number(templates) + Number(media);
}

function isSubscribed(record: XmlElement): boolean | undefined {
  const type = record.attribute('publishSubscriptionType');
  return type === undefined ? undefined : type === 'SUBSCRIBED';
}

async function getCatalog(api: VcdApi, href: string, context: CallContext): Promise<CatalogState> {
  const root = await api.get(href, context);
  const state = stateOf(api, root, href);
  const takesUploads = state.addTemplateHref !== undefined || state.addMediaHref !== undefined;
  const addItemHref = findLink(root, 'add', MIME.catalogItem)?.attribute('href');
  if (takesUploads || addItemHref === undefined) return state;
  const vdc = await findVdcUploads(api, root, context);
  if (!vdc) return state;
  const { addTemplateHref, addMediaHref, entities } = vdc;
  return { ...state, addTemplateHref, addMediaHref, addItemHref, loose: entities };
}

function stateOf(api: VcdApi, root: XmlElement, href: string): CatalogState {
  return {
    href,
    urn: root.attribute('id') ?? new URL(href, api.origin).pathname,
    name: root.attribute('name') ?? '',
    addTemplateHref: findLink(root, 'add', MIME.templateParams)?.attribute('href'),
    addMediaHref: findLink(root, 'add', MIME.media)?.attribute('href'),
    addItemHref: undefined,
    loose: [],
    copyHref: findLink(root, 'copy', MIME.copyOrMove)?.attribute('href'),
    syncHref: findLink(root, 'sync')?.attribute('href'),
    moveHref: findLink(root, 'move', MIME.copyOrMove)?.attribute('href'),
    items: (root.child('CatalogItems')?.children('CatalogItem') ?? []).map((item) => ({
      name: item.attribute('name') ?? '',
      href: item.attribute('href') ?? '',
    })),
  };
}
