import type { LocatedImage, OpenImage } from '../ovf/image.ts';
import type { PackageOptions } from '../ovf/package.ts';
import type { BlockPool } from '../source/blocks.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import type { Receipt } from './batch/ledger.ts';
import type { ChunkSizer } from './chunks.ts';
import type { Checkpoint } from './job-data.ts';
import type { DownloadRequest, UploadRequest } from './job-request.ts';
import type { TransferWindow } from './limits/transfer-window.ts';
import type { Owner } from './mark.ts';
import type { Meter } from './meter.ts';
import type { Patience } from './retry.ts';

/** What a log line carries besides its words; flat, no secrets. */
type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** What one upload remembers; writing is refused when the job is no longer ours. */
export interface CheckpointStore {
  readonly current: Checkpoint;
  /** Returns when it is stored. @throws FerryError LOCK_LOST */
  save(patch: Partial<Checkpoint>): Promise<void>;
  /** In memory now, stored with the next heartbeat: for what may be lost. */
  note(patch: Partial<Checkpoint>): void;
}

/** Lets bytes pass at the rate that is allowed. */
export interface Throttle {
  /** Largest piece that should pass at once, bytes. */
  pieceBytes(): number;
  pass(bytes: number, signal: AbortSignal): Promise<void>;
  /** Whether it has held bytes back of late: else the line is what limits. */
  readonly isBinding: boolean;
}

/**
 * One of the limited places on the line to a target, over all workers. Given back while the server
 * imports, so that a long import never idles the line.
 */
export interface LinePlace {
  /** Returns at once where it is held. @throws FerryError TARGET_BUSY after a minute without one */
  take(signal: AbortSignal): Promise<void>;
  free(): void;
  /** To be used while the place is held. */
  readonly pool: BlockPool;
}

/** Keeps apart the jobs that would make, or replace, an item of one name. */
interface Reservation {
  /** @throws FerryError NAME_RESERVED or NAME_TAKEN where another job has the name */
  claim(catalogUrn: string): Promise<void>;
  /** Whether a job of this installation goes on with what it began, by itself or by `retry`. */
  isLiving(jobId: string): Promise<boolean>;
  /** Whether it goes on by itself. */
  isUnderWay(jobId: string): Promise<boolean>;
  hasFailed(jobId: string): Promise<boolean>;
}

/** Keeps in mind which jobs read from an item that is enabled for download. */
interface Offers {
  /** This job reads from it, until it leaves. */
  join(entityHref: string): Promise<void>;
  /** We are about to enable it: so it is for us to disable it. */
  enabling(entityHref: string): Promise<void>;
  /** @returns whether it is to be disabled: we had enabled it, and no other job of ours reads from it */
  leave(entityHref: string): Promise<boolean>;
  /** It has been disabled. */
  disabled(entityHref: string): Promise<void>;
}

/** Keeps apart the jobs that would fill the rest of one storage profile together. */
interface StorageShare {
  /**
   * Keeps room for this job until it is over.
   *
   * @throws FerryError STORAGE_FULL where other jobs need it
   */
  claim(profile: { readonly name: string; readonly href: string }, needed: Needed): Promise<void>;
}

export interface Needed {
  readonly bytes: number;
  /** What the server says that is left. */
  readonly freeBytes: number;
}

/** Everything the story of an upload needs from outside. */
export interface UploadDeps {
  readonly vcd: Pick<
    VcdClient,
    | 'getCatalog'
    | 'createTemplate'
    | 'createMedia'
    | 'getItem'
    | 'getEntity'
    | 'getTask'
    | 'putDocument'
    | 'putRange'
    | 'edit'
    | 'getMetadata'
    | 'addMetadata'
    | 'setLease'
    | 'listStorageProfiles'
    | 'cancelTask'
    | 'remove'
    | 'enableDownload'
    | 'disableDownload'
    | 'openDownload'
    | 'copyItem'
    | 'addToCatalog'
    | 'getVdc'
    | 'instantiateOvf'
    | 'powerOn'
    | 'origin'
  >;
  /** Another target, to be read from. @throws FerryError CREDENTIALS_MISSING, TARGET_UNKNOWN */
  readonly source: (target: string) => Promise<UploadDeps['vcd']>;
  readonly openImage: (
    located: Pick<LocatedImage, 'kind' | 'path'>,
    options: PackageOptions,
  ) => Promise<OpenImage>;
  readonly checkpoint: CheckpointStore;
  /** Told what is odd about the image before anything is sent: it is shown with the job from then on. */
  readonly found: (warnings: readonly string[]) => void;
  readonly meter: Meter;
  readonly line: LinePlace;
  readonly reservation: Reservation;
  readonly storage: StorageShare;
  readonly offers: Offers;
  readonly chunks: ChunkSizer;
  readonly throttle: Throttle;
  readonly window: TransferWindow;
  /** Told how long an import took, where it was followed from its beginning. */
  readonly onImported: (ms: number) => void;
  /** Throws LOCK_LOST when this process may no longer write to the target. */
  readonly assertOwned: () => void;
  readonly newPatience: () => Patience;
  readonly settings: UploadSettings;
  readonly log: Log;
}

export interface UploadSettings {
  /**
   * How long the server's counts must stay the same before an upload that somebody else began goes on:
   * longer than a dead process's bytes live in sockets and in balancers that buffer.
   */
  readonly settleMs: number;
  /** The same after a failure of this process's own request. */
  readonly resettleMs: number;
  readonly filesInParallel: number;
  /** How often a transfer outside its window is sent something, so that it does not expire. */
  readonly trickleEveryMs: number;
  /** First and longest pause between two looks at the server while it works. */
  readonly pollFirstMs: number;
  readonly pollLongestMs: number;
  /** The same while it imports. */
  readonly importFirstMs: number;
  readonly importLongestMs: number;
  /** Bytes that a server may lose, however small the job is, before somebody has to decide. */
  readonly resendFloorBytes: number;
  /** How long a transfer session lives without a request. */
  readonly sessionIdleMs: number;
}

/** One job under way. */
export interface Work<Request> {
  readonly deps: UploadDeps;
  readonly request: Request;
  /** Marks what this job created. */
  readonly owner: Owner;
  /** Aborted when this process is to stop. */
  readonly shutdown: AbortSignal;
  readonly context: CallContext;
}

export type Upload = Work<UploadRequest>;
export type Download = Work<DownloadRequest>;

/** An upload whose image is open. */
export interface OpenUpload extends Upload {
  /** Which state of which files is being uploaded: two states are never mixed. */
  readonly content: string;
  /** Names what the files hold; undefined where no digests are known. */
  readonly contentKey: string | undefined;
  /** The same, as good as sure, where there are no digests. */
  readonly sampleKey?: string | undefined;
}

export interface UploadResult {
  readonly catalogItem: string;
  readonly entity: string;
  /** When vCD removes the item by itself, ISO 8601; null for never, and where nobody knows. */
  readonly removedAt: string | null;
  /** What went wrong after the item was ready. */
  readonly warnings: readonly string[];
  /** What it is made of; of what the server fetched or had already, nothing is known. */
  readonly files?: Receipt['files'];
  /** What a download has made. */
  readonly path?: string;
  /** Where only the server knew. */
  readonly kind?: 'ovf' | 'media';
}
