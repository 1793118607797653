import got from 'got';
import {
  type Answer,
  asFerryError,
  ask,
  assertRange,
  COMMON,
  conditionOf,
  isPassing,
  STALL_MS,
  sizeOf,
  TIMEOUT,
  unreachable,
} from './http-range.ts';
import type { FileIdentity } from './local-file.ts';
import { type RangeBody, RangedFile, type RangeServer, WINDOW_BYTES } from './ranged-file.ts';
import type { SourceFile } from './source-file.ts';

const LOOKED_AT_AGAIN_MS = 5_000;

/**
 * A file on a web server, read by ranges (RFC 9110, section 14). Every range is asked for on the
 * condition that the file is still the one that was opened (If-Match with a strong ETag, else
 * If-Unmodified-Since), so that two states of it are never mixed.
 */
export class HttpFile extends RangedFile implements SourceFile {
  readonly identity: FileIdentity;
  #lookedAt = performance.now();
  #isRead = false;

  private constructor(server: RangeServer, url: URL, identity: FileIdentity, head: Buffer) {
    super(server, { name: url.href, size: identity.size, head });
    this.identity = identity;
  }

  /** @throws FerryError SOURCE_NOT_FOUND, SOURCE_UNREADABLE, SOURCE_UNREACHABLE */
  static async open(url: URL): Promise<HttpFile> {
    const answer = await ask(url, { range: `bytes=0-${WINDOW_BYTES - 1}` });
    const size = sizeOf(url, answer);
    const condition = conditionOf(url, answer);
    const modified = Date.parse(String(answer.headers['last-modified'] ?? ''));
    const identity = {
      size,
      mtimeMs: Number.isNaN(modified) ? 0 : modified,
      etag: condition['if-match'] ?? '',
    };
    const head = answer.status === 206 ? answer.body : Buffer.alloc(0);
    return new HttpFile(webServer({ url, size, condition }), url, identity, head);
  }

  override read(target: Uint8Array, position: number): Promise<void> {
    this.#isRead = true;
    return super.read(target, position);
  }

  /** One answer may go on for hours: it is asked again whenever something of it was read meanwhile. */
  async assertUnchanged(): Promise<void> {
    if (!this.#isRead && performance.now() - this.#lookedAt < LOOKED_AT_AGAIN_MS) return;
    this.#isRead = false;
    await this.fetch(0, Math.min(1, this.size));
    this.#lookedAt = performance.now();
  }
}

interface Served {
  readonly url: URL;
  readonly size: number;
  readonly condition: Readonly<Record<string, string>>;
}

function webServer({ url, size, condition }: Served): RangeServer {
  return {
    async fetch(start, end, signal) {
      const answer = await ask(url, { range: `bytes=${start}-${end - 1}`, ...condition }, signal);
      assertRange(url, answer, { start, size, condition });
      return answer.body;
    },
    open: (start, signal) => openRange({ url, size, condition }, start, signal),
    toError: (error) => asFerryError(url, error),
    mayPass: isPassing,
    endedEarly: () => unreachable(url, 'ended its answer early'),
  };
}

async function openRange(
  { url, size, condition }: Served,
  start: number,
  signal: AbortSignal,
): Promise<RangeBody> {
  const request = got.stream(url, {
    headers: { range: `bytes=${start}-`, ...condition },
    ...COMMON,
    timeout: { ...TIMEOUT, socket: STALL_MS },
    signal,
  });
  const answer = await new Promise<Answer>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', ({ statusCode, headers }) => {
      resolve({ status: statusCode, headers, body: Buffer.alloc(0) });
    });
  }).catch((error: unknown) => {
    throw asFerryError(url, error);
  });
  request.on('error', () => undefined); // the iterator tells it as well
  try {
    assertRange(url, answer, { start, size, condition });
  } catch (error) {
    request.destroy();
    throw error;
  }
  return { chunks: request[Symbol.asyncIterator](), close: () => void request.destroy() };
}
