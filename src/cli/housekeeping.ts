import { createInterface } from 'node:readline/promises';
import { type Config, loadConfig } from '../config/load.ts';
import { splitItem } from '../download-orders.ts';
import { classify, FerryError } from '../errors.ts';
import { type Change, changeItem, type KeptItem, madeBy, syncCatalog } from '../housekeeping.ts';
import { openFerry } from '../index.ts';
import type { JobError } from '../jobs/job-data.ts';
import { checkName, splitPlace } from '../order-parts.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import { listMatching, withTarget } from './items.ts';
import { bytes, errorLines, type GlobalOptions, paint, printJson, say } from './output.ts';

export interface KeepingOptions extends GlobalOptions {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** What became of one item; null where it was only said what would. */
interface Kept {
  readonly item: string;
  readonly done: boolean;
  readonly error: JobError | null;
}

export async function move(args: string[], options: KeepingOptions): Promise<number> {
  const { target, catalog } = splitPlace(args.at(-1) ?? '');
  if (catalog === undefined)
    throw new FerryError('USAGE', 'where to? Say TARGET/CATALOG at the end');
  const places = args.slice(0, -1);
  for (const place of places) {
    if (splitItem(place).target === target) continue;
    throw new FerryError('USAGE', `${place}: only within one target is an item moved`, {
      hint: '`ovaferry copy` brings it to another; `ovaferry rm` then removes it here.',
    });
  }
  return keep(places, options, {
    change: { kind: 'move', catalog },
    words: `to ${target}/${catalog}`,
    verb: 'moved',
  });
}

export async function rename([place = '', name = '']: string[], options: KeepingOptions) {
  checkName(name, place);
  const change: Change = { kind: 'rename', name };
  return keep([place], options, { change, words: `to ${name}`, verb: 'renamed', atMost: 1 });
}

export async function describe(args: string[], options: KeepingOptions): Promise<number> {
  const change: Change = { kind: 'describe', description: args.at(-1) ?? '' };
  return keep(args.slice(0, -1), options, { change, words: '', verb: 'described' });
}

export async function rm(args: string[], options: KeepingOptions): Promise<number> {
  return keep(args, options, {
    change: { kind: 'remove' },
    words: '',
    verb: 'removed',
    isFinal: true,
  });
}

/** Subscribed catalogs as wholes, or items of theirs. */
export async function sync(args: string[], options: KeepingOptions): Promise<number> {
  const isCatalog = (place: string): boolean => place.split('/').length === 2;
  const items = args.filter((place) => !isCatalog(place));
  const config = loadConfig({ file: options.config, redis: options.redis });
  const kept: Kept[] = [];
  for (const place of args.filter(isCatalog)) {
    const { catalog = '' } = splitPlace(place);
    kept.push(
      await tried(place, () =>
        withTarget(config, place, (vcd, context) => syncCatalog(vcd, catalog, context)),
      ),
    );
    show(kept.at(-1) as Kept, 'synchronised', options);
  }
  kept.push(
    ...(await keepAll(config, items, options, {
      change: { kind: 'sync' },
      words: '',
      verb: 'synchronised',
    })),
  );
  return outcome(kept, options);
}

interface Keeping {
  readonly change: Change;
  readonly verb: string;
  /** What follows the item's name. */
  readonly words: string;
  readonly atMost?: number;
  /** Somebody is asked first: it can't be undone. */
  readonly isFinal?: boolean;
}

async function keep(
  places: readonly string[],
  options: KeepingOptions,
  keeping: Keeping,
): Promise<number> {
  if (places.length === 0) throw new FerryError('USAGE', 'which items? Say TARGET/CATALOG/ITEM');
  const config = loadConfig({ file: options.config, redis: options.redis });
  return outcome(await keepAll(config, places, options, keeping), options);
}

/** What is found is decided about as a whole, before anything is done. */
async function keepAll(
  config: Config,
  places: readonly string[],
  options: KeepingOptions,
  keeping: Keeping,
): Promise<Kept[]> {
  const found: { target: string; items: (KeptItem & { readonly size: number | undefined })[] }[] =
    [];
  for (const place of places) {
    const { target, catalog, name } = splitItem(place);
    const listed = await withTarget(config, target, (vcd, context) =>
      listMatching(vcd, { place: `${target}/${catalog}`, pattern: name }, context),
    );
    found.push({ target, items: listed.map((item) => ({ ...item, catalog })) });
  }
  const all = found.flatMap(({ target, items }) =>
    items.map((item) => ({ ...item, target, place: `${target}/${item.catalog}/${item.name}` })),
  );
  const { atMost = Number.POSITIVE_INFINITY } = keeping;
  if (all.length > atMost) throw new FerryError('USAGE', `that fits one item, not ${all.length}`);
  if (options.dryRun) {
    for (const { place } of all)
      say(`${place} would be ${keeping.verb} ${keeping.words}`.trimEnd(), options);
    return all.map(({ place }) => ({ item: place, done: false, error: null }));
  }
  if (keeping.isFinal && !options.yes) await assertWanted(all, options);
  const kept: Kept[] = [];
  const removed: Removed[] = [];
  try {
    for (const target of new Set(all.map((item) => item.target))) {
      await withTarget(config, target, async (vcd, context) => {
        for (const item of all.filter((one) => one.target === target)) {
          kept.push(await keepOne(vcd, item, { options, keeping, context, removed }));
        }
      });
    }
  } finally {
    if (removed.length > 0) await strike(config, removed);
  }
  return kept;
}

async function keepOne(
  vcd: VcdClient,
  item: KeptItem & { readonly place: string },
  {
    options,
    keeping,
    context,
    removed,
  }: { options: KeepingOptions; keeping: Keeping; context: CallContext; removed: Removed[] },
): Promise<Kept> {
  const { change, verb, words } = keeping;
  const isRemoval = change.kind === 'remove';
  const job = isRemoval ? await madeBy(vcd, item, context) : undefined;
  const kept = await tried(item.place, () => changeItem(vcd, item, change, context));
  if (kept.done && job !== undefined) removed.push({ job, href: item.href });
  show(kept, `${verb} ${words}`.trimEnd(), options);
  return kept;
}

/** An item that is gone, and the job that had made it. */
interface Removed {
  readonly job: string;
  readonly href: string;
}

/** The jobs that say that items have arrived are told that they are gone. Only an addition. */
async function strike(config: Config, removed: readonly Removed[]): Promise<void> {
  try {
    const ferry = await openFerry(config);
    try {
      for (const { job, href } of removed) await ferry.noteRemoved(job, href);
    } finally {
      await ferry.close();
    }
  } catch {
    // Without Redis the next upload of the same looks at the catalog.
  }
}

/** @throws FerryError what says that nothing else will work either */
async function tried(item: string, work: () => Promise<void>): Promise<Kept> {
  try {
    await work();
    return { item, done: true, error: null };
  } catch (error) {
    const { code, message, hint, kind } = classify(error);
    if (!OF_ITEM.has(code)) throw error;
    return { item, done: false, error: { code, message, permanent: kind === 'permanent', hint } };
  }
}

/** They say nothing of the other items. */
const OF_ITEM: ReadonlySet<string> = new Set([
  ...['VCD_REJECTED', 'NAME_TAKEN', 'ITEM_NOT_FOUND', 'ITEM_BUSY', 'USAGE', 'QUOTA_EXCEEDED'],
]);

function show({ item, error }: Kept, done: string, options: GlobalOptions): void {
  if (options.json) return;
  if (error) say(`${paint('red', '✗', options.color)} ${item}\n    ${errorLines(error)}`, options);
  else say(`${paint('green', '✓', options.color)} ${item} ${done}`, options);
}

function outcome(kept: readonly Kept[], options: KeepingOptions): number {
  if (options.json) printJson(kept);
  return kept.some(({ error }) => error !== null) ? 1 : 0;
}

/** @throws FerryError USAGE unless somebody at a terminal says yes */
async function assertWanted(
  items: readonly { readonly place: string; readonly size: number | undefined }[],
  options: KeepingOptions,
): Promise<void> {
  if (!process.stdin.isTTY || options.json) {
    throw new FerryError('USAGE', `${items.length} items would be removed for good`, {
      hint: 'Look at them with --dry-run, then say --yes.',
    });
  }
  for (const { place, size } of items) {
    process.stderr.write(`  ${place}${size === undefined ? '' : `, ${bytes(size)}`}\n`);
  }
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question(`Remove ${items.length} for good? [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    asking.close();
  }
  throw new FerryError('USAGE', 'nothing was removed');
}
