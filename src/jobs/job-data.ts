import { z } from 'zod';
import { FerryError } from '../errors.ts';
import { type JobRequest, JobRequestSchema } from './job-request.ts';
import { ReceiptFilesSchema } from './receipt-files.ts';

/** The item that this job made. */
const OwnItemSchema = z.object({
  itemHref: z.string(),
  entityHref: z.string(),
  taskHref: z.string().nullable(),
});
export type OwnItem = z.output<typeof OwnItemSchema>;

/** What is remembered of an item that others' bytes are read from. */
const OfferSchema = z.object({
  entityHref: z.string(),
  /** By a file's name: its size and what its first bytes hash to, which a new address must show, too. */
  heads: z.record(z.string(), z.string()).default({}),
});
export type Offer = z.output<typeof OfferSchema>;

/** When a target was out of reach, in milliseconds since the epoch. */
const OutageSchema = z.object({
  since: z.number(),
  /** When it answered again; null while it has not. */
  until: z.number().nullable(),
});
export type Outage = z.output<typeof OutageSchema>;

/** What is remembered of a download besides the bytes on the disk, which alone say how many there are. */
const DownloadSchema = z.object({
  /** What it will be called: the file or folder. */
  path: z.string(),
  /** Folders that it made. */
  made: z.array(z.string()).readonly(),
  /** By the file's path below `path`. */
  parts: z.record(
    z.string(),
    z.object({
      /** Bytes that are on the disk whatever happens to the machine. */
      synced: z.number(),
      /** Of a whole file: its digests, hexadecimal. */
      digests: z.array(z.string()).readonly().nullable(),
      /** After a restart of this machine, or on another, `synced` is all there is to go by. */
      host: z.string(),
      boot: z.string().nullable().default(null),
      /** The disk has refused to keep what was written: nothing behind `synced` is to be trusted. */
      refused: z.boolean().default(false),
      /** Milliseconds since the epoch. */
      notedAt: z.number(),
    }),
  ),
  /** Milliseconds since the epoch. */
  begunAt: z.number(),
  /** All files are whole: what is left is to give them their names. Then this is what came of it. */
  whole: z
    .object({
      catalogItem: z.string(),
      entity: z.string(),
      kind: z.enum(['ovf', 'media']),
      files: ReceiptFilesSchema,
    })
    .nullable(),
});
export type DownloadState = z.output<typeof DownloadSchema>;

/**
 * What a job remembers between its runs. How many bytes have arrived is not in it: that the server
 * alone knows.
 */
const CheckpointSchema = z.object({
  /** A creating request may have gone out: look for what it made before making another. */
  creating: z.boolean(),
  item: OwnItemSchema.nullable(),
  /** The state of the image's files when the item was begun. */
  content: z.string().nullable(),
  /** How often the item was made anew, since somebody last said that it should be tried. */
  restarts: z.number(),
  /** Somebody wants it tried again: an item that has come to nothing is made anew. */
  retried: z.boolean().default(false),
  /** Names the creation of the item that is under way, for servers that would do the same twice. */
  creation: z.string().nullable().default(null),
  /** Bytes that the server had confirmed and that had to be sent again, since then. */
  bytesLost: z.number().default(0),
  /** Our place in the reservations of names. */
  reserved: z.string().nullable().default(null),
  /** Names the image's content, where that took reading it all. */
  contentKey: z.string().nullable().default(null),
  /** The item that ours takes the place of, as it was seen before ours was begun. */
  replaces: z.object({ itemHref: z.string(), entityHref: z.string() }).nullable().default(null),
  /** By the file's name in the package: how far it has been hashed. */
  digests: z
    .record(z.string(), z.object({ offset: z.number(), states: z.array(z.string()).readonly() }))
    .default({}),
  /** By the file's name in the package: the digest of what was sent of it, for a manifest of ours. */
  made: z.record(z.string(), z.string()).default({}),
  /** The storage profile on which room is kept for it. */
  storage: z.string().nullable().default(null),
  /** The item that its bytes come from. */
  offer: OfferSchema.nullable().default(null),
  download: DownloadSchema.nullable().default(null),
  /** The other server fetches it by itself; it could not. */
  isPulled: z.boolean().default(false),
  pullRefused: z.boolean().default(false),
  /** The task of a copy that the server makes. */
  copyTask: z.string().nullable().default(null),
  /** Bytes that were sent and not kept by the server, so far. */
  bytesResent: z.number(),
  /** Milliseconds since the epoch: when the server's counts last grew. */
  progressedAt: z.number().nullable(),
  /** The last time that the target was out of reach. */
  outage: OutageSchema.nullable().default(null),
});
export type Checkpoint = z.output<typeof CheckpointSchema>;

const JobErrorSchema = z.object({
  code: z.string(),
  message: z.string(),
  permanent: z.boolean(),
  hint: z.string(),
});
export type JobError = z.output<typeof JobErrorSchema>;

const JobDataSchema = z.object({
  v: z.literal(1),
  request: JobRequestSchema,
  checkpoint: CheckpointSchema,
  /** Runs that ended by themselves, well or badly; being handed over is not one. */
  attempts: z.number(),
  /** The last failure, while it matters. */
  error: JobErrorSchema.nullable(),
  /** Milliseconds since the epoch. */
  startedAt: z.number().nullable(),
  /** It has failed for good; what is left to do is to clean the server up. */
  verdict: JobErrorSchema.nullable(),
  warnings: z.array(z.string()),
  /** Milliseconds since the epoch: the first of the failures in a row that it is in. */
  failingSince: z.number().nullable(),
  /** Milliseconds since the epoch: when a delayed job runs next. */
  retryAt: z.number(),
  /** It is delayed until a window of its target opens. */
  waitsForWindow: z.boolean().default(false),
  /** What the requests of its last runs were called, newest last. */
  requestIds: z.array(z.string()).readonly().default([]),
});
export type JobData = z.output<typeof JobDataSchema>;

export const NO_CHECKPOINT: Checkpoint = {
  creating: false,
  item: null,
  content: null,
  restarts: 0,
  retried: false,
  creation: null,
  bytesLost: 0,
  reserved: null,
  contentKey: null,
  replaces: null,
  digests: {},
  made: {},
  storage: null,
  offer: null,
  download: null,
  isPulled: false,
  pullRefused: false,
  copyTask: null,
  bytesResent: 0,
  progressedAt: null,
  outage: null,
};

/** Whether it may have something on the server, or is to be ended: no limit holds it back. */
export function hasBegun({
  checkpoint,
  verdict,
}: Pick<JobData, 'checkpoint' | 'verdict'>): boolean {
  const { item, creating, offer, download } = checkpoint;
  return item !== null || creating || offer !== null || download !== null || verdict !== null;
}

/** @param startAt milliseconds since the epoch; 0 for at once */
export function newJobData(request: JobRequest, startAt = 0): JobData {
  return {
    v: 1,
    request,
    checkpoint: NO_CHECKPOINT,
    attempts: 0,
    error: null,
    startedAt: null,
    verdict: null,
    warnings: [],
    failingSince: null,
    retryAt: startAt,
    waitsForWindow: false,
    requestIds: [],
  };
}

/**
 * Job data comes out of Redis, where an older or newer release may have put it.
 *
 * @throws FerryError JOB_DATA_INVALID
 */
export function parseJobData(data: unknown): JobData {
  const parsed = JobDataSchema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw new FerryError(
    'JOB_DATA_INVALID',
    `the job's data can't be read: ${z.prettifyError(parsed.error)}`,
  );
}

export type Stage =
  | 'queued'
  | 'inspecting'
  | 'enabling'
  | 'creating'
  | 'describing'
  | 'transferring'
  | 'importing'
  | 'done';

/** What is shown of a running job. `percentage`-like figures are for the reader to make. */
export interface JobProgress {
  readonly stage: Stage;
  /** Bytes that the server keeps, as far as we know, plus `bytesResent`. */
  readonly bytesSent: number;
  readonly bytesTotal: number;
  readonly bytesResent: number;
  /** Bytes that the server has said it has. */
  readonly bytesConfirmed: number;
  readonly files: readonly {
    readonly name: string;
    readonly size: number;
    readonly sent: number;
  }[];
}
