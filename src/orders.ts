import { basename, resolve } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { UploadRequest } from './jobs/job-data.ts';
import { defaultName, locateImage } from './ovf/image.ts';
import { identityOfFile } from './source/local-file.ts';
import type { MetadataEntry } from './vcd/metadata.ts';

/** One upload as a user asks for it. */
export interface UploadOrder {
  /** An .ova, an .ovf, a folder holding one, an .iso; any file with `media`; an address with `serverPull`. */
  readonly source: string;
  /** `TARGET` or `TARGET/CATALOG`. */
  readonly to: string;
  readonly media?: boolean | undefined;
  /** The server fetches the .ovf at the address `source`, and the files beside it, by itself. */
  readonly serverPull?: boolean | undefined;
  /** In the catalog; by default the file's name without its ending. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** What holds the item; by default the catalog's own, or the organisation's. */
  readonly storageProfile?: string | undefined;
  /** After so many seconds vCD may remove the template; 0 for never. By default the organisation's policy. */
  readonly leaseSeconds?: number | undefined;
  /** To be noted on the item, with the type of each value. Numbers are whole. */
  readonly metadata?: Readonly<Record<string, string | number | boolean | Date>> | undefined;
  /** 'server': vCD checks every digest, too. */
  readonly verify?: 'full' | 'off' | 'server' | undefined;
  readonly batch?: string | undefined;
  /** What to do when the catalog has an item of that name. */
  readonly ifExists?: 'fail' | 'skip' | 'replace' | undefined;
  /** Leave on the server what failed for good, so that `retry` goes on with it. */
  readonly keepFailed?: boolean | undefined;
}

/**
 * Checks orders and completes them with defaults.
 *
 * A source that exists but is no package becomes a job all the same: one that fails and says why, so
 * that it is seen where all the others are.
 *
 * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE
 */
export async function toRequests(
  orders: readonly UploadOrder[],
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<UploadRequest[]> {
  const requests: UploadRequest[] = [];
  const taken = new Map<string, string>();
  for (const order of orders) {
    const { target, catalog } = placeOf(order.to, targets);
    const source = order.serverPull ? order.source : resolve(order.source);
    const located = order.serverPull
      ? locateByPull(source)
      : await locate(source, order.media ?? false);
    assertFits(order, located.kind);
    const name = (order.name ?? located.defaultName).trim();
    checkName(name, source);
    const place = JSON.stringify([target, catalog, name]);
    const other = taken.get(place);
    if (other !== undefined) {
      throw new FerryError(
        'USAGE',
        `${other} and ${source} would both be called ${name} in ${catalog}`,
        {
          hint: 'Give one of them another name with --name.',
        },
      );
    }
    taken.set(place, source);
    const metadata = metadataOf(order);
    assertShort(order, metadata);
    requests.push({
      kind: located.kind,
      source,
      path: located.path,
      target,
      catalog,
      name,
      description: order.description ?? '',
      ifExists: order.ifExists ?? 'fail',
      storageProfile: order.storageProfile ?? null,
      leaseSeconds: order.leaseSeconds ?? null,
      metadata,
      pull: order.serverPull ?? false,
      verify: order.verify ?? 'full',
      batch: order.batch ?? null,
      keepFailed: order.keepFailed ?? false,
      identity: { size: located.identity.size, mtimeMs: located.identity.mtimeMs },
    });
  }
  return requests;
}

type Located = Awaited<ReturnType<typeof locateImage>>;

/** @throws FerryError USAGE for what a server can't fetch, and for what may not stand in a queue */
function locateByPull(source: string): Located {
  const url = URL.canParse(source) ? new URL(source) : undefined;
  const refuse = (why: string): never => {
    throw new FerryError('USAGE', `${url ? url.host + url.pathname : source}: ${why}`);
  };
  if (!url || !/^https?:$/.test(url.protocol)) return refuse('expected an http(s):// address');
  if (url.username !== '' || url.password !== '') {
    return refuse('an address with a password would be seen by everybody who sees the queue');
  }
  if (url.search !== '' || url.hash !== '') {
    return refuse('what stands after the path would be seen by everybody who sees the queue');
  }
  if (/\.ova$/i.test(url.pathname)) {
    return refuse('a server fetches the descriptor of an unpacked package (.ovf), and no .ova');
  }
  const path = decoded(url.pathname);
  // How it is there, nobody here can tell.
  const identity = { size: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 };
  return { kind: 'ovf', path: source, defaultName: defaultName(path), identity };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a literal percent sign
  }
}

/** An xs:int. */
const LONGEST_LEASE_S = 2 ** 31 - 1;

/** What vCD does only for templates. @throws FerryError USAGE */
function assertFits(order: UploadOrder, kind: Located['kind']): void {
  const { source, leaseSeconds, verify, serverPull } = order;
  const refuse = (what: string): never => {
    throw new FerryError('USAGE', `${basename(source)}: ${what}`);
  };
  if (kind === 'media' && leaseSeconds !== undefined) refuse('media images have no lease');
  if (leaseSeconds !== undefined && !(leaseSeconds >= 0 && leaseSeconds <= LONGEST_LEASE_S)) {
    refuse(`a lease is at most ${LONGEST_LEASE_S} seconds, or never`);
  }
  if (kind === 'media' && verify === 'server') {
    refuse('vCD checks the digests of packages alone, and not those of media images');
  }
  if (serverPull && verify === 'server') {
    refuse('what the server fetches by itself goes without a manifest of ours');
  }
}

const LONGEST_KEY = 256;

/** vCD reads at most 512 KiB of a request; the rest of it is ours. */
const LONGEST_TEXT_BYTES = 400 * 1024;

/** @throws FerryError USAGE */
function assertShort({ source, description = '' }: UploadOrder, metadata: MetadataEntry[]): void {
  const notes = metadata.reduce(
    (sum, { key, value }) => sum + Buffer.byteLength(key + value) + 200,
    0,
  );
  const longest = Math.max(Buffer.byteLength(description), notes);
  if (longest <= LONGEST_TEXT_BYTES) return;
  const what = longest === notes ? 'the metadata take' : 'the description takes';
  throw new FerryError(
    'USAGE',
    `${basename(source)}: ${what} ${longest} bytes; vCD reads at most ${LONGEST_TEXT_BYTES}`,
  );
}

/** @throws FerryError USAGE */
function metadataOf({ metadata = {}, source }: UploadOrder): MetadataEntry[] {
  return Object.entries(metadata).map(([key, value]) => {
    const refuse = (why: string): never => {
      throw new FerryError('USAGE', `${basename(source)}: metadata ${key}: ${why}`);
    };
    if (key === '' || key.length > LONGEST_KEY) refuse(`a key has 1 to ${LONGEST_KEY} characters`);
    if (key.startsWith('ovaferry.')) refuse('keys that begin with ovaferry. are its own');
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      refuse('expected a whole number');
    if (value instanceof Date) return { key, type: 'dateTime', value: value.toISOString() };
    const type = typeof value as 'string' | 'number' | 'boolean';
    return { key, type, value: String(value) };
  });
}

async function locate(source: string, media: boolean): Promise<Located> {
  try {
    return await locateImage(source, media);
  } catch (error) {
    if (!(error instanceof FerryError) || error.code.startsWith('SOURCE_')) throw error;
    const identity = await identityOfFile(source);
    return { kind: 'ovf', path: source, defaultName: defaultName(source), identity };
  }
}

/** `TARGET` or `TARGET/CATALOG`. */
export function splitPlace(place: string): { target: string; catalog: string | undefined } {
  const slash = place.indexOf('/');
  if (slash < 0) return { target: place, catalog: undefined };
  return { target: place.slice(0, slash), catalog: place.slice(slash + 1) };
}

/** @throws FerryError TARGET_UNKNOWN naming those there are */
export function findTarget(name: string, targets: ReadonlyMap<string, TargetConfig>): TargetConfig {
  const target = targets.get(name);
  if (target) return target;
  const known = [...targets.keys()].join(', ') || 'none';
  throw new FerryError('TARGET_UNKNOWN', `there is no target ${name}; configured are: ${known}`);
}

function placeOf(
  to: string,
  targets: ReadonlyMap<string, TargetConfig>,
): { target: string; catalog: string } {
  const { target: name, catalog: named } = splitPlace(to);
  const target = findTarget(name, targets);
  const catalog = named ?? target.catalog;
  if (!catalog) {
    throw new FerryError('USAGE', `which catalog of ${name}?`, {
      hint: `Say --to ${name}/CATALOG, or give the target a default \`catalog\`.`,
    });
  }
  return { target: name, catalog };
}

/** What vCD would refuse, said before anything is enqueued. */
function checkName(name: string, source: string): void {
  if (/\p{Cc}/u.test(name)) {
    throw new FerryError(
      'USAGE',
      `${basename(source)}: a name in a catalog has no control characters`,
      {
        hint: 'Give another one with --name.',
      },
    );
  }
  if (name !== '' && name.length <= 128) return;
  throw new FerryError(
    'USAGE',
    `${basename(source)}: a name in a catalog has 1 to 128 characters, "${name}" has ${name.length}`,
    { hint: 'Give another one with --name.' },
  );
}
