import { accountsOf } from './accounts.ts';
import { Faults } from './faults.ts';
import {
  type Catalog,
  type Entity,
  failTask,
  type Item,
  isOpen,
  type Organization,
  type Task,
  type TransferFile,
} from './model.ts';
import { addCatalog, organization } from './organizations.ts';
import { type Release, releaseOf } from './releases.ts';
import { Sessions } from './sessions.ts';
import { Slots } from './slots.ts';

export interface SimulatorOptions {
  /** 0 takes any free port. */
  readonly port?: number;
  /** A folder for what is uploaded, or 'discard' to keep sizes and digests alone. */
  readonly store?: string;
  /** Which release of the product it is. */
  readonly release?: string;
  /** API versions that are served, in place of the release's own. */
  readonly api?: readonly string[];
  /** Bytes per second over all transfers. */
  readonly rateBytesPerSecond?: number;
  /** From the last byte of an upload to its being ready. */
  readonly importTimeMs?: number;
  /** The same for each 10^9 bytes, in addition. */
  readonly importMsPerGB?: number;
  /** Imports at once; the others wait. 0 for any number. */
  readonly importSlots?: number;
  /** From the descriptor to the files' upload links. */
  readonly linkDelayMs?: number;
  /** From the wish to download something to its addresses. */
  readonly downloadTimeMs?: number;
  /** False: a GET of a transfer address answers with the whole file, whatever range it asks for. */
  readonly downloadRanges?: boolean;
  /** From the wish to cancel a task to its end. */
  readonly cancelTimeMs?: number;
  /** A transfer without a byte for so long is over (a real vCD: 60 minutes). */
  readonly transferIdleMs?: number;
  readonly sessionIdleMs?: number;
  readonly sessionAbsoluteMs?: number;
  readonly password?: string;
  /** Where it listens, and how clients call it. */
  readonly host?: string;
  readonly publicUrl?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Public address of transfers, if that is another than the API's. */
  readonly transferUrl?: string;
  /** False: `/api/sessions` is switched off. */
  readonly legacyLogin?: boolean;
  /** Bytes of each storage profile of organisation acme; 0 for no limit. The first is the default. */
  readonly storageProfiles?: Readonly<Record<string, number>>;
  /** Bytes that all transfers together may hold before their import; 0 for any number. */
  readonly transferStoreBytes?: number;
  /** Uploads and imports at once; 0 for any number. */
  readonly operationsPerUser?: number;
  readonly operationsPerOrg?: number;
  /** Seconds after which acme's templates are removed; 0 for never. */
  readonly templateLeaseSeconds?: number;
}

/** One request as it came and went, for tests and for `/_simulator/requests`. */
export interface LoggedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  status: number;
}

const MINUTE = 60_000;
const MAX_LOGGED = 20_000;

const DEFAULTS = {
  store: 'discard',
  importTimeMs: 0,
  importMsPerGB: 0,
  importSlots: 0,
  linkDelayMs: 0,
  downloadTimeMs: 0,
  downloadRanges: true,
  cancelTimeMs: 0,
  transferIdleMs: 60 * MINUTE,
  sessionIdleMs: 30 * MINUTE,
  sessionAbsoluteMs: 24 * 60 * MINUTE,
  password: 'simulated',
  legacyLogin: true,
  transferUrl: '',
  storageProfiles: { Gold: 0, Silver: 0 } as Readonly<Record<string, number>>,
  transferStoreBytes: 0,
  operationsPerUser: 0,
  operationsPerOrg: 0,
  templateLeaseSeconds: 0,
};

/** Everything that the simulated vCD knows. */
export class World {
  readonly options: typeof DEFAULTS;
  readonly release: Release;
  /** The organisation that uploads go to unless somebody says otherwise. */
  readonly org: Organization;
  readonly orgs: readonly Organization[];
  readonly sessions: Sessions;
  readonly faults = new Faults();
  readonly imports: Slots;
  readonly requests: LoggedRequest[] = [];
  /** Tasks that outlive what they worked on. */
  readonly finishedTasks = new Map<string, { item: Item; task: Task }>();
  /** The last one of each subscribed catalog, by its id. */
  readonly syncs = new Map<string, Task>();
  /** Tasks whose owners are catalogs. */
  readonly catalogTasks = new Map<string, { catalog: Catalog; task: Task }>();
  /** `https://host:port`, known once the server listens. */
  base = '';
  /**
   * Bytes of files: what arrived, what had been stored of items that were given up, what fault rules
   * threw away, and what was given out for download.
   */
  readonly totals = { arrived: 0, discarded: 0, thrownAway: 0, served: 0 };
  /** Until then every connection is cut. Milliseconds since the epoch. */
  outageUntil = 0;
  readonly #transferTouched = new WeakMap<Entity, number>();
  #lineFreeAt = 0;
  readonly #bytesPerMs: number;

  constructor(options: SimulatorOptions) {
    this.options = { ...DEFAULTS, ...options };
    this.release = servedRelease(options);
    this.imports = new Slots(this.options.importSlots);
    this.#bytesPerMs = (options.rateBytesPerSecond ?? 0) / 1000;
    const { password, sessionIdleMs, sessionAbsoluteMs, templateLeaseSeconds } = this.options;
    const profiles = this.options.storageProfiles;
    this.org = organization('acme', { profiles, templateLeaseSeconds });
    const globex = organization('globex', { profiles: { Standard: 0 }, templateLeaseSeconds: 0 });
    this.orgs = [this.org, globex, organization('System')];
    addCatalog(this.org, 'appliances');
    addCatalog(this.org, 'archive');
    addCatalog(this.org, 'published', { kind: 'read-only' });
    addCatalog(this.org, 'subscribed', { kind: 'subscribed' });
    // Of the same name as acme's own: nobody may take it for that.
    addCatalog(globex, 'appliances', { sharedWith: ['acme'] });
    addCatalog(globex, 'tools', { sharedWith: ['acme'] });
    this.sessions = new Sessions(accountsOf(password), {
      idleMs: sessionIdleMs,
      absoluteMs: sessionAbsoluteMs,
    });
  }

  /** Where transfers go: another address than the API's, where one was named. */
  get transferBase(): string {
    return this.options.transferUrl === '' ? this.base : this.options.transferUrl;
  }

  /** The last ones alone: a simulator may run for weeks. */
  log(request: LoggedRequest): void {
    this.requests.push(request);
    if (this.requests.length > MAX_LOGGED) this.requests.splice(0, MAX_LOGGED / 2);
  }

  *items(): Generator<Item> {
    for (const org of this.orgs) {
      for (const catalog of [...org.catalogs, org.loose, org.vApps]) yield* catalog.items;
    }
  }

  item(id: string): Item | undefined {
    return this.#find((item) => item.id === id);
  }

  itemOfEntity(id: string): Item | undefined {
    return this.#find(({ entity }) => entity.id === id);
  }

  itemOfTask(id: string): Item | undefined {
    return this.#find(({ entity }) => entity.task.id === id);
  }

  /** The file behind the secret part of a transfer URL, while its transfer lasts. */
  transferFile(key: string): { item: Item; file: TransferFile } | undefined {
    for (const item of this.items()) {
      const file = item.entity.files.find((candidate) => candidate.key === key);
      if (file) return { item, file };
    }
    return undefined;
  }

  remove(item: Item): void {
    const { items } = item.catalog;
    const at = items.indexOf(item);
    this.finishedTasks.set(item.entity.task.id, { item, task: item.entity.task });
    if (at >= 0) items.splice(at, 1);
    if (at >= 0 && item.entity.task.status !== 'success') {
      for (const { sink } of item.entity.received) this.totals.discarded += sink.stored;
    }
    for (const file of item.entity.received) void file.sink.close();
  }

  /** A template whose lease has run out is not there any more. */
  expireLease(item: Item): void {
    const { leaseEnds } = item.entity;
    if (leaseEnds !== undefined && Date.now() >= leaseEnds.getTime()) this.remove(item);
  }

  /** Uploads and imports under way that count against a limit. */
  openOperations(of: (task: Task) => boolean): number {
    return [...this.items()].filter(({ entity: { task } }) => isOpen(task) && of(task)).length;
  }

  /** Bytes of transfers that are not imported yet. */
  get transferStoreUsed(): number {
    let used = 0;
    for (const { entity } of this.items()) {
      for (const { sink } of entity.files) used += sink.stored;
    }
    return used;
  }

  touchTransfer(entity: Entity): void {
    this.#transferTouched.set(entity, Date.now());
  }

  /** Ends a transfer that was idle for too long: its task fails and its URLs are gone. */
  expireIdleTransfer(entity: Entity): void {
    const touched = this.#transferTouched.get(entity);
    if (touched === undefined || entity.files.length === 0 || entity.status !== 0) return;
    if (Date.now() - touched > this.options.transferIdleMs) this.expireTransfer(entity);
  }

  expireTransfer(entity: Entity): void {
    if (entity.files.length === 0 || entity.status !== 0) return;
    if (entity.files.every(({ complete }) => complete)) return; // the import has begun
    entity.status = 17;
    entity.files = [];
    failTask(entity.task, 'TIMEDOUT', 'The transfer session timed out.');
  }

  /** Waits until the line has room for so many bytes; undefined if it is not limited. */
  throttle(bytes: number): Promise<void> | undefined {
    if (this.#bytesPerMs === 0) return undefined;
    const now = Date.now();
    this.#lineFreeAt = Math.max(this.#lineFreeAt, now) + bytes / this.#bytesPerMs;
    const waitMs = this.#lineFreeAt - now;
    // Timers are coarse: owe a little rather than sleep too long for every chunk.
    if (waitMs < 5) return undefined;
    return new Promise((resolve) => setTimeout(resolve, waitMs));
  }

  #find(test: (item: Item) => boolean): Item | undefined {
    for (const item of this.items()) if (test(item)) return item;
    return undefined;
  }
}

/** Versions that are named replace the release's own; without either a few of the newest are served. */
function servedRelease({ release, api }: SimulatorOptions): Release {
  const whole = releaseOf(release ?? '10.6');
  const named = api ?? (release === undefined ? ['39.1', '38.1', '37.0', '36.3'] : undefined);
  if (named === undefined) return whole;
  const { alpha: _alpha, ...facts } = whole;
  return { ...facts, versions: named.map((version) => ({ version, deprecated: false })) };
}
