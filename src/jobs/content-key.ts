import { createHash } from 'node:crypto';
import type { OpenImage } from '../ovf/image.ts';
import { digestOf } from '../source/digest-watch.ts';
import { maySkip } from './job-request.ts';
import type { OpenUpload } from './upload-deps.ts';

/**
 * Names what an image holds, so that the same content is known again whatever its files are called on
 * disk: made of the manifest's digests. Undefined for an image that has none.
 */
function contentKeyOf(image: OpenImage): string | undefined {
  if (image.kind === 'media') return undefined;
  const lines: string[] = [];
  for (const { href, size, checks } of image.files) {
    const whole = checks.find(({ start, end }) => start === 0 && end === size);
    if (!whole) return undefined;
    lines.push(`${href} ${whole.algorithm} ${whole.expected}`);
  }
  return keyOf(image, lines);
}

/** As `contentKeyOf`, by reading every byte. */
async function hashedContentKeyOf(image: OpenImage, signal: AbortSignal): Promise<string> {
  const files = image.kind === 'media' ? [{ href: 'file', source: image.file }] : image.files;
  const lines: string[] = [];
  for (const { href, source } of files) {
    lines.push(`${href} sha256 ${await digestOf(source, 'sha256', signal)}`);
  }
  return keyOf(image, lines);
}

function keyOf(image: OpenImage, lines: readonly string[]): string {
  const key = createHash('sha256').update([...lines].sort().join('\n'));
  if (image.kind === 'ovf') key.update(image.descriptor);
  return `v1:${key.digest('hex')}`;
}

/**
 * The content's name as far as it is needed: where an equal item is to be skipped, an image without a
 * manifest is hashed, once for all runs of its job.
 */
export async function neededContentKey(
  upload: OpenUpload,
  image: OpenImage,
): Promise<string | undefined> {
  const { checkpoint } = upload.deps;
  const known = contentKeyOf(image) ?? checkpoint.current.contentKey ?? undefined;
  if (known !== undefined || !maySkip(upload.request)) return known;
  const contentKey = await hashedContentKeyOf(image, upload.context.signal);
  await checkpoint.save({ contentKey });
  return contentKey;
}
