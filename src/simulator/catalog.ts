import { randomUUID } from 'node:crypto';
import { type Call, contentType, type Reply, type Route } from './call.ts';
import { entityReference } from './entity.ts';
import { ApiError, badRequest, forbidden } from './errors.ts';
import {
  assertIdle,
  type Catalog,
  type Entity,
  findItem,
  type Item,
  newTask,
  renameItem,
} from './model.ts';
import { visibleOrgs } from './organization.ts';
import { createSink } from './storage.ts';
import { attributeOf, childText, parseRequest } from './validate.ts';
import type { World } from './world.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

export const catalogRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/catalog\/([^/]+)$/, handle: getCatalog },
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/action\/upload$/, handle: upload },
  { method: 'GET', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: getItem },
  { method: 'PUT', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: editItem },
  { method: 'DELETE', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: deleteItem },
];

function findCatalog({ world, session, params }: Call): Catalog {
  const catalog = world.catalog(params[0] ?? '');
  if (!catalog || !visibleOrgs(world.orgs, session.org).includes(catalog.org)) {
    throw forbidden('catalog');
  }
  return catalog;
}

function getCatalog(call: Call): Reply {
  const catalog = findCatalog(call);
  const { base } = call.world;
  const href = `${base}/api/catalog/${catalog.id}`;
  const add = catalog.writable
    ? [
        link('add', `${href}/action/upload`, 'media'),
        link('add', `${href}/action/upload`, 'uploadVAppTemplateParams'),
        link('add', `${href}/catalogItems`, 'catalogItem'),
        link('copy', `${href}/action/copy`, 'copyOrMoveCatalogItemParams'),
      ]
    : [];
  return {
    status: 200,
    type: 'catalog',
    xml: element(
      'Catalog',
      {
        xmlns: VCLOUD,
        name: catalog.name,
        id: `urn:vcloud:catalog:${catalog.id}`,
        href,
        type: mime('catalog'),
      },
      link('up', `${base}/api/org/${catalog.org.id}`, 'org'),
      ...add,
      element('Description'),
      element(
        'CatalogItems',
        {},
        ...catalog.items.map((item) =>
          element('CatalogItem', {
            type: mime('catalogItem'),
            name: item.name,
            href: `${base}/api/catalogItem/${item.id}`,
            id: item.id,
          }),
        ),
      ),
      element('IsPublished', {}, String(!catalog.writable)),
      element('DateCreated', {}, catalog.created.toISOString()),
      element('VersionNumber', {}, '1'),
    ),
  };
}

/** Both kinds are created by the same address; the content type tells them apart. */
function upload(call: Call): Reply {
  const catalog = findCatalog(call);
  if (!catalog.writable) throw forbidden('Add to catalog');
  const type = contentType(call.headers);
  if (type === mime('uploadVAppTemplateParams').toLowerCase()) return uploadTemplate(call, catalog);
  if (type === mime('media').toLowerCase()) return uploadMedia(call, catalog);
  throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', `Unsupported content type: ${type}`);
}

function uploadTemplate(call: Call, catalog: Catalog): Reply {
  const params = parseRequest(call.body, 'UploadVAppTemplateParams');
  if (attributeOf(params, 'sourceHref')) {
    throw new ApiError(501, 'NOT_IMPLEMENTED', 'The simulator does not pull from sourceHref.');
  }
  const entity = newEntity(call, 'vAppTemplate', {
    manifestRequired: attributeOf(params, 'manifestRequired') === 'true',
  });
  addFile(call.world, entity, 'descriptor.ovf', undefined, true);
  return created(call, catalog, params, entity);
}

function uploadMedia(call: Call, catalog: Catalog): Reply {
  const media = parseRequest(call.body, 'Media');
  const size = Number(attributeOf(media, 'size'));
  if (size < 0) throw badRequest('Bad request\n - size must not be negative');
  const operationKey = attributeOf(media, 'operationKey');
  // The same key again means the same operation: it is not done twice.
  const done = catalog.items.find(
    ({ entity: { operationKey: key } }) => key && key === operationKey,
  );
  if (done) return { status: 201, type: 'catalogItem', xml: itemElement(call.world, done) };
  const imageType = attributeOf(media, 'imageType');
  const entity = newEntity(call, 'media', {
    imageType: imageType === 'iso' ? 'iso' : (imageType ?? 'other'),
    ...(operationKey === undefined ? {} : { operationKey }),
  });
  addFile(call.world, entity, 'file', size);
  return created(call, catalog, media, entity);
}

function newEntity(
  { session, world }: Call,
  kind: Entity['kind'],
  more: { manifestRequired?: boolean; imageType?: string; operationKey?: string },
): Entity {
  const entity: Entity = {
    kind,
    id: kind === 'media' ? randomUUID() : `vappTemplate-${randomUUID()}`,
    owner: session.user,
    status: 0,
    descriptorUploaded: false,
    manifestRequired: more.manifestRequired ?? false,
    imageType: more.imageType,
    operationKey: more.operationKey,
    files: [],
    received: [],
    metadata: new Map(),
    task: newTask(
      kind === 'media' ? 'vdcUploadMedia' : 'vdcUploadOvfContents',
      kind === 'media' ? 'Importing media' : 'Importing Virtual Application Template',
      session.user,
    ),
  };
  world.touchTransfer(entity);
  return entity;
}

/** Puts a file on the list of those that the server waits for. */
export function addFile(
  world: World,
  entity: Entity,
  name: string,
  size: number | undefined,
  keep = false,
): void {
  const file = {
    name,
    size,
    key: randomUUID(),
    sink: createSink({
      store: world.options.store,
      entityId: entity.id,
      name,
      algorithms: entity.manifestRequired ? ['sha1', 'sha256', 'sha512'] : ['sha256'],
      keep,
    }),
    complete: false,
    ranges: [],
    history: [],
  };
  entity.files.push(file);
  entity.received.push(file);
}

function created(
  { world }: Call,
  catalog: Catalog,
  params: Parameters<typeof attributeOf>[0],
  entity: Entity,
): Reply {
  const name = (attributeOf(params, 'name') ?? '').trim();
  if (name === '' || name.length > 128) {
    throw badRequest('Bad request\n - name must have 1 to 128 characters');
  }
  if (findItem(catalog, name)) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  const item: Item = {
    id: randomUUID(),
    catalog,
    created: new Date(),
    name,
    description: childText(params, 'Description') ?? '',
    entity,
  };
  catalog.items.push(item);
  return { status: 201, type: 'catalogItem', xml: itemElement(world, item) };
}

function itemElement(world: World, item: Item): Markup {
  const href = `${world.base}/api/catalogItem/${item.id}`;
  return element(
    'CatalogItem',
    {
      xmlns: VCLOUD,
      name: item.name,
      id: `urn:vcloud:catalogitem:${item.id}`,
      href,
      type: mime('catalogItem'),
      size: item.entity.received.reduce((sum, { sink }) => sum + sink.stored, 0),
    },
    link('up', `${world.base}/api/catalog/${item.catalog.id}`, 'catalog'),
    link('down', `${href}/metadata`, 'metadata'),
    link('edit', href, 'catalogItem'),
    link('remove', href),
    element('Description', {}, item.description),
    entityReference(world, item),
    element('DateCreated', {}, item.created.toISOString()),
    element('VersionNumber', {}, '1'),
  );
}

function findOwnItem({ world, session, params }: Call): Item {
  const item = world.item(params[0] ?? '');
  if (!item || !visibleOrgs(world.orgs, session.org).includes(item.catalog.org)) {
    throw forbidden('catalogItem');
  }
  return item;
}

function getItem(call: Call): Reply {
  const item = findOwnItem(call);
  return { status: 200, type: 'catalogItem', xml: itemElement(call.world, item) };
}

function editItem(call: Call): Reply {
  const item = findOwnItem(call);
  const edited = parseRequest(call.body, 'CatalogItem');
  renameItem(item, attributeOf(edited, 'name') ?? item.name);
  item.description = childText(edited, 'Description') ?? '';
  return { status: 200, type: 'catalogItem', xml: itemElement(call.world, item) };
}

function deleteItem(call: Call): Reply {
  const item = findOwnItem(call);
  assertIdle(item);
  call.world.remove(item);
  return { status: 204 };
}
