/**
 * What a caller should do next after a failure.
 *
 * - permanent: stop; the same call will fail the same way.
 * - transient: wait, then repeat the call.
 * - conflict:  the server is not where we thought; read its state again, then decide.
 * - cancelled: somebody asked us to stop. Never counted as an attempt.
 */
export type ErrorKind = 'permanent' | 'transient' | 'conflict' | 'cancelled';

interface Meaning {
  readonly kind: ErrorKind;
  /** What an operator can do about it; an error may carry a more precise one. */
  readonly hint: string;
  /** The fault is the target's, not the job's: it fails no job, and every job of the target has it. */
  readonly ofTarget?: true;
}

/** Every code there is. `docs/errors.md` explains each; a test compares the two. */
const CODES = {
  SOURCE_NOT_FOUND: { kind: 'permanent', hint: 'Check the path, and that the worker can see it.' },
  SOURCE_UNREADABLE: { kind: 'permanent', hint: 'Give the worker permission to read the file.' },
  SOURCE_UNREACHABLE: {
    kind: 'transient',
    hint: "Mount the file system again on the worker's machine; the job is kept and tried again.",
  },
  SOURCE_CHANGED: {
    kind: 'permanent',
    hint: 'Wait until the file is written completely, then enqueue it again.',
  },
  PACKAGE_CORRUPT: { kind: 'permanent', hint: 'Fetch or export the package again.' },
  PACKAGE_INCOMPLETE: { kind: 'permanent', hint: 'Put the missing file back into the package.' },
  PACKAGE_UNSAFE: {
    kind: 'permanent',
    hint: 'Packages may only name files of their own; do not trust where this one came from.',
  },
  PACKAGE_UNSUPPORTED: {
    kind: 'permanent',
    hint: 'Export the package again without this feature.',
  },
  PACKAGE_AMBIGUOUS: { kind: 'permanent', hint: 'Name the one descriptor you mean.' },
  DESCRIPTOR_INVALID: { kind: 'permanent', hint: 'Export the package again.' },
  MANIFEST_INVALID: {
    kind: 'permanent',
    hint: 'Mend or remove the .mf file, or upload with --verify off.',
  },
  DIGEST_MISMATCH: {
    kind: 'permanent',
    hint: 'The file is not what its manifest says: fetch the package again.',
  },
  AUTH_REJECTED: {
    kind: 'permanent',
    ofTarget: true,
    hint: "Correct the target's organisation and credentials. What is queued for it goes on by itself.",
  },
  PROXY_REFUSED: {
    kind: 'transient',
    hint: "Correct the target's `proxy` (or HTTPS_PROXY), its user and password, or what it lets through. What is queued goes on by itself.",
  },
  CREDENTIALS_MISSING: {
    kind: 'permanent',
    ofTarget: true,
    hint: "Give the worker the target's credentials.",
  },
  TLS_UNTRUSTED: {
    kind: 'permanent',
    ofTarget: true,
    hint: "Name the certificate's CA in the target's `ca`, or pin it with `certificateSha256`.",
  },
  HOST_NOT_FOUND: {
    kind: 'transient',
    ofTarget: true,
    hint: "Check the host name in the target's `url` and this machine's DNS.",
  },
  NOT_VCD: {
    kind: 'permanent',
    ofTarget: true,
    hint: "Check the target's `url`: what answers there is not a VMware Cloud Director.",
  },
  VERSION_UNSUPPORTED: {
    kind: 'permanent',
    ofTarget: true,
    hint: 'This server speaks no API version that ovaferry knows.',
  },
  CATALOG_FORBIDDEN: {
    kind: 'permanent',
    ofTarget: true,
    hint: 'The user needs the right "vApp Template / Media: Create / Upload" and write access to the catalog, which must not be a subscribed one: `ovaferry doctor` says which.',
  },
  QUOTA_EXCEEDED: {
    kind: 'permanent',
    ofTarget: true,
    hint: 'Make room or raise the quota, then `ovaferry resume TARGET`.',
  },
  ORG_NOT_FOUND: {
    kind: 'permanent',
    ofTarget: true,
    hint: "Correct the target's `org` or `tenant`.",
  },
  STORAGE_FULL: {
    kind: 'transient',
    ofTarget: true,
    hint: 'Make room on the storage profile or raise its limit: the job then goes on by itself.',
  },
  SOURCE_PENDING: {
    kind: 'transient',
    hint: 'It goes on by itself when the upload that it follows has arrived.',
  },
  ITEM_NOT_FOUND: { kind: 'permanent', hint: '`ovaferry ls TARGET/CATALOG` lists what is there.' },
  VDC_NOT_FOUND: { kind: 'permanent', hint: 'Check the name given with --vdc.' },
  NETWORK_NOT_FOUND: { kind: 'permanent', hint: 'Check the names given with --network.' },
  EULA_NOT_ACCEPTED: {
    kind: 'permanent',
    hint: '`ovaferry inspect` says what it has; --accept-eulas accepts all of it.',
  },
  POWER_ON_REJECTED: {
    kind: 'permanent',
    hint: 'The vApp is there, and off. Mend what vCD says, then retry the job: nothing is sent again.',
  },
  LIBRARY_REJECTED: { kind: 'permanent', hint: "See the content library's own message." },
  DOWNLOAD_FORBIDDEN: {
    kind: 'permanent',
    hint: 'The user needs the right "vApp Template: Download".',
  },
  DESTINATION_EXISTS: {
    kind: 'permanent',
    hint: 'Name another folder, or say --if-exists replace or skip.',
  },
  DESTINATION_UNWRITABLE: {
    kind: 'permanent',
    hint: 'Give the worker a folder that it may write to.',
  },
  DESTINATION_UNREACHABLE: {
    kind: 'transient',
    hint: "Mount the file system again on the worker's machine; the job is kept and tried again.",
  },
  DESTINATION_FULL: {
    kind: 'transient',
    hint: 'Make room on the disk: the job then goes on by itself.',
  },
  STORAGE_PROFILE_NOT_FOUND: {
    kind: 'permanent',
    hint: 'Check the name given with --storage-profile.',
  },
  CATALOG_NOT_FOUND: {
    kind: 'permanent',
    hint: 'Check the name of the catalog and of the organisation.',
  },
  NAME_TAKEN: {
    kind: 'permanent',
    hint: 'Choose another name with --name, or remove the item that has it.',
  },
  NAME_RESERVED: {
    kind: 'transient',
    hint: 'Another job is working on an item of this name; this one waits for its end.',
  },
  IMPORT_FAILED: {
    kind: 'transient',
    hint: "It was not the package's fault: see the task in vCD's UI. It is sent once more.",
  },
  IMPORT_REJECTED: {
    kind: 'permanent',
    hint: "vCD refused the package; its own message says why. See also the task in vCD's UI.",
  },
  VERIFY_UNSUPPORTED: {
    kind: 'permanent',
    hint: 'This server does not ask for a manifest: upload it with --verify full.',
  },
  REMOVED_ON_SERVER: {
    kind: 'permanent',
    hint: 'Somebody removed the unfinished item. Enqueue the upload again if it is still wanted.',
  },
  RESEND_LIMIT: {
    kind: 'permanent',
    hint: 'The server lost what it had been sent. Find out why, then retry the job.',
  },
  GAVE_UP: { kind: 'permanent', hint: 'Nothing moved for too long. Mend the cause, then retry.' },
  VCD_REJECTED: { kind: 'permanent', hint: "See vCD's own message." },
  JOB_DATA_INVALID: {
    kind: 'permanent',
    hint: 'The job was written by another release. Enqueue the upload again.',
  },
  INTERNAL: { kind: 'permanent', hint: 'This is a fault in ovaferry: please report it.' },
  NETWORK: {
    kind: 'transient',
    hint: 'Check the line to the target; it is tried again by itself.',
  },
  WORKER_OVERLOADED: {
    kind: 'transient',
    hint: "Raise the limits of the worker's machine (`ulimit -n`, `ulimit -u`, memory), or its `concurrency` is too high; the job is kept and tried again.",
  },
  SERVER_UNAVAILABLE: { kind: 'transient', hint: 'vCD is out of order; it is tried again.' },
  TRANSFER_STALLED: { kind: 'transient', hint: 'No byte moved for a while; it is tried again.' },
  ITEM_BUSY: { kind: 'transient', hint: 'vCD is working on the item; it is tried again.' },
  TARGET_BUSY: { kind: 'transient', hint: "vCD's operation limit is reached; it is tried again." },
  WINDOW_CLOSED: {
    kind: 'transient',
    hint: 'It is begun anew when the next window opens; `atWindowEnd: trickle` would keep what has arrived.',
  },
  WINDOW_TOO_SHORT: {
    kind: 'transient',
    hint: 'Make a window longer, or say `atWindowEnd: trickle`: the job is kept and looked at again in each window.',
  },
  OFFSET_MISMATCH: { kind: 'conflict', hint: "The server's count is read again." },
  TRANSFER_REFUSED: {
    kind: 'transient',
    hint: 'The address did not accept the bytes; the item is asked, and it is tried again.',
  },
  ITEM_GONE: { kind: 'conflict', hint: 'The catalog is read again.' },
  TRANSFER_EXPIRED: { kind: 'conflict', hint: 'The transfer session ended; a new one is made.' },
  SHUTDOWN: { kind: 'cancelled', hint: 'The job is handed to the next worker.' },
  LOCK_LOST: { kind: 'cancelled', hint: 'Another worker has the job.' },
  CANCELLED: { kind: 'cancelled', hint: 'Enqueue it again if it is still wanted.' },
  USAGE: { kind: 'permanent', hint: 'See --help.' },
  CONFIG_INVALID: { kind: 'permanent', hint: 'Correct the configuration file.' },
  TARGET_UNKNOWN: { kind: 'permanent', hint: 'Add the target to the configuration.' },
  JOB_NOT_FOUND: { kind: 'permanent', hint: '`ovaferry status` lists the jobs.' },
  BATCH_NOT_FOUND: { kind: 'permanent', hint: '`ovaferry status --batches` lists them.' },
  REDIS_UNAVAILABLE: { kind: 'transient', hint: 'Start Redis, or correct `redis`.' },
  REDIS_UNSUITABLE: {
    kind: 'permanent',
    hint: 'Use Redis 6.2 or newer (or Valkey) with maxmemory-policy noeviction.',
  },
} as const satisfies Record<string, Meaning>;

export type ErrorCode = keyof typeof CODES;
export const errorCodes = Object.keys(CODES) as ErrorCode[];

/** Flat and safe to log: no token, header, body or transfer URL. */
export type Facts = Readonly<Record<string, string | number | boolean>>;

export interface ErrorDetails {
  readonly facts?: Facts;
  readonly hint?: string;
  readonly cause?: unknown;
  /** How long the server asks us to wait. */
  readonly retryAfterMs?: number | undefined;
}

/** Every failure that ovaferry knows of. The code decides the kind; nobody branches on messages. */
export class FerryError extends Error {
  override readonly name = 'FerryError';
  readonly code: ErrorCode;
  readonly facts: Facts;
  readonly hint: string;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.facts = details.facts ?? {};
    this.hint = details.hint ?? CODES[code].hint;
    this.retryAfterMs = details.retryAfterMs;
  }

  get kind(): ErrorKind {
    return CODES[this.code].kind;
  }
}

/** True where the fault is the target's own: it fails no job, since every job of it has the same. */
export function isTargetFault(code: string): boolean {
  const meaning = (CODES as Record<string, Meaning>)[code];
  return meaning?.ofTarget === true;
}

/** What a system says that has no descriptors, processes, threads or memory left. */
const EXHAUSTED =
  /\b(EMFILE|ENFILE|EAGAIN|ENOMEM|ENOBUFS|ERR_WORKER_INIT_FAILED|ERR_WORKER_OUT_OF_MEMORY)\b/;

/** Whether something failed since this machine has reached one of its limits. */
export function isExhausted(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code = '' } = error as NodeJS.ErrnoException;
  return EXHAUSTED.test(code) || EXHAUSTED.test(error.message);
}

/**
 * Makes a FerryError of anything thrown: what is not one already is the machine's, or a fault of ours.
 * What nobody foresaw destroys nothing: what is on the server stays there.
 */
export function classify(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isExhausted(error)) {
    return new FerryError('WORKER_OVERLOADED', `this machine has too little left: ${message}`, {
      cause: error,
    });
  }
  return new FerryError('INTERNAL', message, { cause: error });
}
