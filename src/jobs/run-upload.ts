import { classify, FerryError } from '../errors.ts';
import type { OpenImage } from '../ovf/image.ts';
import { cleanUp } from './clean-up.ts';
import type { Upload, UploadResult } from './upload-deps.ts';
import { uploadMedia } from './upload-media.ts';
import { uploadPackage } from './upload-package.ts';

/**
 * Opens the image and uploads it. When the server ends the transfer session, the item is made anew;
 * but a job never sends more than its own size again without being told to.
 *
 * @throws FerryError
 */
export async function runUpload(upload: Upload): Promise<UploadResult> {
  const { deps, request } = upload;
  const image = await deps.openImage(request, { verify: request.verify });
  try {
    await assertAsEnqueued(upload, image);
    for (const warning of image.warnings) deps.log.warn({ name: request.name }, warning);
    for (;;) {
      try {
        return image.kind === 'ovf'
          ? await uploadPackage(upload, image)
          : await uploadMedia(upload, image);
      } catch (error) {
        const failure = classify(error);
        if (failure.code !== 'TRANSFER_EXPIRED') throw failure;
        await startAnew(upload, failure);
      }
    }
  } finally {
    await image.close();
  }
}

async function startAnew(upload: Upload, cause: FerryError): Promise<void> {
  const { deps, request } = upload;
  deps.log.warn({ name: request.name }, `${cause.message}; it is made anew`);
  const { files, bytesTotal } = deps.meter.snapshot();
  for (const { name } of files) deps.meter.kept(name, 0);
  if (deps.meter.resent > bytesTotal) {
    throw new FerryError('RESEND_LIMIT', `${request.name} was sent and lost twice`, { cause });
  }
  await cleanUp(upload);
}

/** The file that was meant: written to since then, it may be half of something else. */
async function assertAsEnqueued({ request }: Upload, image: OpenImage): Promise<void> {
  await image.assertUnchanged();
  const { size, mtimeMs } = image.identity;
  if (size === request.identity.size && mtimeMs === request.identity.mtimeMs) return;
  throw new FerryError('SOURCE_CHANGED', `${request.path} was changed after it was enqueued`, {
    facts: { size, enqueuedSize: request.identity.size },
    hint: 'Enqueue it again.',
  });
}
