import { FerryError } from '../errors.ts';
import { buildXml, type XmlElement, type XmlSpec } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import type { EntityState } from './entity.ts';
import { MIME, VCLOUD } from './mime.ts';

/** An item and the entity it stands for. */
export interface ItemReference {
  readonly itemHref: string;
  readonly entityHref: string;
  readonly name: string;
  readonly description: string;
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

/** Changes an entity's name and description, which its item has, too; everything else stays. */
export async function editEntity(
  api: VcdApi,
  entity: EntityState,
  { name = entity.name, description }: { readonly name?: string; readonly description: string },
  context: CallContext,
): Promise<void> {
  if (entity.editHref === undefined) {
    throw new FerryError('VCD_REJECTED', `${entity.name} may not be edited`);
  }
  const isMedia = entity.kind === 'media';
  const body = buildXml(
    {
      name: isMedia ? 'Media' : 'VAppTemplate',
      attributes: { name, size: entity.media?.size, imageType: entity.media?.imageType },
      children: [{ name: 'Description', text: description }],
    },
    VCLOUD,
  );
  const type = isMedia ? MIME.media : MIME.template;
  await api.request({ method: 'PUT', href: entity.editHref, body, type }, context);
}
