import { randomUUID } from 'node:crypto';
import { ApiError, badRequest } from './errors.ts';
import type { Sink } from './storage.ts';

/** What the simulator holds. Plain objects; the rules are in the resources' files. */
export interface Organization {
  readonly id: string;
  readonly name: string;
  readonly catalogs: Catalog[];
  /** The provider's own has none. */
  readonly vdc: Vdc | undefined;
  /** What was uploaded to the vDC and is in no catalog. */
  readonly loose: Catalog;
  readonly vApps: Catalog;
  /** Seconds after which a template is removed; 0 for never. */
  readonly templateLeaseSeconds: number;
}

/** A virtual data centre: whose storage holds the catalogs' items. */
export interface Vdc {
  readonly id: string;
  readonly name: string;
  readonly profiles: readonly StorageProfile[];
}

export interface StorageProfile {
  readonly id: string;
  readonly name: string;
  /** Bytes; 0 for no limit. */
  limitBytes: number;
  readonly isDefault: boolean;
}

export interface Catalog {
  readonly id: string;
  readonly name: string;
  readonly org: Organization;
  /** Read-only and subscribed ones have no add links. */
  readonly kind: 'local' | 'read-only' | 'subscribed';
  /** Names of other organisations that may read it. */
  readonly sharedWith: readonly string[];
  readonly created: Date;
  readonly items: Item[];
}

export interface Item {
  readonly id: string;
  catalog: Catalog;
  readonly created: Date;
  name: string;
  description: string;
  readonly entity: Entity;
  /** Its own, besides its entity's. */
  readonly metadata: Map<string, Note>;
}

/** A metadata value; `type` is its XML type. */
export interface Note {
  readonly type: string;
  readonly text: string;
  readonly domain: 'GENERAL' | 'SYSTEM';
}

export interface Entity {
  readonly kind: 'vAppTemplate' | 'media' | 'vApp';
  readonly id: string;
  readonly owner: string;
  status: number;
  descriptorUploaded: boolean;
  readonly manifestRequired: boolean;
  readonly imageType: string | undefined;
  readonly operationKey: string | undefined;
  /** Listed while the transfer lasts. */
  files: TransferFile[];
  /** Kept for `/_simulator/items` after the transfer. */
  received: TransferFile[];
  readonly task: Task;
  /** By key. */
  readonly metadata: Map<string, Note>;
  /** What its import will fail by. */
  importFault?: TaskError;
  /** What holds it. */
  readonly profile: StorageProfile | undefined;
  /** Seconds that a template is kept for; 0 for ever. */
  leaseSeconds: number;
  leaseEnds?: Date;
  /** Of a vApp: what was asked for. */
  readonly deployment?: Deployment;
  /** While it may be fetched. */
  download?: Download;
  /** The work of making that possible. */
  enabling?: Task;
}

/** What a vApp was asked to be. */
export interface Deployment {
  readonly acceptsEulas: boolean;
  /** Names of the package's networks that are mapped. */
  readonly sources: readonly string[];
}

/** What is offered for download. */
interface Download {
  /** The secret part of its URLs. */
  readonly key: string;
  /** Milliseconds since the epoch: when somebody asked for a byte of it last. */
  touchedAt: number;
}

interface TaskError {
  readonly majorCode: number;
  readonly minorCode: string;
  readonly message: string;
}

export interface TransferFile {
  readonly name: string;
  /** Bytes; undefined where the descriptor does not say, shown as -1 then. */
  readonly size: number | undefined;
  /** The secret part of its URL. */
  readonly key: string;
  readonly sink: Sink;
  complete: boolean;
  /** Milliseconds since the epoch: when its last byte was stored. */
  completedAt?: number;
  readonly ranges: SentRange[];
  /** What was stored when, for cells that lag behind; the last seconds. */
  readonly history: { readonly at: number; readonly stored: number }[];
}

/** One PUT: what it said it sends, and what came of it. */
export interface SentRange {
  readonly start: number;
  readonly end: number;
  /** Bytes that arrived. */
  arrived: number;
  /** Bytes that were kept. */
  stored: number;
  /** What the client calls the request; empty if it gave it no name. */
  readonly request: string;
}

export interface Task {
  readonly id: string;
  readonly operationName: string;
  readonly operation: string;
  readonly start: Date;
  readonly user: string;
  status: 'queued' | 'preRunning' | 'running' | 'success' | 'error' | 'canceled';
  /** Whose operation limit it counts against. */
  readonly org: string;
  progress: number;
  end?: Date;
  error?: TaskError;
}

export function newTask(
  operationName: string,
  operation: string,
  { user, org }: Pick<Task, 'user' | 'org'>,
): Task {
  return {
    id: randomUUID(),
    operationName,
    operation,
    start: new Date(),
    user,
    org,
    status: 'running',
    progress: 1,
  };
}

/** True until it has ended, one way or another. */
export function isOpen({ status }: Task): boolean {
  return status === 'queued' || status === 'preRunning' || status === 'running';
}

/** Bytes that an item takes of its storage profile. */
export function sizeOf({ received, kind }: Entity): number {
  const files = kind === 'media' ? received : received.slice(1);
  return files.reduce((sum, { sink }) => sum + sink.stored, 0);
}

/** The names of one catalog are unique over templates and media alike. */
export function itemNamed(catalog: Catalog, name: string): Item | undefined {
  return catalog.items.find((item) => item.name === name);
}

/** @throws ApiError 400 */
export function assertName(name: string): void {
  if (name.trim() !== '' && name.length <= 128) return;
  throw badRequest('Bad request\n - name must have 1 to 128 characters');
}

/** @throws ApiError DUPLICATE_NAME */
export function renameItem(item: Item, name: string): void {
  assertName(name);
  const other = itemNamed(item.catalog, name);
  if (other && other !== item) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  item.name = name;
}

/** @throws ApiError BUSY_ENTITY while its task runs: cancel that first */
export function assertIdle(item: Item): void {
  if (!isOpen(item.entity.task)) return;
  throw new ApiError(
    400,
    'BUSY_ENTITY',
    `The entity ${item.name} is busy completing an operation ${item.entity.task.operationName}.`,
  );
}

export function failTask(task: Task, minorCode: string, message: string, majorCode = 500): void {
  if (!isOpen(task)) return;
  task.status = 'error';
  task.end = new Date();
  task.error = { majorCode, minorCode, message };
}

/** From now on a template is kept for as long as its lease says. */
export function beginLease(entity: Entity): void {
  if (entity.kind === 'media' || entity.leaseSeconds === 0) delete entity.leaseEnds;
  else entity.leaseEnds = new Date(Date.now() + entity.leaseSeconds * 1000);
}
