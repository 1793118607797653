import { basename } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { suggestion } from './config/suggest.ts';
import { classify, FerryError } from './errors.ts';
import type { WantedUpload } from './jobs/enqueue.ts';
import type { UploadRequest } from './jobs/job-data.ts';
import { locateOrder } from './locate-order.ts';
import type { MetadataEntry } from './vcd/metadata.ts';

/** One upload as a user asks for it. */
export interface UploadOrder {
  /**
   * An .ova, an .ovf, a folder holding one, an .iso; any file with `media`. A path, or the http(s)
   * address of a file on a server that serves it by ranges.
   */
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
  /** Only workers of this pool can see the source. */
  readonly pool?: string | undefined;
  /** 1 goes first; by default what is said for all orders. */
  readonly priority?: number | undefined;
  /** Not before; by default what is said for all orders. */
  readonly startAt?: Date | undefined;
  /** When it should have arrived. It is uploaded all the same; who asks is told that it is late. */
  readonly deadline?: Date | undefined;
  /** Where it was written down, for messages: a manifest's line. */
  readonly origin?: string | undefined;
}

/**
 * Checks orders and completes them with defaults.
 *
 * A source that exists but is no package becomes a job all the same: one that fails and says why, so
 * that it is seen where all the others are.
 *
 * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE
 */
export async function toUploads(
  orders: readonly UploadOrder[],
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<WantedUpload[]> {
  const uploads: WantedUpload[] = [];
  const faults: Fault[] = [];
  const taken = new Map<string, string>();
  for (let i = 0; i < orders.length; i += AT_ONCE) {
    const some = orders.slice(i, i + AT_ONCE);
    const looks = await Promise.allSettled(some.map((order) => toUpload(order, targets)));
    for (const [n, look] of looks.entries()) {
      const { origin } = some[n] ?? {};
      if (look.status === 'rejected') faults.push({ origin, error: classify(look.reason) });
      else {
        uploads.push(look.value);
        const clash = findClash(look.value.request, taken);
        if (clash) faults.push({ origin, error: clash });
      }
    }
  }
  if (faults.length > 0) throw oneFault(faults);
  return uploads;
}

interface Fault {
  readonly origin: string | undefined;
  readonly error: FerryError;
}

const SHOWN_FAULTS = 50;

/** What was written down in a manifest is told with its line, all of it at once. */
function oneFault(faults: readonly Fault[]): FerryError {
  const [{ error } = { error: new FerryError('INTERNAL', 'no fault') }] = faults;
  if (faults.every((fault) => fault.origin === undefined)) return error;
  const lines = faults.map(
    (fault) => `${fault.origin === undefined ? '' : `${fault.origin}: `}${fault.error.message}`,
  );
  const more = lines.length > SHOWN_FAULTS ? `\nand ${lines.length - SHOWN_FAULTS} more` : '';
  const { code, hint, facts } = error;
  return new FerryError(code, `${lines.slice(0, SHOWN_FAULTS).join('\n')}${more}`, { hint, facts });
}

function findClash(
  { target, catalog, name, source }: UploadRequest,
  taken: Map<string, string>,
): FerryError | undefined {
  const place = JSON.stringify([target, catalog, name]);
  const other = taken.get(place);
  taken.set(place, source);
  if (other === undefined) return undefined;
  return new FerryError(
    'USAGE',
    `${other} and ${source} would both be called ${name} in ${catalog}`,
    { hint: 'Give one of them another name with --name.' },
  );
}

/** Sources that are looked at at once. */
const AT_ONCE = 64;
const LOWEST_PRIORITY = 2_000_000;

async function toUpload(
  order: UploadOrder,
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<WantedUpload> {
  const { target, catalog } = placeOf(order.to, targets);
  const located = await locateOrder(order);
  const { source } = located;
  assertFits(order, located.kind);
  const { priority, startAt, pool } = order;
  if (pool !== undefined) assertPoolName(pool);
  if (priority !== undefined && !(priority >= 1 && priority <= LOWEST_PRIORITY)) {
    throw new FerryError('USAGE', `a priority is a number from 1 to ${LOWEST_PRIORITY}`);
  }
  const name = (order.name ?? located.defaultName).trim();
  checkName(name, source);
  const metadata = metadataOf(order);
  assertShort(order, metadata);
  const request: UploadRequest = {
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
    batch: batchOf(order),
    keepFailed: order.keepFailed ?? false,
    pool: order.pool ?? null,
    identity: located.identity,
    expectedBytes: located.expectedBytes,
    deadline: order.deadline?.getTime() ?? null,
  };
  return { request, priority, startAt };
}

/** @throws FerryError USAGE */
function batchOf({ batch }: UploadOrder): string | null {
  if (batch === undefined) return null;
  if (batch !== '' && batch.length <= 128 && !/\p{Cc}/u.test(batch)) return batch;
  throw new FerryError(
    'USAGE',
    'a batch has a name of 1 to 128 characters, none of them a control character',
  );
}

/** @throws FerryError USAGE */
export function assertPoolName(pool: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(pool)) return;
  throw new FerryError(
    'USAGE',
    `"${pool}" is no name of a pool: expected letters, digits, _ and -`,
  );
}

/** An xs:int. */
const LONGEST_LEASE_S = 2 ** 31 - 1;

/** What vCD does only for templates. @throws FerryError USAGE */
function assertFits(order: UploadOrder, kind: UploadRequest['kind']): void {
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
  const meant = suggestion(name, targets.keys());
  throw new FerryError(
    'TARGET_UNKNOWN',
    `there is no target ${name}${meant}; configured are: ${known}`,
  );
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
