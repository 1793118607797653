import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import type { Config } from '../config/load.ts';
import { classify, FerryError } from '../errors.ts';
import type { EnqueueOptions, UploadOrder } from '../index.ts';
import { identityOfSource, isAddress } from '../source/open-source.ts';
import type { Listed } from './manifest-file.ts';
import type { GlobalOptions } from './output.ts';
import { parseLease, parseMetadata, parseTime } from './values.ts';

/** What every command that enqueues takes. */
export interface WaitingOptions extends GlobalOptions {
  readonly batch?: string;
  readonly pool?: string;
  readonly priority?: number;
  readonly deadline?: string;
  readonly keepFailed?: boolean;
  readonly startAt?: string;
  readonly again?: boolean;
  readonly detach?: boolean;
}

/** Options of `upload` and `enqueue`, as the command line gives them. */
export interface UploadOptions extends WaitingOptions {
  readonly then?: string[];
  readonly ifExists: 'fail' | 'skip' | 'replace';
  readonly to?: string[];
  readonly manifest?: string[];
  readonly name?: string;
  readonly description?: string;
  readonly media?: boolean;
  readonly order?: 'listed' | 'smallest' | 'largest';
  readonly verify: 'full' | 'off' | 'server';
  readonly lease?: string;
  readonly metadata?: readonly string[];
  readonly serverPull?: string;
  readonly storageProfile?: string;
  readonly dryRun?: boolean;
}

/** What is said for all uploads of a command. */
type Common = Omit<UploadOrder, 'source' | 'to'>;

/** @throws FerryError USAGE, SOURCE_NOT_FOUND; for manifests every mistake with its line */
export async function ordersOf(
  args: string[],
  options: UploadOptions,
  { targets }: Pick<Config, 'targets'>,
): Promise<UploadOrder[]> {
  const { serverPull, manifest = [] } = options;
  const kinds = [args.length > 0, serverPull !== undefined, manifest.length > 0];
  if (!kinds.includes(true)) throw new FerryError('USAGE', 'which source is to be uploaded?');
  if (serverPull !== undefined && kinds.filter(Boolean).length > 1) {
    throw new FerryError('USAGE', '--server-pull names the only source');
  }
  const to = [...new Set(options.to)];
  // A manifest may say it for each upload.
  if ((args.length > 0 || serverPull !== undefined) && to.length === 0) {
    throw new FerryError('USAGE', 'where to? Say --to TARGET or --to TARGET/CATALOG');
  }
  const common = commonOf(options);
  const sources = serverPull === undefined ? await expand(args) : [serverPull];
  const listed = await ofManifests(manifest, { options, common, targets });
  if (options.name !== undefined && sources.length + listed.length > 1) {
    const count = sources.length + listed.length;
    throw new FerryError('USAGE', `--name fits one source, not ${count}`);
  }
  const named = to.flatMap((place) => sources.map((source) => ({ ...common, source, to: place })));
  return [...named, ...listed];
}

/** @throws FerryError USAGE */
function commonOf(options: UploadOptions): Common {
  const { name, description, media, batch, verify, ifExists, keepFailed, storageProfile } = options;
  const { pool, lease, metadata = [], deadline, serverPull } = options;
  return {
    ...{ name, description, media, batch, verify, ifExists, keepFailed, storageProfile },
    pool,
    serverPull: serverPull !== undefined,
    leaseSeconds: lease === undefined ? undefined : named('--lease', () => parseLease(lease)),
    metadata: named('--metadata', () => Object.fromEntries(metadata.map(parseMetadata))),
    deadline: deadline === undefined ? undefined : named('--deadline', () => parseTime(deadline)),
  };
}

interface ForAll {
  readonly options: UploadOptions;
  readonly common: Common;
  readonly targets: Config['targets'];
}

/** What manifests say goes before what is said for all. */
async function ofManifests(paths: readonly string[], forAll: ForAll): Promise<UploadOrder[]> {
  if (paths.length === 0) return [];
  // Loaded by those commands alone that read one: the others are to start at once.
  const { readManifestFile } = await import('./manifest-file.ts');
  const orders: UploadOrder[] = [];
  const faults: string[] = [];
  for (const path of paths) {
    const read = readManifestFile(path);
    faults.push(...read.faults);
    for (const listed of read.listed) {
      try {
        orders.push(...(await ordersOfListed(listed, forAll)));
      } catch (error) {
        faults.push(`${listed.order.origin}: ${classify(error).message}`);
      }
    }
  }
  if (faults.length > 0) throw await manifestError(faults, orders, forAll);
  return orders;
}

async function ordersOfListed(
  { order, to: own }: Listed,
  { options, common }: ForAll,
): Promise<UploadOrder[]> {
  const to = own ?? options.to;
  if (!to) throw new FerryError('USAGE', 'where to? Say it there, or for all with --to');
  const sources = order.serverPull ? [order.source] : await expandListed(order.source);
  if (order.name !== undefined && sources.length > 1) {
    throw new FerryError('USAGE', `a name fits one source, not ${sources.length}`);
  }
  return [...new Set(to)].flatMap((place) =>
    sources.map((source) => ({ ...common, ...defined(order), source, to: place })),
  );
}

/** What is wrong with the others is said as well: a manifest is mended once, and not line by line. */
async function manifestError(
  faults: readonly string[],
  others: readonly UploadOrder[],
  { targets }: ForAll,
): Promise<FerryError> {
  const { toUploads } = await import('../orders.ts');
  const more = await toUploads(others, targets).then(
    () => [],
    (error: unknown) => classify(error).message.split('\n'),
  );
  const lines = [...faults, ...more].sort(new Intl.Collator('en', { numeric: true }).compare);
  return new FerryError('USAGE', lines.join('\n'), {
    hint: 'Nothing was enqueued. docs/uploads.md says what may stand in a manifest of uploads.',
  });
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

/** What is not there is said with all the other mistakes. */
async function expandListed(source: string): Promise<string[]> {
  try {
    return await expand([source]);
  } catch (error) {
    if (classify(error).code === 'SOURCE_NOT_FOUND') return [source];
    throw error;
  }
}

/** What is said alike for all jobs of a command. @throws FerryError USAGE */
export function commonOptionsOf(options: WaitingOptions): Pick<
  UploadOrder,
  'batch' | 'pool' | 'ifExists' | 'keepFailed' | 'deadline'
> & {
  readonly enqueueOptions: EnqueueOptions;
} {
  const { batch, pool, keepFailed, deadline } = options;
  return {
    ...{ batch, pool, keepFailed },
    deadline: deadline === undefined ? undefined : named('--deadline', () => parseTime(deadline)),
    enqueueOptions: enqueueOptionsOf(options),
  };
}

/** @throws FerryError USAGE */
export function enqueueOptionsOf({
  priority,
  startAt,
  again,
  order,
}: WaitingOptions & Pick<UploadOptions, 'order'>): EnqueueOptions {
  if (priority !== undefined && (priority < 1 || priority > 2_000_000)) {
    throw new FerryError('USAGE', '--priority is a number from 1 to 2000000');
  }
  const at = startAt === undefined ? undefined : named('--start-at', () => parseTime(startAt));
  return { priority, startAt: at, again, order };
}

/** Says which option a mistake is in. */
function named<T>(option: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message, hint } = classify(error);
    throw new FerryError('USAGE', `${option}: ${message}`, { hint });
  }
}

/** Globs, and folders of images; the same source twice is one source. */
async function expand(args: readonly string[]): Promise<string[]> {
  const sources: string[] = [];
  for (const arg of args) {
    if (isAddress(arg)) {
      sources.push(arg);
      continue;
    }
    if (existsSync(arg)) {
      sources.push(...imagesIn(resolve(arg)));
      continue;
    }
    const found = isDynamicPattern(arg)
      ? await glob(arg, { absolute: true, onlyFiles: true, expandDirectories: false })
      : [];
    if (found.length === 0) await identityOfSource(resolve(arg)); // says why it is not there
    sources.push(...found.sort());
  }
  return [...new Set(sources)];
}

/**
 * A folder with a descriptor is a package, or a mistake that its job will tell; one that holds
 * several whole images stands for all of them.
 */
function imagesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => !name.startsWith('.'));
  const images = names.filter((name) => /\.(ova|iso)$/i.test(name)).sort();
  if (names.some((name) => /\.ovf$/i.test(name)) || images.length < 2) return [path];
  return images.map((name) => join(path, name));
}
