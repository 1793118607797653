import { FerryError } from '../errors.ts';
import type { XmlElement } from '../xml.ts';
import { isQuota, type VcdMessage } from './answer.ts';
import type { CallContext, VcdApi } from './api.ts';
import { type DownloadOffer, parseOffer } from './download-offer.ts';
import { type Lease, parseLease } from './lease.ts';
import { findLink, parseTask, type TaskState } from './task.ts';

/** A file that the server waits for. */
export interface WantedFile {
  readonly name: string;
  /** Bytes; undefined where the server does not know (-1, or no attribute). */
  readonly size: number | undefined;
  readonly bytesTransferred: number;
  /** A secret: whoever has it can write to the item. */
  readonly uploadHref: string | undefined;
}

/** A vApp template or a media image as the server shows it now. */
export interface EntityState {
  readonly kind: 'vAppTemplate' | 'media' | 'vApp';
  readonly href: string;
  readonly name: string;
  readonly description: string;
  /** 8 for a template and 1 for media that are ready; -1 for one that failed. */
  readonly status: number;
  readonly files: readonly WantedFile[];
  readonly tasks: readonly TaskState[];
  /** As the server writes it. */
  readonly created: string | undefined;
  readonly editHref: string | undefined;
  /** Of a vApp that is off. */
  readonly powerOnHref: string | undefined;
  readonly lease: Lease | undefined;
  /** By which addresses it may be fetched. */
  readonly download: DownloadOffer;
  readonly media: { readonly size: string; readonly imageType: string | undefined } | undefined;
}

/** Failed, quarantine expired, rejected. */
const FAILED = new Set([-1, 15, 16]);
const TIMED_OUT = 17;
/** Powered off; resolved; powered on or off. */
const READY = {
  vAppTemplate: new Set([8]),
  media: new Set([1, 8]),
  vApp: new Set([4, 8]),
} as const;
const KINDS: Readonly<Record<string, EntityState['kind']>> = {
  VAppTemplate: 'vAppTemplate',
  Media: 'media',
  VApp: 'vApp',
};

export async function getEntity(
  api: VcdApi,
  href: string,
  context: CallContext,
): Promise<EntityState> {
  return parseEntity(await api.get(href, context), href);
}

export function parseEntity(root: XmlElement, href: string): EntityState {
  const isMedia = root.name === 'Media';
  const kind = KINDS[root.name];
  if (!kind) {
    throw new FerryError('SERVER_UNAVAILABLE', `expected a template or media, got a ${root.name}`);
  }
  const imageType = root.attribute('imageType');
  return {
    kind,
    href: root.attribute('href') ?? href,
    name: root.attribute('name') ?? '',
    description: root.child('Description')?.text ?? '',
    status: Number(root.attribute('status') ?? 0),
    // What is offered for download is not waited for.
    files: filesOf(root)
      .filter((file) => !findLink(file, 'download:default'))
      .map(parseFile),
    tasks: (root.child('Tasks')?.children('Task') ?? []).map(parseTask),
    created: root.child('DateCreated')?.text,
    editHref: findLink(root, 'edit')?.attribute('href'),
    powerOnHref: findLink(root, 'power:powerOn')?.attribute('href'),
    lease: parseLease(root),
    download: parseOffer(root, filesOf(root)),
    media: isMedia ? { size: root.attribute('size') ?? '', imageType } : undefined,
  };
}

function filesOf(root: XmlElement): XmlElement[] {
  return root.child('Files')?.children('File') ?? [];
}

function parseFile(file: XmlElement): WantedFile {
  const size = Number(file.attribute('size') ?? -1);
  return {
    name: file.attribute('name') ?? '',
    size: size >= 0 ? size : undefined,
    bytesTransferred: Number(file.attribute('bytesTransferred') ?? 0),
    uploadHref: findLink(file, 'upload:default')?.attribute('href'),
  };
}

export function isReady({ kind, status, files }: EntityState): boolean {
  return READY[kind].has(status) && files.every((f) => f.bytesTransferred === f.size);
}

/**
 * Throws if the upload is over on the server's side.
 *
 * @param taskHref the task that the upload began with: an entity also lists older ones
 * @throws FerryError IMPORT_REJECTED, IMPORT_FAILED, QUOTA_EXCEEDED, TRANSFER_EXPIRED, REMOVED_ON_SERVER
 */
export function assertAlive(
  entity: Pick<EntityState, 'status' | 'tasks'>,
  taskHref: string | undefined,
): void {
  const task = entity.tasks.find(({ href }) => href === taskHref) ?? entity.tasks[0];
  const error = task?.error;
  const facts = {
    status: entity.status,
    ...(error?.minorCode === undefined ? {} : { minorCode: error.minorCode }),
  };
  if (entity.status === TIMED_OUT || error?.minorCode === 'TIMEDOUT') {
    throw new FerryError(
      'TRANSFER_EXPIRED',
      `the transfer session is over: ${error?.message ?? ''}`,
      {
        facts,
      },
    );
  }
  if (task?.status === 'canceled') {
    throw new FerryError('REMOVED_ON_SERVER', 'the task of the upload was cancelled', { facts });
  }
  const ended = task?.status === 'error' || task?.status === 'aborted';
  if (!FAILED.has(entity.status) && !ended) return;
  const said = error?.message || 'it gave no reason';
  throw new FerryError(importErrorOf(error), `vCD did not import it: ${said}`, { facts });
}

/**
 * Whether what `assertAlive` threw says that the upload came to nothing by itself: not by a person, and
 * not by the package.
 */
export function endedByItself({ code }: FerryError): boolean {
  return code === 'TRANSFER_EXPIRED' || code === 'IMPORT_FAILED' || code === 'QUOTA_EXCEEDED';
}

/** Statuses by which vCD says that what it was given is wrong; others of 4xx pass, or are about rights. */
const OF_REQUEST: ReadonlySet<number> = new Set([400, 404, 405, 406, 410, 411, 413, 415, 422]);

/** Only what vCD says of the package itself is final; hosts, datastores and vCenters recover. */
function importErrorOf(
  error: VcdMessage | undefined,
): 'IMPORT_REJECTED' | 'IMPORT_FAILED' | 'QUOTA_EXCEEDED' {
  if (!error) return 'IMPORT_FAILED';
  const { majorCode, minorCode = '' } = error;
  if (isQuota(minorCode)) return 'QUOTA_EXCEEDED';
  if (/BUSY|LIMITS_EXCEEDED|TIMEOUT|TIMED_?OUT|UNAVAILABLE/.test(minorCode)) return 'IMPORT_FAILED';
  const ofPackage =
    (majorCode !== undefined && OF_REQUEST.has(majorCode)) ||
    /OVF|DESCRIPTOR|MANIFEST|CHECKSUM|VALIDATION|INVALID/.test(minorCode);
  return ofPackage ? 'IMPORT_REJECTED' : 'IMPORT_FAILED';
}
