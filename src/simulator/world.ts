import { randomUUID } from 'node:crypto';
import { Faults } from './faults.ts';
import type { Catalog, Entity, Item, Organization, Task, TransferFile } from './model.ts';
import { Sessions } from './sessions.ts';

export interface SimulatorOptions {
  /** 0 takes any free port. */
  readonly port?: number;
  /** A folder for what is uploaded, or 'discard' to keep sizes and digests alone. */
  readonly store?: string;
  /** API versions that are served. */
  readonly api?: readonly string[];
  /** Bytes per second over all transfers. */
  readonly rateBytesPerSecond?: number;
  /** From the last byte of an upload to its being ready. */
  readonly importTimeMs?: number;
  /** From the descriptor to the files' upload links. */
  readonly linkDelayMs?: number;
  /** From the wish to cancel a task to its end. */
  readonly cancelTimeMs?: number;
  /** A transfer without a byte for so long is over (a real vCD: 60 minutes). */
  readonly transferIdleMs?: number;
  readonly sessionIdleMs?: number;
  readonly sessionAbsoluteMs?: number;
  readonly password?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
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

/** Everything that the simulated vCD knows. */
export class World {
  readonly options: Required<Omit<SimulatorOptions, 'tls' | 'port' | 'rateBytesPerSecond'>>;
  readonly org: Organization;
  readonly orgs: readonly Organization[];
  readonly sessions: Sessions;
  readonly faults = new Faults();
  readonly requests: LoggedRequest[] = [];
  /** Tasks that outlive what they worked on. */
  readonly finishedTasks = new Map<string, { item: Item; task: Task }>();
  /** `https://host:port`, known once the server listens. */
  base = '';
  /**
   * Bytes of files: what arrived, what had been stored of items that were given up, and what fault
   * rules threw away.
   */
  readonly totals = { arrived: 0, discarded: 0, thrownAway: 0 };
  /** Until then every connection is cut. Milliseconds since the epoch. */
  outageUntil = 0;
  readonly #transferTouched = new WeakMap<Entity, number>();
  #lineFreeAt = 0;
  readonly #bytesPerMs: number;

  constructor(options: SimulatorOptions) {
    this.options = {
      store: 'discard',
      api: ['39.1', '38.1', '37.0', '36.3'],
      importTimeMs: 0,
      linkDelayMs: 0,
      cancelTimeMs: 0,
      transferIdleMs: 60 * MINUTE,
      sessionIdleMs: 30 * MINUTE,
      sessionAbsoluteMs: 24 * 60 * MINUTE,
      password: 'simulated',
      ...options,
    };
    this.#bytesPerMs = (options.rateBytesPerSecond ?? 0) / 1000;
    this.org = organization('acme');
    this.orgs = [this.org, organization('System')];
    addCatalog(this.org, 'appliances');
    addCatalog(this.org, 'published', false);
    const { password, sessionIdleMs, sessionAbsoluteMs } = this.options;
    this.sessions = new Sessions(
      [
        { org: 'acme', user: 'admin', password },
        { org: 'System', user: 'administrator', password },
      ],
      { idleMs: sessionIdleMs, absoluteMs: sessionAbsoluteMs },
    );
  }

  /** The last ones alone: a simulator may run for weeks. */
  log(request: LoggedRequest): void {
    this.requests.push(request);
    if (this.requests.length > MAX_LOGGED) this.requests.splice(0, MAX_LOGGED / 2);
  }

  *items(): Generator<Item> {
    for (const org of this.orgs) for (const catalog of org.catalogs) yield* catalog.items;
  }

  catalog(id: string): Catalog | undefined {
    return this.orgs.flatMap(({ catalogs }) => catalogs).find((catalog) => catalog.id === id);
  }

  item(id: string): Item | undefined {
    return this.find((item) => item.id === id);
  }

  itemOfEntity(id: string): Item | undefined {
    return this.find(({ entity }) => entity.id === id);
  }

  itemOfTask(id: string): Item | undefined {
    return this.find(({ entity }) => entity.task.id === id);
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

  private find(test: (item: Item) => boolean): Item | undefined {
    for (const item of this.items()) if (test(item)) return item;
    return undefined;
  }
}

export function failTask(task: Task, minorCode: string, message: string, majorCode = 500): void {
  if (task.status !== 'running' && task.status !== 'queued') return;
  task.status = 'error';
  task.end = new Date();
  task.error = { majorCode, minorCode, message };
}

function organization(name: string): Organization {
  return { id: randomUUID(), name, catalogs: [] };
}

function addCatalog(org: Organization, name: string, writable = true): Catalog {
  const catalog: Catalog = {
    id: randomUUID(),
    name,
    org,
    writable,
    created: new Date(),
    items: [],
  };
  org.catalogs.push(catalog);
  return catalog;
}
