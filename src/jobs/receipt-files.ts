import { z } from 'zod';

/** What a finished job moved, file by file. */
export const ReceiptFilesSchema = z
  .array(
    z.object({
      name: z.string(),
      /** Bytes. */
      size: z.number(),
      /** `sha256:…`; null where none is known. */
      digest: z.string().nullable(),
      /** Whether the bytes were hashed on their way, rather than only the manifest believed. */
      verified: z.boolean(),
    }),
  )
  .readonly();
