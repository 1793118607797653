import { basename } from 'node:path';
import { classify, FerryError } from '../errors.ts';
import type { OpenImage } from '../ovf/image.ts';
import { isFolderGone } from '../source/local-file.ts';
import { isAddress } from '../source/open-source.ts';
import { orAborted } from '../vcd/abort.ts';
import { endedByItself } from '../vcd/entity.ts';
import type { Receipt } from './batch/ledger.ts';
import { hasAnother } from './claim-item.ts';
import { cleanUp } from './clean-up.ts';
import { neededContentKey, sampleKeyOf } from './content-key.ts';
import { isCopy } from './copy/copy.ts';
import { copyItem } from './copy/copy-item.ts';
import { assertDeployable, powerOn } from './deploy.ts';
import { countRestart, startAnew } from './start-anew.ts';
import { uploadByPull } from './upload-by-pull.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';
import { uploadMedia } from './upload-media.ts';
import { uploadPackage } from './upload-package.ts';

/** They leave an item that is of no use either, where somebody has said that it should be tried again. */
const OVER: ReadonlySet<string> = new Set(['IMPORT_REJECTED', 'REMOVED_ON_SERVER']);

function isToBeMadeAnew({ deps }: Upload, failure: FerryError): boolean {
  const { item, retried } = deps.checkpoint.current;
  return item !== null && (endedByItself(failure) || (retried && OVER.has(failure.code)));
}

/**
 * Opens the image and uploads it. When the server ends the transfer session, the item is made anew;
 * but a job never sends more than its own size again without being told to.
 *
 * @throws FerryError
 */
export async function runUpload(begun: Upload): Promise<UploadResult> {
  const { deps, request } = begun;
  if (isCopy(begun)) return untilDone(begun, () => copyItem(begun));
  if (request.pull) return untilDone(begun, () => uploadByPull(begun));
  const image = await openUnlessAborted(begun);
  try {
    await assertAsEnqueued(request, image);
    const opened = { ...begun, content: image.fingerprint };
    const upload: OpenUpload = {
      ...opened,
      contentKey: await neededContentKey(opened, image),
      sampleKey: await orAborted(sampleKeyOf(image), begun.context.signal),
    };
    deps.found(image.warnings);
    if (request.deploy) assertDeployable(image, request.deploy);
    const result = await untilDone(upload, () =>
      image.kind === 'ovf' ? uploadPackage(upload, image) : uploadMedia(upload, image),
    );
    if (request.deploy?.powerOn) await powerOn(upload, result.entity);
    return { ...result, files: receivedFiles(image, request) };
  } finally {
    await image.close();
  }
}

/** What arrived, for the receipt. */
function receivedFiles(image: OpenImage, { verify }: Upload['request']): Receipt['files'] {
  if (image.kind === 'media') {
    const { name, size } = image.file;
    return [{ name: basename(name), size, digest: null, verified: false }];
  }
  return image.files.map(({ href: name, size, checks }) => {
    // Of a file in parts each part has a digest; the whole has none.
    const whole = checks.find(({ start, end }) => start === 0 && end === size);
    const digest = whole ? `${whole.algorithm}:${whole.expected}` : null;
    return { name, size, digest, verified: checks.length > 0 && verify !== 'off' };
  });
}

/** Tells it again, with another item, where the server gave up the one there was. */
async function untilDone(
  upload: Upload & { readonly content?: string },
  tell: () => Promise<UploadResult>,
): Promise<UploadResult> {
  const { deps, request, context } = upload;
  for (;;) {
    try {
      return await tell();
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = await unlessUnmounted(error, request.path);
      if (failure.code === 'REMOVED_ON_SERVER' && (await isUnproven(upload))) continue;
      if (failure.code === 'WINDOW_CLOSED') {
        // Its transfer would expire before the next one opens: the server's room is given back.
        deps.meter.giveUp();
        await cleanUp(upload);
        throw failure;
      }
      if (!isToBeMadeAnew(upload, failure)) throw failure;
      await startAnew(upload, failure);
      // What could not import a moment ago needs time, and no place on the line meanwhile.
      if (failure.code === 'IMPORT_FAILED' || failure.code === 'QUOTA_EXCEEDED') throw failure;
    }
  }
}

/**
 * Whether it may not be so that somebody has removed our item: what is remembered may be out of date,
 * and of what was never seen after its creation nobody knows what became of it, since a run that is
 * forgotten may have given it up. Then the item is looked for, or created, again.
 */
async function isUnproven(upload: Upload & { readonly content?: string }): Promise<boolean> {
  const { checkpoint } = upload.deps;
  if (!(await hasAnother(upload))) {
    if (checkpoint.current.item?.taskHref !== null) return false;
    await countRestart(upload);
  }
  await checkpoint.save({ item: null });
  return true;
}

/** Opening may take seconds; who is stopped meanwhile does not wait for it. */
async function openUnlessAborted({ deps, request, context }: Upload): Promise<OpenImage> {
  const opening = deps.openImage(
    { kind: request.kind ?? 'ovf', path: request.path },
    { verify: request.verify, contents: request.deploy !== null },
  );
  try {
    return await orAborted(opening, context.signal);
  } catch (error) {
    if (context.signal.aborted) opening.then((image) => image.close()).catch(() => undefined);
    throw await unlessUnmounted(error, request.path);
  }
}

/** A file that is gone with its whole folder is not gone: its file system is away. */
async function unlessUnmounted(error: unknown, path: string): Promise<FerryError> {
  const failure = classify(error);
  if (failure.code !== 'SOURCE_NOT_FOUND' || isAddress(path)) return failure;
  if (!(await isFolderGone(path))) return failure;
  return new FerryError(
    'SOURCE_UNREACHABLE',
    `${failure.message}, nor does anything else in its folder`,
    { cause: failure },
  );
}

/** The file that was meant: written to since then, it may be half of something else. */
async function assertAsEnqueued(request: Upload['request'], image: OpenImage): Promise<void> {
  await image.assertUnchanged();
  const { size, mtimeMs, etag } = image.identity;
  const enqueued = request.identity;
  const isSame = size === enqueued.size && mtimeMs === enqueued.mtimeMs && etag === enqueued.etag;
  // A web server that was out of reach then has told nothing.
  if (isSame || (isAddress(request.path) && enqueued.etag === undefined)) return;
  throw new FerryError('SOURCE_CHANGED', `${request.path} was changed after it was enqueued`, {
    facts: { size, enqueuedSize: request.identity.size },
    hint: 'Enqueue it again.',
  });
}
