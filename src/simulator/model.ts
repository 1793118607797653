import { randomUUID } from 'node:crypto';
import { ApiError } from './errors.ts';
import type { Sink } from './storage.ts';

/** What the simulator holds. Plain objects; the rules are in the resources' files. */
export interface Organization {
  readonly id: string;
  readonly name: string;
  readonly catalogs: Catalog[];
}

export interface Catalog {
  readonly id: string;
  readonly name: string;
  readonly org: Organization;
  /** False for subscribed and read-only catalogs: they have no add links. */
  readonly writable: boolean;
  readonly created: Date;
  readonly items: Item[];
}

export interface Item {
  readonly id: string;
  readonly catalog: Catalog;
  readonly created: Date;
  name: string;
  description: string;
  readonly entity: Entity;
}

export interface Entity {
  readonly kind: 'vAppTemplate' | 'media';
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
  /** By key; `type` is the value's XML type. */
  readonly metadata: Map<string, { readonly type: string; readonly text: string }>;
  /** What its import will fail by. */
  importFault?: TaskError;
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
  progress: number;
  end?: Date;
  error?: TaskError;
}

export function newTask(operationName: string, operation: string, user: string): Task {
  return {
    id: randomUUID(),
    operationName,
    operation,
    start: new Date(),
    user,
    status: 'running',
    progress: 1,
  };
}

/** The names of one catalog are unique over templates and media alike. */
export function findItem(catalog: Catalog, name: string): Item | undefined {
  return catalog.items.find((item) => item.name === name);
}

/** @throws ApiError DUPLICATE_NAME */
export function renameItem(item: Item, name: string): void {
  const other = findItem(item.catalog, name);
  if (other && other !== item) {
    throw new ApiError(400, 'DUPLICATE_NAME', `The VCD entity ${name} already exists.`);
  }
  item.name = name;
}

/** @throws ApiError BUSY_ENTITY while its task runs: cancel that first */
export function assertIdle(item: Item): void {
  if (item.entity.task.status !== 'running') return;
  throw new ApiError(
    400,
    'BUSY_ENTITY',
    `The entity ${item.name} is busy completing an operation ${item.entity.task.operationName}.`,
  );
}
