import { EDIT_RIGHT, UPLOAD_RIGHT } from './accounts.ts';
import type { Call } from './call.ts';
import { forbidden, missingRight } from './errors.ts';
import type { Catalog, Item, Organization } from './model.ts';
import { hasRight, type Session } from './sessions.ts';

/** Who may see and change what: the one place that decides it. */
type Asking = Pick<Call, 'world' | 'session'>;

/** Tenants see their own organisation; a provider that acts for nobody sees all, its own first. */
export function visibleOrgs({ world, session }: Asking): Organization[] {
  const { org } = session;
  const mine = world.orgs.filter(({ name }) => name.toLowerCase() === org.toLowerCase());
  if (!actsAsProvider(session)) return mine;
  return [...mine, ...world.orgs.filter((other) => !mine.includes(other))];
}

export function actsAsProvider({ provider, org }: Session): boolean {
  return provider && org.toLowerCase() === 'system';
}

/** Those of the visible organisations, and what others share with them. */
export function visibleCatalogs(asking: Asking): Catalog[] {
  const orgs = visibleOrgs(asking);
  const own = orgs.flatMap(({ catalogs }) => catalogs);
  const shared = asking.world.orgs
    .flatMap(({ catalogs }) => catalogs)
    .filter(({ org, sharedWith }) => !orgs.includes(org) && isAmong(sharedWith, asking.session));
  return [...own, ...shared];
}

function isAmong(names: readonly string[], { org }: Session): boolean {
  return names.some((name) => name.toLowerCase() === org.toLowerCase());
}

export function visibleItems(asking: Asking): Item[] {
  return visibleCatalogs(asking).flatMap(({ items }) => items);
}

/** Nobody adds to a subscribed catalog, and only its own organisation to any. */
export function mayAdd(session: Session, catalog: Catalog): boolean {
  return catalog.kind === 'local' && hasOwnOrg(session, catalog) && hasRight(session, UPLOAD_RIGHT);
}

export function mayEdit(session: Session, { catalog }: Pick<Item, 'catalog'>): boolean {
  return catalog.kind === 'local' && hasOwnOrg(session, catalog) && hasRight(session, EDIT_RIGHT);
}

export function hasOwnOrg(session: Session, { org }: Catalog): boolean {
  return actsAsProvider(session) || org.name.toLowerCase() === session.org.toLowerCase();
}

/** @throws ApiError 403, as for what does not exist */
export function findCatalog(call: Call): Catalog {
  const id = call.params[0];
  const catalog = visibleCatalogs(call).find((candidate) => candidate.id === id);
  if (!catalog) throw forbidden('catalog');
  return catalog;
}

/** By the id of the item. @throws ApiError 403, as for what does not exist */
export function findItem(call: Call): Item {
  const item = call.world.item(call.params[0] ?? '');
  return visible(call, isInCatalog(item) ? item : undefined, 'catalogItem');
}

/** What is in a vDC alone has no item. */
export function isInCatalog(item: Item | undefined): boolean {
  const { loose, vApps } = item?.catalog.org ?? {};
  return item !== undefined && item.catalog !== loose && item.catalog !== vApps;
}

/** By the id of what the item stands for. @throws ApiError 403, as for what does not exist */
export function findByEntity(call: Call): Item {
  const id = call.params[0] ?? '';
  const kind = /^\/api\/(vAppTemplate|media|vApp)\//.exec(call.path)?.[1];
  const item = call.world.itemOfEntity(id);
  return visible(call, item?.entity.kind === kind ? item : undefined, 'entity');
}

function visible(call: Call, item: Item | undefined, what: string): Item {
  if (!item || !holders(call).includes(item.catalog)) throw forbidden(what);
  call.world.expireLease(item);
  if (!item.catalog.items.includes(item)) throw forbidden(what);
  return item;
}

/** Catalogs, and what is in none. */
export function holders(asking: Asking): Catalog[] {
  return [
    ...visibleCatalogs(asking),
    ...visibleOrgs(asking).flatMap(({ loose, vApps }) => [loose, vApps]),
  ];
}

/** @throws ApiError 403 */
export function assertMayEdit({ session }: Call, item: Item): void {
  if (!mayEdit(session, item)) throw missingRight(EDIT_RIGHT, 'edit');
}

/** @throws ApiError 403 */
export function assertMayAdd({ session }: Call, catalog: Catalog): void {
  if (mayAdd(session, catalog)) return;
  if (!hasRight(session, UPLOAD_RIGHT)) throw missingRight(UPLOAD_RIGHT, 'upload');
  throw forbidden('Add to catalog');
}
