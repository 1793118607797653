import { randomUUID } from 'node:crypto';
import {
  assertMayAdd,
  assertMayEdit,
  findCatalog,
  findItem,
  isInCatalog,
  mayAdd,
  mayEdit,
} from './access.ts';
import { type Call, contentType, type Reply, type Route } from './call.ts';
import { copyLinks } from './copy.ts';
import { entityReply } from './entity.ts';
import { ApiError, badRequest, forbidden } from './errors.ts';
import { addFile } from './files.ts';
import {
  assertIdle,
  assertName,
  type Catalog,
  type Entity,
  type Item,
  itemNamed,
  newTask,
  renameItem,
} from './model.ts';
import { entityReference } from './parts.ts';
import { pull } from './pull.ts';
import { syncLink } from './sync.ts';
import { attributeOf, childElements, childText, parseRequest } from './validate.ts';
import { assertRoom, profileFor } from './vdc.ts';
import { atLeast } from './versions.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

export const catalogRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/catalog\/([^/]+)$/, handle: getCatalog },
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/action\/upload$/, handle: upload },
  { method: 'POST', path: /^\/api\/catalog\/([^/]+)\/catalogItems$/, handle: addItem },
  { method: 'GET', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: getItem },
  { method: 'PUT', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: editItem },
  { method: 'DELETE', path: /^\/api\/catalogItem\/([^/?]+)$/, handle: deleteItem },
];

function getCatalog(call: Call): Reply {
  const catalog = findCatalog(call);
  const { base } = call.world;
  const href = `${base}/api/catalog/${catalog.id}`;
  // Uploading to a catalog came with 5.5; before, one uploads to a vDC.
  const uploads = atLeast(call.version, '5.5')
    ? [
        link('add', `${href}/action/upload`, 'media'),
        link('add', `${href}/action/upload`, 'uploadVAppTemplateParams'),
      ]
    : [];
  const adding = link('add', `${href}/catalogItems`, 'catalogItem');
  const add = mayAdd(call.session, catalog) ? [...uploads, adding] : [];
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
      ...copyLinks(call, catalog),
      syncLink(call, catalog, href),
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
      element('IsPublished', {}, String(catalog.kind === 'read-only')),
      element('DateCreated', {}, catalog.created.toISOString()),
      element('VersionNumber', {}, '1'),
    ),
  };
}

/** Both kinds are created by the same address; the content type tells them apart. */
function upload(call: Call): Reply {
  if (!atLeast(call.version, '5.5')) throw new ApiError(404, undefined, 'came with 5.5');
  const catalog = findCatalog(call);
  assertMayAdd(call, catalog);
  const type = contentType(call.headers);
  if (type === mime('uploadVAppTemplateParams').toLowerCase()) return uploadTemplate(call, catalog);
  if (type === mime('media').toLowerCase()) return uploadMedia(call, catalog);
  throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', `Unsupported content type: ${type}`);
}

/** As an administrator limits them; queued ones count, too. @throws ApiError 400 */
function assertOperations({ world, session: { user, org } }: Call): void {
  const { operationsPerUser, operationsPerOrg } = world.options;
  const ofOrg = world.openOperations((task) => task.org === org);
  const ofUser = world.openOperations((task) => task.org === org && task.user === user);
  const exceeded = (what: string): ApiError =>
    new ApiError(
      400,
      'OPERATION_LIMITS_EXCEEDED',
      `The maximum number of simultaneous operations for ${what} has been reached.`,
    );
  if (operationsPerUser > 0 && ofUser >= operationsPerUser) {
    throw exceeded(`user "${user}" on organization "${org}"`);
  }
  if (operationsPerOrg > 0 && ofOrg >= operationsPerOrg) {
    throw exceeded(`organization "${org}"`);
  }
}

/** As an upload to a catalog or, before 5.5, to a vDC, which answers with the entity itself. */
export function uploadTemplate(call: Call, catalog: Catalog): Reply {
  const params = parseRequest(call.body, 'UploadVAppTemplateParams');
  const source = attributeOf(params, 'sourceHref');
  const entity = newEntity(call, catalog, {
    kind: 'vAppTemplate',
    profileHref: profileOf(params),
    manifestRequired: attributeOf(params, 'manifestRequired') === 'true',
  });
  const { reply, item } = created(call, catalog, params, entity);
  addFile(call.world, entity, 'descriptor.ovf', undefined, true);
  if (source !== undefined) void pull(call.world, item, source);
  return reply();
}

export function uploadMedia(call: Call, catalog: Catalog): Reply {
  const media = parseRequest(call.body, 'Media');
  const size = Number(attributeOf(media, 'size'));
  if (!Number.isSafeInteger(size) || size < 0) throw badRequest('Bad request\n - Invalid size');
  const operationKey = attributeOf(media, 'operationKey');
  // The same key again means the same operation: it is not done twice.
  const done = catalog.items.find(
    ({ entity: { operationKey: key } }) => key && key === operationKey,
  );
  if (done) return { status: 201, type: 'catalogItem', xml: itemElement(call, done) };
  const imageType = attributeOf(media, 'imageType');
  const entity = newEntity(call, catalog, {
    kind: 'media',
    profileHref: profileOf(media),
    // Whatever else is said (guide, "Upload a Media Image").
    imageType: imageType === 'iso' ? 'iso' : 'other',
    ...(operationKey === undefined ? {} : { operationKey }),
  });
  assertRoom(call.world, entity.profile, size); // a size that is known is judged at once
  const { reply } = created(call, catalog, media, entity);
  addFile(call.world, entity, 'file', size);
  return reply();
}

function profileOf(request: Parameters<typeof attributeOf>[0]): string | undefined {
  const [profile] = childElements(request, 'VdcStorageProfile');
  return profile && attributeOf(profile, 'href');
}

const OPERATIONS: Readonly<Record<Entity['kind'], readonly [name: string, words: string]>> = {
  media: ['vdcUploadMedia', 'Importing media'],
  vAppTemplate: ['vdcUploadOvfContents', 'Importing Virtual Application Template'],
  vApp: ['vdcInstantiateOvf', 'Creating Virtual Application'],
};

export function newEntity(
  { session, world }: Call,
  catalog: Catalog,
  more: {
    kind: Entity['kind'];
    profileHref: string | undefined;
    manifestRequired?: boolean;
    deployment?: Entity['deployment'];
    imageType?: string;
    operationKey?: string;
  },
): Entity {
  const { kind } = more;
  const entity: Entity = {
    kind,
    id: `${{ media: '', vAppTemplate: 'vappTemplate-', vApp: 'vapp-' }[kind]}${randomUUID()}`,
    ...(more.deployment ? { deployment: more.deployment } : {}),
    owner: session.user,
    status: 0,
    descriptorUploaded: false,
    manifestRequired: more.manifestRequired ?? false,
    imageType: more.imageType,
    operationKey: more.operationKey,
    files: [],
    received: [],
    metadata: new Map(),
    profile: profileFor(world, catalog.org, more.profileHref),
    leaseSeconds: catalog.org.templateLeaseSeconds,
    task: newTask(...OPERATIONS[kind], session),
  };
  world.touchTransfer(entity);
  return entity;
}

export function created(
  call: Call,
  catalog: Catalog,
  params: Parameters<typeof attributeOf>[0],
  entity: Entity,
): { reply: () => Reply; item: Item } {
  const name = (attributeOf(params, 'name') ?? '').trim();
  assertName(name);
  if (itemNamed(catalog, name)) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  assertOperations(call);
  const item: Item = {
    id: randomUUID(),
    catalog,
    created: new Date(),
    name,
    description: childText(params, 'Description') ?? '',
    entity,
    metadata: new Map(),
  };
  catalog.items.push(item);
  const reply = !isInCatalog(item)
    ? () => entityReply(call, item)
    : () => ({ status: 201, type: 'catalogItem', xml: itemElement(call, item) });
  return { item, reply };
}

function itemElement(call: Call, item: Item): Markup {
  const { world, session } = call;
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
    ...(mayEdit(session, item) ? [link('edit', href, 'catalogItem'), link('remove', href)] : []),
    syncLink(call, item.catalog, href),
    element('Description', {}, item.description),
    entityReference(world, item),
    element('DateCreated', {}, item.created.toISOString()),
    element('VersionNumber', {}, '1'),
  );
}

/** Puts what was uploaded to the vDC into a catalog. */
function addItem(call: Call): Reply {
  const catalog = findCatalog(call);
  assertMayAdd(call, catalog);
  const wanted = parseRequest(call.body, 'CatalogItem');
  const [reference] = childElements(wanted, 'Entity');
  const id = (reference && attributeOf(reference, 'href'))?.split('/').at(-1) ?? '';
  const item = call.world.itemOfEntity(id);
  if (item?.catalog !== catalog.org.loose) throw forbidden('entity');
  const name = (attributeOf(wanted, 'name') ?? '').trim();
  assertName(name);
  if (itemNamed(catalog, name)) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  const { items } = catalog.org.loose;
  items.splice(items.indexOf(item), 1);
  Object.assign(item, { catalog, name });
  catalog.items.push(item);
  return { status: 201, type: 'catalogItem', xml: itemElement(call, item) };
}

function getItem(call: Call): Reply {
  const item = findItem(call);
  return { status: 200, type: 'catalogItem', xml: itemElement(call, item) };
}

function editItem(call: Call): Reply {
  const item = findItem(call);
  assertMayEdit(call, item);
  const edited = parseRequest(call.body, 'CatalogItem');
  renameItem(item, attributeOf(edited, 'name') ?? item.name);
  item.description = childText(edited, 'Description') ?? '';
  return { status: 200, type: 'catalogItem', xml: itemElement(call, item) };
}

function deleteItem(call: Call): Reply {
  const item = findItem(call);
  assertMayEdit(call, item);
  assertIdle(item);
  call.world.remove(item);
  return { status: 204 };
}
