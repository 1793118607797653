import picomatch from 'picomatch';
import type { Config } from '../config/load.ts';
import { splitItem } from '../download-orders.ts';
import { FerryError } from '../errors.ts';
import { findTarget, splitPlace } from '../order-parts.ts';
import { createClient } from '../targets.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import type { ItemEntry } from '../vcd/listing.ts';
import { interruption } from './signals.ts';

/** An item that a command is about. */
export interface NamedItem {
  /** `TARGET/CATALOG/ITEM`. */
  readonly item: string;
  /** Bytes, where the target was asked. */
  readonly size?: number | undefined;
}

/**
 * The items that are named. Only for patterns the target is asked; a name that is one is meant as a name.
 *
 * @throws FerryError USAGE, TARGET_UNKNOWN; ITEM_NOT_FOUND where a pattern matches nothing
 */
export async function itemsOf(args: readonly string[], config: Config): Promise<NamedItem[]> {
  const items = new Map<string, NamedItem>();
  for (const arg of args) {
    const { target, catalog, name } = splitItem(arg);
    findTarget(target, config.targets);
    const found = picomatch.scan(name).isGlob
      ? await listReady(config, `${target}/${catalog}`, name)
      : [{ item: arg }];
    for (const one of found) items.set(one.item, one);
  }
  return [...items.values()];
}

/**
 * What a catalog holds and is ready, by name.
 *
 * @param place `TARGET/CATALOG`
 */
export async function listReady(
  config: Config,
  place: string,
  pattern?: string,
): Promise<NamedItem[]> {
  const listed = await withTarget(config, place, (vcd, context) =>
    listMatching(vcd, { place, pattern, toRead: true }, context),
  );
  const ready = listed.filter(({ status }) => status === 'RESOLVED');
  for (const item of listed) {
    if (!ready.includes(item)) process.stderr.write(`${item.name} is not ready and is left out\n`);
  }
  return ready.map(({ name, size }) => ({ item: `${place}/${name}`, size }));
}

interface Wanted {
  /** `TARGET/CATALOG` */
  readonly place: string;
  readonly pattern?: string | undefined;
  /** Nothing there is changed: it may be another organisation's. */
  readonly toRead?: boolean;
}

/** Items whose names match, by name. @throws FerryError ITEM_NOT_FOUND if a pattern matches none */
export async function listMatching(
  vcd: VcdClient,
  { place, pattern, toRead = false }: Wanted,
  context: CallContext,
): Promise<ItemEntry[]> {
  const { catalog = '' } = splitPlace(place);
  const listed = await vcd.listItems(await vcd.getCatalog(catalog, context, { toRead }), context);
  const sorted = listed.sort((a, b) => a.name.localeCompare(b.name));
  if (pattern === undefined) return sorted;
  const exact = sorted.filter(({ name }) => name === pattern);
  const isMeant = matcherOf(pattern);
  const found = exact.length > 0 ? exact : sorted.filter(({ name }) => isMeant(name));
  if (found.length > 0) return found;
  throw new FerryError('ITEM_NOT_FOUND', `no item of ${place} matches ${pattern}`, {
    hint: `\`ovaferry ls ${place}\` lists them.`,
  });
}

/** Names are no paths: a slash is a character like others, and so are dots at the beginning. */
function matcherOf(pattern: string): (name: string) => boolean {
  const plain = (text: string): string => `:${text.replaceAll('/', '\u2044')}`;
  const matches = picomatch(plain(pattern), { dot: true, nonegate: true });
  return (name) => matches(plain(name));
}

/** Lends a client of a target. */
export async function withTarget<T>(
  config: Config,
  place: string,
  use: (vcd: VcdClient, context: CallContext) => Promise<T>,
): Promise<T> {
  const { target } = splitPlace(place);
  findTarget(target, config.targets);
  const interrupt = interruption();
  const vcd = await createClient(() => config, target);
  try {
    return await use(vcd, { signal: interrupt.signal, requestId: `ovaferry-cli-${process.pid}` });
  } finally {
    interrupt.close();
    vcd.close();
  }
}
