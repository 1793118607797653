import { classify, FerryError } from '../errors.ts';
import type { OpenImage } from '../ovf/image.ts';
import { orAborted } from '../vcd/api.ts';
import { cleanUp } from './clean-up.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';
import { uploadMedia } from './upload-media.ts';
import { uploadPackage } from './upload-package.ts';

/** Transfers that expire without a byte sent would otherwise be begun for ever. */
const MAX_RESTARTS = 3;

/**
 * Opens the image and uploads it. When the server ends the transfer session, the item is made anew;
 * but a job never sends more than its own size again without being told to.
 *
 * @throws FerryError
 */
export async function runUpload(begun: Upload): Promise<UploadResult> {
  const { deps, request, context } = begun;
  const image = await openUnlessAborted(begun);
  try {
    await assertAsEnqueued(request, image);
    const upload: OpenUpload = { ...begun, content: image.fingerprint };
    for (const warning of image.warnings) deps.log.warn({ name: request.name }, warning);
    for (;;) {
      try {
        return image.kind === 'ovf'
          ? await uploadPackage(upload, image)
          : await uploadMedia(upload, image);
      } catch (error) {
        const failure = classify(error);
        context.signal.throwIfAborted();
        if (failure.code !== 'TRANSFER_EXPIRED') throw failure;
        await startAnew(upload, failure);
      }
    }
  } finally {
    await image.close();
  }
}

/** Opening may take seconds; who is stopped meanwhile does not wait for it. */
async function openUnlessAborted({ deps, request, context }: Upload): Promise<OpenImage> {
  const opening = deps.openImage(request, { verify: request.verify });
  try {
    return await orAborted(opening, context.signal);
  } catch (error) {
    if (context.signal.aborted) opening.then((image) => image.close()).catch(() => undefined);
    throw error;
  }
}

async function startAnew(upload: Upload, cause: FerryError): Promise<void> {
  const { deps, request } = upload;
  deps.log.warn({ name: request.name }, `${cause.message}; it is made anew`);
  const { files, bytesTotal } = deps.meter.snapshot();
  for (const { name } of files) deps.meter.kept(name, 0);
  const restarts = deps.checkpoint.current.restarts + 1;
  if (deps.meter.resent > bytesTotal || restarts > MAX_RESTARTS) {
    throw new FerryError(
      'RESEND_LIMIT',
      `${request.name} was begun ${restarts} times, and the server lost it each time`,
      {
        cause,
      },
    );
  }
  await cleanUp(upload);
  await deps.checkpoint.save({ restarts });
}

/** The file that was meant: written to since then, it may be half of something else. */
async function assertAsEnqueued(request: Upload['request'], image: OpenImage): Promise<void> {
  await image.assertUnchanged();
  const { size, mtimeMs } = image.identity;
  if (size === request.identity.size && mtimeMs === request.identity.mtimeMs) return;
  throw new FerryError('SOURCE_CHANGED', `${request.path} was changed after it was enqueued`, {
    facts: { size, enqueuedSize: request.identity.size },
    hint: 'Enqueue it again.',
  });
}
