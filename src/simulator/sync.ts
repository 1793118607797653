import { randomUUID } from 'node:crypto';
import { findCatalog, findItem, hasOwnOrg } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { ApiError, badRequest } from './errors.ts';
import { type Catalog, type Item, isOpen, newTask, type Task } from './model.ts';
import { taskElement } from './parts.ts';
import type { World } from './world.ts';
import { link, type Markup } from './xml.ts';

/**
 * Filling a subscribed catalog from its source. Difference from a real vCD: the source is a catalog of
 * this very server (globex's tools), and everything is fetched, the files included.
 */
export const syncRoutes: readonly Route[] = [
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/action\/sync$/, handle: syncCatalog },
  { method: 'POST', path: /^\/api\/catalogItem\/([^/]+)\/action\/sync$/, handle: syncItem },
];

/** What a subscribed catalog, or an item of one, shows. */
export function syncLink(call: Call, catalog: Catalog, href: string): Markup | undefined {
  if (catalog.kind !== 'subscribed' || !hasOwnOrg(call.session, catalog)) return undefined;
  return link('sync', `${href}/action/sync`);
}

function syncCatalog(call: Call): Reply {
  const catalog = findCatalog(call);
  assertSubscribed(call, catalog);
  return begin(call, catalog, () => fill(call.world, catalog, () => true));
}

function syncItem(call: Call): Reply {
  const item = findItem(call);
  assertSubscribed(call, item.catalog);
  return begin(call, item.catalog, () =>
    fill(call.world, item.catalog, ({ name }) => name === item.name),
  );
}

/** @throws ApiError 400 */
function assertSubscribed({ session }: Call, catalog: Catalog): void {
  if (catalog.kind === 'subscribed' && hasOwnOrg(session, catalog)) return;
  throw badRequest(`Bad request\n - The catalog ${catalog.name} is not subscribed to anything.`);
}

function begin(call: Call, catalog: Catalog, work: () => void): Reply {
  const { world } = call;
  const before = world.syncs.get(catalog.id);
  if (before && isOpen(before)) {
    throw new ApiError(400, 'BUSY_ENTITY', 'The catalog is busy completing LIBRARY_ITEM_SYNC.');
  }
  const task: Task = newTask('catalogSync', 'Synchronizing Catalog', call.session);
  world.syncs.set(catalog.id, task);
  world.catalogTasks.set(task.id, { catalog, task });
  const finish = (): void => {
    work();
    Object.assign(task, { status: 'success', progress: 100, end: new Date() });
  };
  const { importTimeMs } = world.options;
  if (importTimeMs === 0) finish();
  else setTimeout(finish, importTimeMs).unref();
  return { status: 202, type: 'task', xml: taskElement(call, catalog, task) };
}

function fill(world: World, catalog: Catalog, isMeant: (item: Item) => boolean): void {
  const source = world.orgs
    .flatMap(({ catalogs }) => catalogs)
    .find(({ name }) => name === 'tools');
  for (const item of source?.items ?? []) {
    if (item.entity.task.status !== 'success' || !isMeant(item)) continue;
    const at = catalog.items.findIndex(({ name }) => name === item.name);
    const { kind } = item.entity;
    const id = kind === 'media' ? randomUUID() : `vappTemplate-${randomUUID()}`;
    const entity = { ...item.entity, id, metadata: new Map() };
    const copy: Item = { ...item, id: catalog.items[at]?.id ?? randomUUID(), catalog, entity };
    if (at < 0) catalog.items.push(copy);
    else catalog.items[at] = copy;
  }
}
