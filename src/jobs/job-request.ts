import { z } from 'zod';

const MetadataSchema = z.object({
  key: z.string(),
  type: z.enum(['string', 'number', 'boolean', 'dateTime']),
  value: z.string(),
});

/** What every job has. */
const COMMON = {
  /** As the user named it: an absolute path, an address, or `TARGET/CATALOG/ITEM`. */
  source: z.string(),
  target: z.string(),
  catalog: z.string(),
  name: z.string(),
  batch: z.string().nullable(),
  /** Only workers of this pool can see the files; null where all can. */
  pool: z.string().nullable().default(null),
  /** Bytes that are to be moved, as far as that could be told from outside. */
  expectedBytes: z.number().default(0),
  /** Milliseconds since the epoch: when it should have arrived. */
  deadline: z.number().nullable().default(null),
  /** What failed for good is left as it is. */
  keepFailed: z.boolean().default(false),
  /** Somebody wants it done, though it was done before. */
  again: z.boolean().default(false),
  /** The job that stood for the same before: what it has put there is what is wanted. */
  previous: z.string().nullable().default(null),
};

/** What is to be uploaded, and where to: fixed when it is enqueued. Holds no secret. */
const UploadRequestSchema = z.object({
  ...COMMON,
  operation: z.literal('upload').default('upload'),
  /** Null where only the server knows. */
  kind: z.enum(['ovf', 'media']).nullable(),
  /** The file that stands for the image: the archive, the descriptor, the ISO. */
  path: z.string(),
  description: z.string(),
  /** 'update': as 'skip' where it holds the same, else as 'replace'. */
  ifExists: z.enum(['fail', 'skip', 'replace', 'update']),
  storageProfile: z.string().nullable(),
  /** 'server': vCD itself checks a manifest, besides. */
  verify: z.enum(['full', 'off', 'server']),
  /** Seconds that the template is kept for, 0 for ever; null for what the organisation says. */
  leaseSeconds: z.number().nullable().default(null),
  /** To be noted on the item. */
  metadata: z.array(MetadataSchema).readonly().default([]),
  /** The item of another target that it is a copy of: its files are the source. */
  from: z
    .object({
      target: z.string(),
      catalog: z.string(),
      name: z.string(),
      /** The job that brings it there. */
      after: z.string().nullable().default(null),
      /** The other server may fetch it by itself. */
      pull: z.boolean().default(false),
    })
    .nullable()
    .default(null),
  /** In a virtual data centre, as a vApp, in place of a catalog; `catalog` is its name then. */
  deploy: z
    .object({
      vdc: z.string(),
      powerOn: z.boolean(),
      acceptEulas: z.boolean(),
      /** A network of the package, and the one of the data centre that stands for it. */
      networks: z.array(z.object({ source: z.string(), target: z.string() })).readonly(),
    })
    .nullable()
    .default(null),
  /** The server fetches the package from `path`, an address, by itself. */
  pull: z.boolean().default(false),
  /** Bytes and milliseconds: the state of the file that was meant. */
  identity: z.object({ size: z.number(), mtimeMs: z.number(), etag: z.string().optional() }),
});
export type UploadRequest = z.output<typeof UploadRequestSchema>;

/** Whether an item of the name may be taken the place of. */
export function mayReplace({ ifExists }: Pick<UploadRequest, 'ifExists'>): boolean {
  return ifExists === 'replace' || ifExists === 'update';
}

/** Whether one with the same content is enough. */
export function maySkip({ ifExists }: Pick<UploadRequest, 'ifExists'>): boolean {
  return ifExists === 'skip' || ifExists === 'update';
}

/** An item that is to be fetched. */
const DownloadRequestSchema = z.object({
  ...COMMON,
  operation: z.literal('download'),
  /** Only the server knows. */
  kind: z.null(),
  /** The folder, absolute, in which a file or folder of the item's name is made. */
  folder: z.string(),
  /** A package's files as they are, or as one archive. */
  format: z.enum(['files', 'ova']),
  ifExists: z.enum(['fail', 'skip', 'replace']),
});
export type DownloadRequest = z.output<typeof DownloadRequestSchema>;

/** Requests of older releases say no operation: they are uploads. */
export const JobRequestSchema = z.union([DownloadRequestSchema, UploadRequestSchema]);
export type JobRequest = z.output<typeof JobRequestSchema>;
