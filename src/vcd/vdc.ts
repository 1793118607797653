import type { XmlElement } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { MIME } from './mime.ts';
import { findLink } from './task.ts';

/** What an entry of a list names. */
export interface Listed {
  readonly name: string;
  readonly href: string;
}

/** Where a server from before uploads to catalogs takes them: in a virtual data centre. */
export interface VdcUploads {
  readonly addTemplateHref: string | undefined;
  readonly addMediaHref: string | undefined;
  /** Templates and media that the data centre holds, whether a catalog has them or not. */
  readonly entities: readonly Listed[];
}

const ENTITIES: readonly string[] = [MIME.template, MIME.media].map((type) => type.toLowerCase());

/**
 * The first virtual data centre of a catalog's organisation that takes uploads (guide 1.5, "Upload an OVF
 * Package"). By the links that it shows, whatever version it speaks.
 *
 * @param catalog the catalog's element, which names its organisation
 */
export async function findVdcUploads(
  api: VcdApi,
  catalog: XmlElement,
  context: CallContext,
): Promise<VdcUploads | undefined> {
  const org = findLink(catalog, 'up', MIME.org)?.attribute('href');
  if (org === undefined) return undefined;
  const links = (await api.get(org, context)).children('Link');
  const vdcs = links.filter(
    (link) =>
      link.attribute('rel') === 'down' &&
      link.attribute('type')?.toLowerCase() === MIME.vdc.toLowerCase(),
  );
  for (const link of vdcs) {
    const vdc = await api.get(link.attribute('href') ?? '', context);
    const addTemplateHref = findLink(vdc, 'add', MIME.templateParams)?.attribute('href');
    const addMediaHref = findLink(vdc, 'add', MIME.media)?.attribute('href');
    if (addTemplateHref === undefined && addMediaHref === undefined) continue;
    return { addTemplateHref, addMediaHref, entities: entitiesOf(vdc) };
  }
  return undefined;
}

function entitiesOf(vdc: XmlElement): Listed[] {
  const listed = vdc.child('ResourceEntities')?.children('ResourceEntity') ?? [];
  return listed
    .filter((entity) => ENTITIES.includes(entity.attribute('type')?.toLowerCase() ?? ''))
    .map((entity) => ({
      name: entity.attribute('name') ?? '',
      href: entity.attribute('href') ?? '',
    }));
}
