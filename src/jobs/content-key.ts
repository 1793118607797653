import { createHash } from 'node:crypto';
import type { OpenImage } from '../ovf/image.ts';
import type { ByteSource } from '../source/byte-source.ts';
import { digestOf } from '../source/digest-watch.ts';
import { maySkip } from './job-request.ts';
import type { Upload } from './upload-deps.ts';

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
  const lines: string[] = [];
  for (const { href, source } of filesOf(image)) {
    lines.push(`${href} sha256 ${await digestOf(source, 'sha256', signal)}`);
  }
  return keyOf(image, lines);
}

function keyOf(image: OpenImage, lines: readonly string[], kind = 'v1'): string {
  const key = createHash('sha256').update([...lines].sort().join('\n'));
  if (image.kind === 'ovf') key.update(image.descriptor);
  return `${kind}:${key.digest('hex')}`;
}

const SAMPLES = 32;
const SAMPLE_BYTES = 64 * 1024;

/**
 * Names what an image most probably holds: by the time and size of its files and by blocks that are spread
 * over them, so that an upload whose job was lost is known again without reading hundreds of gigabytes.
 * Undefined where the manifest's digests say it for sure.
 */
export async function sampleKeyOf(image: OpenImage): Promise<string | undefined> {
  if (contentKeyOf(image) !== undefined) return undefined;
  const lines: string[] = [];
  for (const { href, source } of filesOf(image)) {
    const hash = createHash('sha256');
    for (const { start, end } of samplesOf(source.size)) {
      const block = Buffer.alloc(end - start);
      await source.read(block, start);
      hash.update(block);
    }
    lines.push(`${href} ${source.size} ${hash.digest('hex')}`);
  }
  // Whoever writes to a file changes its time, though it may not change what is looked at.
  const { mtimeMs, etag = '' } = image.identity;
  return keyOf(image, [...lines, `at ${mtimeMs} ${etag}`], 's1');
}

/** The first and the last block, and what lies evenly between them; all of a small file. */
function samplesOf(size: number): { start: number; end: number }[] {
  if (size <= SAMPLES * SAMPLE_BYTES) return size === 0 ? [] : [{ start: 0, end: size }];
  return Array.from({ length: SAMPLES }, (_, i) => {
    const start = Math.floor((i * (size - SAMPLE_BYTES)) / (SAMPLES - 1));
    return { start, end: start + SAMPLE_BYTES };
  });
}

function filesOf(image: OpenImage): { readonly href: string; readonly source: ByteSource }[] {
  if (image.kind === 'media') return [{ href: 'file', source: image.file }];
  return image.files.map(({ href, source }) => ({ href, source }));
}

/**
 * The content's name as far as it is needed: where an equal item is to be skipped, an image without a
 * manifest is hashed, once for all runs of its job.
 */
export async function neededContentKey(
  upload: Upload,
  image: OpenImage,
): Promise<string | undefined> {
  const { checkpoint } = upload.deps;
  const known = contentKeyOf(image) ?? checkpoint.current.contentKey ?? undefined;
  if (known !== undefined || !maySkip(upload.request)) return known;
  const contentKey = await hashedContentKeyOf(image, upload.context.signal);
  await checkpoint.save({ contentKey });
  return contentKey;
}
