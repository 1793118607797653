import got, { RequestError } from 'got';
import { FerryError } from '../errors.ts';
import { WINDOW_BYTES } from './ranged-file.ts';

export const TIMEOUT = { lookup: 10_000, connect: 10_000, secureConnect: 15_000, response: 60_000 };
export const STALL_MS = 60_000;
/** For what is small, drop by drop or not. */
const SMALL_MS = 90_000;

/** What a server said, with as much of the body as was asked for. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Repeating is ours: a range goes on from where it broke off. */
export const COMMON = {
  retry: { limit: 0 },
  throwHttpErrors: false,
  decompress: false, // a coded body has other offsets
} as const;

export async function ask(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<Answer> {
  // A server that ignores the range would send all of it: the body is read as far as it was asked for.
  const request = got.stream(url, {
    headers: { ...headers, 'accept-encoding': 'identity' },
    ...COMMON,
    timeout: { ...TIMEOUT, socket: STALL_MS, request: SMALL_MS },
    ...(signal ? { signal } : {}),
  });
  try {
    const chunks: Buffer[] = [];
    let length = 0;
    let answer: Answer | undefined;
    request.once('response', ({ statusCode, headers: found }) => {
      answer = { status: statusCode, headers: found, body: Buffer.alloc(0) };
    });
    for await (const chunk of request) {
      if (answer?.status !== 206) break;
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > WINDOW_BYTES) break;
    }
    if (!answer) throw unreachable(url, 'did not answer');
    return { ...answer, body: Buffer.concat(chunks) };
  } catch (error) {
    throw asFerryError(url, error);
  } finally {
    request.destroy();
  }
}

export function sizeOf(url: URL, { status, headers }: Answer): number {
  const range = String(headers['content-range'] ?? '');
  const [, total] = /^bytes (?:\d+-\d+|\*)\/(\d+)$/.exec(range) ?? [];
  if ((status === 206 || status === 416) && Number.isSafeInteger(Number(total))) {
    assertPlain(url, headers);
    return Number(total);
  }
  assertOk(url, status);
  throw new FerryError('SOURCE_UNREADABLE', `${url.host} does not serve ${url.href} by ranges`, {
    hint: 'Serve it by a server that answers Range requests, or fetch it to a disk first.',
  });
}

export function conditionOf(url: URL, { headers }: Answer): Record<string, string> {
  const etag = String(headers['etag'] ?? '');
  if (/^"[^"]*"$/.test(etag)) return { 'if-match': etag };
  const modified = String(headers['last-modified'] ?? '');
  if (modified !== '') return { 'if-unmodified-since': modified };
  throw new FerryError(
    'SOURCE_UNREADABLE',
    `${url.host} tells neither a strong ETag nor when ${url.href} was last modified, so nobody could tell whether it stays the same`,
    { hint: 'Serve it by a server that tells one of them, or fetch it to a disk first.' },
  );
}

export function assertRange(
  url: URL,
  { status, headers }: Answer,
  {
    start,
    size,
    condition,
  }: { start: number; size: number; condition: Readonly<Record<string, string>> },
): void {
  if (status === 206) {
    // A server that heeds no condition answers with whatever is there now.
    const { 'if-match': etag, 'if-unmodified-since': modified } = condition;
    if (etag !== undefined && headers['etag'] !== etag) throw changed(url);
    if (modified !== undefined && headers['last-modified'] !== modified) throw changed(url);
    assertPlain(url, headers);
    const range = String(headers['content-range'] ?? '');
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(range) ?? [];
    if (Number(from) === start && Number(total) === size) return;
    if (total !== undefined && Number(total) !== size) throw changed(url);
    throw unreachable(url, 'answered with another range than it was asked for');
  }
  assertOk(url, status);
  throw changed(url); // it no longer serves ranges, or there are none so far behind
}

/** @throws FerryError SOURCE_UNREADABLE for a coded body, whose bytes are not the file's */
function assertPlain(url: URL, headers: Answer['headers']): void {
  const coding = String(headers['content-encoding'] ?? 'identity');
  if (coding === 'identity') return;
  throw new FerryError('SOURCE_UNREADABLE', `${url.host} sends ${url.href} coded (${coding})`, {
    hint: 'Serve it as it is, without compression.',
  });
}

/** @throws FerryError for what is neither there nor to be had */
function assertOk(url: URL, status: number): void {
  const facts = { facts: { status } };
  if (status === 404 || status === 410) {
    throw new FerryError('SOURCE_NOT_FOUND', `${url.href} does not exist (${status})`, facts);
  }
  if (status === 412) throw changed(url);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    throw unreachable(url, `answered ${status}`);
  }
  if (status >= 400 && status !== 416) {
    throw new FerryError('SOURCE_UNREADABLE', `${url.href} may not be read (${status})`, {
      ...facts,
      hint: 'An address that is signed may have run out; one that wants a login is not read. Enqueue it by another address.',
    });
  }
}

function changed(url: URL): FerryError {
  return new FerryError('SOURCE_CHANGED', `${url.href} was changed while it was being sent`);
}

export function unreachable(url: URL, what: string, cause?: unknown): FerryError {
  return new FerryError('SOURCE_UNREACHABLE', `${url.host} ${what} (${url.href})`, {
    hint: 'It is tried again by itself.',
    cause,
  });
}

export function isPassing(error: unknown): boolean {
  return error instanceof FerryError && error.code === 'SOURCE_UNREACHABLE';
}

const BAD_ADDRESS: ReadonlySet<string> = new Set([
  'ERR_TOO_MANY_REDIRECTS',
  'ERR_UNSUPPORTED_PROTOCOL',
  'ERR_REDIRECTED_TO_UNIX_SOCKET',
  'ERR_INVALID_URL',
]);

/** What got throws, in our words. */
export function asFerryError(url: URL, error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  const code = error instanceof RequestError ? error.code : (error as NodeJS.ErrnoException).code;
  if (code !== undefined && /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code)) {
    return new FerryError(
      'SOURCE_UNREADABLE',
      `${url.host}: its certificate is not trusted (${code})`,
      {
        hint: 'Name its CA in NODE_EXTRA_CA_CERTS.',
        cause: error,
      },
    );
  }
  if (code !== undefined && BAD_ADDRESS.has(code)) {
    return new FerryError('SOURCE_UNREADABLE', `${url.href} can't be read (${code})`, {
      hint: 'Correct the address, or what the server redirects it to.',
      cause: error,
    });
  }
  return unreachable(url, `can't be reached (${code ?? (error as Error).message})`, error);
}
