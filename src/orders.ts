import { basename } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { classify, FerryError } from './errors.ts';
import type { WantedUpload } from './jobs/enqueue.ts';
import type { UploadRequest } from './jobs/job-request.ts';
import { locateOrder } from './locate-order.ts';
import { checkName, findTarget, type JobTerms, placeOf, termsOf, turnOf } from './order-parts.ts';
import type { MetadataEntry } from './vcd/metadata.ts';

/** How a package is deployed. */
interface Deployment {
  /** The virtual data centre. */
  readonly vdc: string;
  readonly powerOn?: boolean | undefined;
  readonly acceptEulas?: boolean | undefined;
  /** By the package's networks: the data centre's, that stand for them. */
  readonly networks?: Readonly<Record<string, string>> | undefined;
}

/** One upload as a user asks for it. */
export interface UploadOrder extends JobTerms {
  /**
   * An .ova, an .ovf, a folder holding one, an .iso; any file with `media`. A path, or the http(s)
   * address of a file on a server that serves it by ranges.
   */
  readonly source: string;
  /** `TARGET` or `TARGET/CATALOG`. */
  readonly to: string;
  readonly media?: boolean | undefined;
  /** Make a vApp of it, in a virtual data centre of the target that `to` names. */
  readonly deploy?: Deployment | undefined;
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
  /** What to do when the catalog has an item of that name. */
  readonly ifExists?: 'fail' | 'skip' | 'replace' | undefined;
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

async function toUpload(
  order: UploadOrder,
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<WantedUpload> {
  const { deploy } = order;
  const { target, catalog } = deploy
    ? { target: findTarget(order.to, targets).name, catalog: deploy.vdc }
    : placeOf(order.to, targets);
  const located = await locateOrder(order);
  const { source } = located;
  assertFits(order, located.kind);
  const name = (order.name ?? located.defaultName).trim();
  checkName(name, source);
  const metadata = metadataOf(order);
  assertShort(order, metadata);
  const request: UploadRequest = {
    operation: 'upload',
    kind: located.kind,
    source,
    from: null,
    deploy: deploy ? deploymentOf(deploy) : null,
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
    identity: located.identity,
    expectedBytes: located.expectedBytes,
    ...termsOf(order),
  };
  return { request, ...turnOf(order) };
}

function deploymentOf({
  vdc,
  powerOn,
  acceptEulas,
  networks = {},
}: Deployment): UploadRequest['deploy'] {
  const mapped = Object.entries(networks).map(([source, target]) => ({ source, target }));
  return { vdc, powerOn: powerOn ?? false, acceptEulas: acceptEulas ?? false, networks: mapped };
}

/** An xs:int. */
const LONGEST_LEASE_S = 2 ** 31 - 1;

/** What vCD does only for templates. @throws FerryError USAGE */
function assertFits(order: UploadOrder, kind: UploadRequest['kind']): void {
  const { source, leaseSeconds, verify, serverPull } = order;
  const refuse = (what: string): never => {
    throw new FerryError('USAGE', `${basename(source)}: ${what}`);
  };
  if (order.deploy && kind === 'media') refuse('only packages are deployed');
  if (order.deploy && order.ifExists === 'replace') refuse('a vApp is not replaced');
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
