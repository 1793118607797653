import type { XmlElement } from '../xml.ts';
import { pathOf } from './address.ts';
import type { CallContext, VcdApi } from './api.ts';
import type { CatalogState } from './catalog.ts';
import { queryRecords } from './query.ts';

/** An item of a catalog, as a list shows it. */
export interface ItemEntry {
  readonly name: string;
  readonly kind: 'vAppTemplate' | 'media';
  /** As vCD says it: RESOLVED for what is ready, UNRESOLVED for what is not. */
  readonly status: string;
  /** Bytes; undefined where the server does not say. */
  readonly size: number | undefined;
  readonly owner: string | undefined;
  /** ISO 8601 */
  readonly created: string | undefined;
  readonly href: string;
}

/** What is in a catalog: one query for the items, and one each for the sizes of their kinds. */
export async function listItems(
  api: VcdApi,
  { urn, name }: Pick<CatalogState, 'urn' | 'name'>,
  context: CallContext,
): Promise<ItemEntry[]> {
  const ask = (type: string, field: string, value: string): Promise<XmlElement[]> => {
    const admin = `admin${type[0]?.toUpperCase()}${type.slice(1)}`;
    const own = api.session.isProvider ? admin : type;
    return queryRecords(api, { type: own, filter: [{ field, value }] }, context);
  };
  const items = await ask('catalogItem', 'catalog', urn);
  if (items.length === 0) return [];
  const sizes = new Map<string, number>();
  for (const record of await ask('media', 'catalogName', name)) {
    note(sizes, record, 'storageB', 1);
  }
  for (const record of await ask('vAppTemplate', 'catalogName', name)) {
    note(sizes, record, 'storageKB', 1024);
  }
  return items.map((record) => ({
    name: record.attribute('name') ?? '',
    kind: record.attribute('entityType')?.toLowerCase() === 'media' ? 'media' : 'vAppTemplate',
    status: record.attribute('status') ?? '',
    size: sizes.get(pathOf(record.attribute('entity') ?? '')),
    owner: record.attribute('ownerName'),
    created: record.attribute('creationDate'),
    href: record.attribute('href') ?? '',
  }));
}

/** By the entity's address: catalogs of other organisations may have the same name. */
function note(
  sizes: Map<string, number>,
  record: XmlElement,
  attribute: string,
  unit: number,
): void {
  const size = record.attribute(attribute);
  if (size !== undefined) sizes.set(pathOf(record.attribute('href') ?? ''), Number(size) * unit);
}
