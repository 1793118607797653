import { FerryError } from '../errors.ts';
import { buildXml, type XmlElement, type XmlSpec } from '../xml.ts';
import { isSameHref } from './address.ts';
import type { CallContext, VcdApi } from './api.ts';
import type { EntityState } from './entity.ts';
import { MIME, VCLOUD } from './mime.ts';
import { findLink, parseTask, type TaskState } from './task.ts';

/** An item and the entity it stands for. */
export interface ItemReference {
  readonly itemHref: string;
  readonly entityHref: string;
  readonly name: string;
  readonly description: string;
  /** Of its content, as the server counts; empty where it does not. */
  readonly version: string;
  /** Of an item of a subscribed catalog: fetches it anew. */
  readonly syncHref: string | undefined;
}

interface NewItem {
  readonly name: string;
  readonly description: string;
  readonly storageProfileHref?: string | undefined;
}

export interface NewTemplate extends NewItem {
  /** The server then waits for the manifest, too, and checks every digest itself. */
  readonly manifestRequired: boolean;
  /** Where the server fetches the package from by itself. */
  readonly sourceHref?: string | undefined;
}

export interface NewMedia extends NewItem {
  readonly size: number;
  /** Only `iso` may be said; what is left unsaid becomes `other` (guide, "Upload a Media Image"). */
  readonly imageType: 'iso' | undefined;
  /** vCD makes one item of two requests with the same key. */
  readonly operationKey?: string | undefined;
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
      attributes: {
        name: item.name,
        manifestRequired: String(item.manifestRequired),
        sourceHref: item.sourceHref,
      },
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

/** An item, or what stands for itself: an entity that no catalog has, a vApp. */
export function parseItem(root: XmlElement): ItemReference {
  const itemHref = root.attribute('href');
  // What is in no catalog yet stands for itself.
  const isEntity = ENTITIES.has(root.name);
  const entityHref = isEntity ? itemHref : root.child('Entity')?.attribute('href');
  if (itemHref === undefined || entityHref === undefined) {
    throw new FerryError('SERVER_UNAVAILABLE', `expected a catalog item, got a ${root.name}`);
  }
  return {
    itemHref,
    entityHref,
    name: root.attribute('name') ?? '',
    description: root.child('Description')?.text ?? '',
    version: root.child('VersionNumber')?.text ?? '',
    syncHref: findLink(root, 'sync')?.attribute('href'),
  };
}

/** Whether an item is an entity that no catalog has yet. */
export function isLoose({ itemHref, entityHref }: Pick<ItemReference, 'itemHref' | 'entityHref'>) {
  return isSameHref(itemHref, entityHref);
}

/** Puts an entity into a catalog that takes no uploads by itself (guide 1.5, "Add an Item to a Catalog"). */
export async function addToCatalog(
  api: VcdApi,
  addItemHref: string,
  { name, href }: Pick<EntityState, 'name' | 'href'>,
  context: CallContext,
): Promise<ItemReference> {
  const body = buildXml(
    {
      name: 'CatalogItem',
      attributes: { name },
      children: [{ name: 'Entity', attributes: { href } }],
    },
    VCLOUD,
  );
  return create(api, { href: addItemHref, body, type: MIME.catalogItem }, context);
}

/** What becomes of an item in another catalog. */
export interface ItemCopy {
  readonly name: string;
  readonly description: string;
  /** The item that is copied or moved. */
  readonly sourceHref: string;
}

/** `POST …/action/copy` or `…/action/move` of the catalog that it is to be in. */
export async function copyOrMove(
  api: VcdApi,
  href: string,
  { name, description, sourceHref }: ItemCopy,
  context: CallContext,
): Promise<TaskState | undefined> {
  const body = buildXml(
    {
      name: 'CopyOrMoveCatalogItemParams',
      attributes: { name },
      children: [
        { name: 'Description', text: description },
        { name: 'Source', attributes: { href: sourceHref } },
      ],
    },
    VCLOUD,
  );
  const request = { method: 'POST', href, body, type: MIME.copyOrMove, phase: 'create' } as const;
  const task = await api.request(request, context);
  return task && parseTask(task);
}

const ENTITIES: ReadonlySet<string> = new Set(['VAppTemplate', 'Media', 'VApp']);

const EDITED = {
  media: { root: 'Media', type: MIME.media },
  vAppTemplate: { root: 'VAppTemplate', type: MIME.template },
  vApp: { root: 'VApp', type: MIME.vApp },
} as const;

/** Changes an entity's name and description, which its item has, too; everything else stays. */
export async function editEntity(
  api: VcdApi,
  entity: EntityState,
  { name = entity.name, description }: { readonly name?: string; readonly description: string },
  context: CallContext,
): Promise<TaskState | undefined> {
  if (entity.editHref === undefined) {
    throw new FerryError('VCD_REJECTED', `${entity.name} may not be edited`);
  }
  const { root, type } = EDITED[entity.kind];
  const body = buildXml(
    {
      name: root,
      attributes: { name, size: entity.media?.size, imageType: entity.media?.imageType },
      children: [{ name: 'Description', text: description }],
    },
    VCLOUD,
  );
  const request = { method: 'PUT', href: entity.editHref, body, type } as const;
  const answer = await api.request(request, context);
  return answer?.name === 'Task' ? parseTask(answer) : undefined;
}
