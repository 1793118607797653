import { FerryError } from '../errors.ts';
import type { XmlElement } from '../xml.ts';
import { isQuota, messageOf, type VcdMessage } from './answer.ts';
import type { CallContext, VcdApi } from './api.ts';

/** A file that the server waits for. */
export interface WantedFile {
  readonly name: string;
  /** Bytes; undefined where the server does not know (-1, or no attribute). */
  readonly size: number | undefined;
  readonly bytesTransferred: number;
  /** A secret: whoever has it can write to the item. */
  readonly uploadHref: string | undefined;
}

export interface TaskState {
  readonly href: string;
  readonly status: string;
  readonly error: VcdMessage | undefined;
  readonly cancelHref: string | undefined;
}

/** A vApp template or a media image as the server shows it now. */
export interface EntityState {
  readonly kind: 'vAppTemplate' | 'media';
  readonly href: string;
  readonly name: string;
  readonly description: string;
  /** 8 for a template and 1 for media that are ready; -1 for one that failed. */
  readonly status: number;
  readonly files: readonly WantedFile[];
  readonly tasks: readonly TaskState[];
  readonly editHref: string | undefined;
  readonly media: { readonly size: string; readonly imageType: string | undefined } | undefined;
}

/** Failed, quarantine expired, rejected. */
const FAILED = new Set([-1, 15, 16]);
const TIMED_OUT = 17;
const READY = { vAppTemplate: new Set([8]), media: new Set([1, 8]) } as const;

export async function getEntity(
  api: VcdApi,
  href: string,
  context: CallContext,
): Promise<EntityState> {
  return parseEntity(await api.get(href, context), href);
}

export function parseEntity(root: XmlElement, href: string): EntityState {
  const isMedia = root.name === 'Media';
  if (!isMedia && root.name !== 'VAppTemplate') {
    throw new FerryError('SERVER_UNAVAILABLE', `expected a template or media, got a ${root.name}`);
  }
  const imageType = root.attribute('imageType');
  return {
    kind: isMedia ? 'media' : 'vAppTemplate',
    href: root.attribute('href') ?? href,
    name: root.attribute('name') ?? '',
    description: root.child('Description')?.text ?? '',
    status: Number(root.attribute('status') ?? 0),
    files: (root.child('Files')?.children('File') ?? []).map(parseFile),
    tasks: (root.child('Tasks')?.children('Task') ?? []).map(parseTask),
    editHref: findLink(root, 'edit')?.attribute('href'),
    media: isMedia ? { size: root.attribute('size') ?? '', imageType } : undefined,
  };
}

/** By relation and, where one is given, by type; never by position. Types differ in case. */
export function findLink(root: XmlElement, rel: string, type?: string): XmlElement | undefined {
  return root
    .children('Link')
    .find(
      (link) =>
        link.attribute('rel') === rel &&
        (type === undefined || link.attribute('type')?.toLowerCase() === type.toLowerCase()),
    );
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

export function parseTask(task: XmlElement): TaskState {
  const error = task.child('Error');
  return {
    href: task.attribute('href') ?? '',
    status: (task.attribute('status') ?? '').toLowerCase(),
    error: error ? messageOf(error) : undefined,
    cancelHref: findLink(task, 'task:cancel')?.attribute('href'),
  };
}

const UNDER_WAY = new Set(['queued', 'prerunning', 'running', 'postrunning']);

/** True while vCD itself has something to do: a task that waits for its turn may wait for ever. */
export function isUnderWay({ status }: TaskState): boolean {
  return UNDER_WAY.has(status);
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

/** Only what vCD says of the package itself is final; hosts, datastores and vCenters recover. */
function importErrorOf(
  error: VcdMessage | undefined,
): 'IMPORT_REJECTED' | 'IMPORT_FAILED' | 'QUOTA_EXCEEDED' {
  if (!error) return 'IMPORT_FAILED';
  const { majorCode, minorCode = '' } = error;
  if (isQuota(minorCode)) return 'QUOTA_EXCEEDED';
  const ofPackage =
    (majorCode !== undefined && majorCode >= 400 && majorCode < 500) ||
    /OVF|DESCRIPTOR|MANIFEST|CHECKSUM|VALIDATION|INVALID/.test(minorCode);
  return ofPackage ? 'IMPORT_REJECTED' : 'IMPORT_FAILED';
}
