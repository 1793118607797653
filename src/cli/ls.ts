import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { findTarget, splitPlace } from '../order-parts.ts';
import { createClient } from '../targets.ts';
import type { CallContext } from '../vcd/api.ts';
import type { CatalogEntry } from '../vcd/catalog.ts';
import type { VcdClient } from '../vcd/client.ts';
import type { ItemEntry } from '../vcd/listing.ts';
import type { LibraryListOptions } from './ls-library.ts';
import { bytes, type GlobalOptions, plainTable, printJson, say } from './output.ts';
import { interruption } from './signals.ts';

/** Lists what a target's login sees: organisations and catalogs, or the items of one catalog. */
export async function ls([place = '']: string[], options: LibraryListOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const { target, catalog } = splitPlace(place);
  if (config.libraries.has(target)) {
    const { lsLibrary } = await import('./ls-library.ts');
    return lsLibrary(config, { name: target, id: catalog }, options);
  }
  if (options.filter || options.sort !== undefined) {
    throw new FerryError('USAGE', '--filter and --sort are for content libraries (`type: vss`)');
  }
  findTarget(target, config.targets);
  const interrupt = interruption();
  const vcd = await createClient(() => config, target);
  const context: CallContext = {
    signal: interrupt.signal,
    requestId: `ovaferry-ls-${process.pid}`,
  };
  try {
    if (catalog === undefined) showCatalogs(await catalogsOf(vcd, context), options);
    else {
      const found = await vcd.getCatalog(catalog, context, { toRead: true });
      const items = await vcd.listItems(found, context);
      showItems(items.sort(byName), options);
    }
    return 0;
  } finally {
    interrupt.close();
    vcd.close();
  }
}

/** Of all organisations that are seen: a tenant sees one, and what others share with it. */
async function catalogsOf(vcd: VcdClient, context: CallContext): Promise<CatalogEntry[]> {
  const listed: CatalogEntry[] = [];
  for (const { name: org } of await vcd.listOrgs(context)) {
    listed.push(...(await vcd.listCatalogs(context, org)).sort(byName));
  }
  return [...listed, ...(await vcd.listSharedCatalogs(context)).sort(byName)];
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name.localeCompare(b.name);
}

function showCatalogs(catalogs: readonly CatalogEntry[], options: GlobalOptions): void {
  if (options.json) {
    printJson(
      catalogs.map(({ org, name, items, owner, created, isSubscribed, href }) => ({
        ...{ org, name, items: items ?? null, owner: owner ?? null },
        created: isoOf(created),
        subscribed: isSubscribed ?? null,
        href,
      })),
    );
    return;
  }
  const rows = catalogs.map(({ org, name, items, owner, created, isSubscribed }) => [
    org,
    name,
    items === undefined ? '' : String(items),
    isSubscribed ? 'subscribed' : '',
    owner ?? '',
    isoOf(created)?.slice(0, 10) ?? '',
  ]);
  show(['organisation', 'catalog', 'items', 'state', 'owner', 'created'], rows, options);
}

function showItems(items: readonly ItemEntry[], options: GlobalOptions): void {
  if (options.json) {
    printJson(
      items.map(({ name, kind, status, size, owner, created, href }) => ({
        ...{ name, kind, state: stateOf(status), size: size ?? null, owner: owner ?? null },
        created: isoOf(created),
        href,
      })),
    );
    return;
  }
  const rows = items.map(({ name, kind, status, size, owner, created }) => [
    name,
    kind === 'media' ? 'media' : 'template',
    stateOf(status),
    size === undefined ? '' : bytes(size),
    owner ?? '',
    isoOf(created)?.slice(0, 10) ?? '',
  ]);
  show(['item', 'kind', 'state', 'size', 'owner', 'created'], rows, options);
}

/** What vCD's states mean to who looks for an image. */
function stateOf(status: string): string {
  const known: Readonly<Record<string, string>> = {
    RESOLVED: 'ready',
    POWERED_OFF: 'ready',
    UNRESOLVED: 'unfinished',
    FAILED_CREATION: 'failed',
  };
  return known[status] ?? status.toLowerCase();
}

function isoOf(time: string | undefined): string | null {
  return time === undefined || Number.isNaN(Date.parse(time)) ? null : new Date(time).toISOString();
}

function show(head: string[], rows: string[][], options: GlobalOptions): void {
  if (rows.length === 0) say('nothing is there', options);
  else say(plainTable(rows, head), options);
}
