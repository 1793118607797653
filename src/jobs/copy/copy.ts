import type { UploadRequest } from '../job-request.ts';
import type { Upload } from '../upload-deps.ts';

/** An upload whose source is an item of a catalog. */
export type Copy = Upload & {
  readonly request: { readonly from: NonNullable<UploadRequest['from']> };
};

export function isCopy(upload: Upload): upload is Copy {
  return upload.request.from !== null;
}
