import type { Config } from '../config/load.ts';
import { suggestion } from '../config/suggest.ts';
import { FerryError } from '../errors.ts';
import { createLibraryClient } from '../libraries.ts';
import type { LibraryItem } from '../vss/client.ts';
import { parseFilter, parseSort } from '../vss/filter.ts';
import { bytes, type GlobalOptions, plainTable, printJson, say } from './output.ts';
import { interruption } from './signals.ts';

export interface LibraryListOptions extends GlobalOptions {
  readonly filter?: readonly string[];
  readonly sort?: string;
}

/** Lists the items of a content library, or shows one. */
export async function lsLibrary(
  config: Config,
  { name, id }: { readonly name: string; readonly id: string | undefined },
  options: LibraryListOptions,
): Promise<number> {
  const { filter = [], sort } = options;
  // Before anything is sent.
  const filters = filter.map((text) => parseFilter(text, suggestion));
  const order = sort === undefined ? undefined : parseSort(sort, suggestion);
  if (id !== undefined && (filters.length > 0 || order !== undefined)) {
    throw new FerryError('USAGE', 'one item is neither filtered nor sorted');
  }
  const interrupt = interruption();
  const client = await createLibraryClient(config, name);
  try {
    if (id !== undefined) {
      showOne(await client.getItem(id, interrupt.signal), options);
      return 0;
    }
    const items: LibraryItem[] = [];
    for await (const item of client.listItems({ filters, sort: order }, interrupt.signal)) {
      items.push(item);
    }
    show(items, options);
    return 0;
  } finally {
    interrupt.close();
    client.close();
  }
}

function show(items: readonly LibraryItem[], options: GlobalOptions): void {
  if (options.json) {
    printJson(items);
    return;
  }
  const rows = items.map(({ name, type, size, library, id, ...item }) => [
    ...[name, type ?? '', size === undefined || size === null ? '' : bytes(size)],
    ...[library?.name ?? '', (item.last_modified_time ?? item.updated_on ?? '').slice(0, 10), id],
  ]);
  const head = ['item', 'type', 'size', 'library', 'changed', 'id'];
  say(rows.length === 0 ? 'nothing is there' : plainTable(rows, head), options);
}

function showOne(item: LibraryItem, options: GlobalOptions): void {
  if (options.json) {
    printJson(item);
    return;
  }
  const rows = Object.entries(item).map(([key, value]) => [
    key,
    typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? ''),
  ]);
  say(plainTable(rows), options);
}
