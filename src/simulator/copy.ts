import { randomUUID } from 'node:crypto';
import { assertMayAdd, assertMayEdit, findCatalog, mayAdd, visibleItems } from './access.ts';
import { type Call, contentType, type Reply, type Route } from './call.ts';
import { ApiError, badRequest, forbidden } from './errors.ts';
import {
  assertIdle,
  assertName,
  beginLease,
  type Catalog,
  type Item,
  itemNamed,
  newTask,
} from './model.ts';
import { doneTask, taskElement } from './parts.ts';
import { attributeOf, childElements, childText, parseRequest } from './validate.ts';
import { atLeast } from './versions.ts';
import { link, type Markup, mime } from './xml.ts';

const PARAMS = 'copyOrMoveCatalogItemParams';

/** Copying and moving items between the catalogs of one vCD; both came with 5.5. */
export const copyRoutes: readonly Route[] = [
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/action\/copy$/, handle: copy },
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/action\/move$/, handle: move },
];

export function copyLinks(call: Call, catalog: Catalog): Markup[] {
  if (!mayAdd(call.session, catalog) || !atLeast(call.version, '5.5')) return [];
  const href = `${call.world.base}/api/catalog/${catalog.id}/action`;
  return [link('copy', `${href}/copy`, PARAMS), link('move', `${href}/move`, PARAMS)];
}

interface Wanted {
  readonly catalog: Catalog;
  readonly source: Item;
  readonly name: string;
  readonly description: string | undefined;
}

/** @throws ApiError */
function wantedOf(call: Call): Wanted {
  const catalog = findCatalog(call);
  assertMayAdd(call, catalog);
  if (contentType(call.headers) !== mime(PARAMS).toLowerCase()) {
    throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', 'Unsupported content type');
  }
  const params = parseRequest(call.body, 'CopyOrMoveCatalogItemParams');
  const [reference] = childElements(params, 'Source');
  const id = (reference && attributeOf(reference, 'href'))?.split('/').at(-1);
  const source = visibleItems(call).find((item) => item.id === id);
  if (!source) throw forbidden('catalogItem');
  assertIdle(source);
  if (source.entity.task.status !== 'success') {
    throw badRequest('Bad request\n - The source is not ready.');
  }
  const name = (attributeOf(params, 'name') ?? source.name).trim();
  assertName(name);
  const holder = itemNamed(catalog, name);
  if (holder && holder !== source) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  return { catalog, source, name, description: childText(params, 'Description') };
}

function copy(call: Call): Reply {
  const { catalog, source, name, description } = wantedOf(call);
  const { world } = call;
  if (itemNamed(catalog, name)) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  const { entity } = source;
  const { download: _download, enabling: _enabling, ...kept } = entity;
  const task = newTask('vdcCopyTemplate', 'Copying Virtual Application Template', call.session);
  const made: Item = {
    id: randomUUID(),
    catalog,
    created: new Date(),
    name,
    description: description ?? source.description,
    metadata: new Map(),
    entity: {
      ...kept,
      id: entity.kind === 'media' ? randomUUID() : `vappTemplate-${randomUUID()}`,
      owner: call.session.user,
      status: 0,
      operationKey: undefined,
      // A copy is another thing: what is noted on one is not noted on the other.
      metadata: new Map(),
      task,
    },
  };
  catalog.items.push(made);
  const finish = (): void => {
    if (task.status !== 'running') return;
    Object.assign(task, { status: 'success', progress: 100, end: new Date() });
    made.entity.status = entity.status;
    beginLease(made.entity);
  };
  const { importTimeMs } = world.options;
  if (importTimeMs === 0) finish();
  else setTimeout(finish, importTimeMs).unref();
  return { status: 202, type: 'task', xml: taskElement(call, made, task) };
}

function move(call: Call): Reply {
  const { catalog, source, name, description } = wantedOf(call);
  assertMayEdit(call, source);
  const from = source.catalog.items;
  from.splice(from.indexOf(source), 1);
  Object.assign(source, { catalog, name });
  if (description !== undefined) source.description = description;
  catalog.items.push(source);
  return doneTask(call, source, 'vdcMoveTemplate', 'Moving');
}
