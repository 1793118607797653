import { setTimeout as sleep } from 'node:timers/promises';
import got, { type Request } from 'got';
import { FerryError } from '../errors.ts';
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
  WINDOW_BYTES,
} from './http-range.ts';
import type { FileIdentity } from './local-file.ts';
import type { SourceFile } from './source-file.ts';

/** Smaller reads jump about in headers; each brings the bytes that follow it along. */
const SMALL_BYTES = 64 * 1024;
/** Sequential readers at once: the sender, and the one that hashes what was sent before. */
const MAX_STREAMS = 3;
/** A body that ends early is asked for again from where it ended, so often without a byte in between. */
const TRIES = 4;
const FIRST_PAUSE_MS = 250;
const LOOKED_AT_AGAIN_MS = 5_000;

/**
 * A file on a web server, read by ranges (RFC 9110, section 14). Every range is asked for on the
 * condition that the file is still the one that was opened (If-Match with a strong ETag, else
 * If-Unmodified-Since), so that two states of it are never mixed.
 */
export class HttpFile implements SourceFile {
  readonly name: string;
  readonly identity: FileIdentity;
  readonly #url: URL;
  readonly #condition: Readonly<Record<string, string>>;
  readonly #closing = new AbortController();
  #window: { readonly start: number; readonly bytes: Buffer };
  #streams: RangeStream[] = [];
  #lookedAt = performance.now();

  private constructor(
    url: URL,
    {
      identity,
      condition,
      head,
    }: { identity: FileIdentity; condition: Record<string, string>; head: Buffer },
  ) {
    this.#url = url;
    this.name = url.href;
    this.identity = identity;
    this.#condition = condition;
    this.#window = { start: 0, bytes: head };
  }

  /** @throws FerryError SOURCE_NOT_FOUND, SOURCE_UNREADABLE, SOURCE_UNREACHABLE */
  static async open(url: URL): Promise<HttpFile> {
    const answer = await ask(url, { range: `bytes=0-${WINDOW_BYTES - 1}` });
    const size = sizeOf(url, answer);
    const condition = conditionOf(url, answer);
    const modified = Date.parse(String(answer.headers['last-modified'] ?? ''));
    return new HttpFile(url, {
      identity: {
        size,
        mtimeMs: Number.isNaN(modified) ? 0 : modified,
        ...{ ctimeMs: 0, inode: 0 },
        etag: condition['if-match'] ?? '',
      },
      condition,
      head: answer.status === 206 ? answer.body : Buffer.alloc(0),
    });
  }

  get size(): number {
    return this.identity.size;
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    if (position + target.length > this.size) {
      throw new FerryError('SOURCE_CHANGED', `${this.name} is shorter than what is to be read`);
    }
    if (target.length <= SMALL_BYTES) return this.#readSmall(target, position);
    const stream = this.#takeStream(position);
    try {
      await stream.fill(target);
      this.#giveBack(stream);
    } catch (error) {
      stream.close();
      throw error;
    }
  }

  async assertUnchanged(): Promise<void> {
    if (performance.now() - this.#lookedAt < LOOKED_AT_AGAIN_MS) return; // every range asks, too
    await this.#range(0, Math.min(1, this.size));
    this.#lookedAt = performance.now();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const stream of this.#streams.splice(0)) stream.close();
  }

  async #readSmall(target: Uint8Array, position: number): Promise<void> {
    const { start, bytes } = this.#window;
    const isHeld = position >= start && position + target.length <= start + bytes.length;
    if (!isHeld) {
      const end = Math.min(this.size, position + WINDOW_BYTES);
      this.#window = { start: position, bytes: await this.#range(position, end) };
    }
    target.set(
      this.#window.bytes.subarray(position - this.#window.start).subarray(0, target.length),
    );
  }

  /** The bytes [start, end), which are few. */
  async #range(start: number, end: number): Promise<Buffer> {
    if (start === end) return Buffer.alloc(0);
    const headers = { range: `bytes=${start}-${end - 1}`, ...this.#condition };
    for (let tries = 1; ; tries += 1) {
      try {
        const answer = await ask(this.#url, headers, this.#closing.signal);
        assertRange(this.#url, answer, { start, size: this.size, condition: this.#condition });
        if (answer.body.length === end - start) return answer.body;
        throw unreachable(this.#url, 'answered with another range than it was asked for');
      } catch (error) {
        if (!isPassing(error) || tries >= TRIES) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** tries);
      }
    }
  }

  /** The stream that is there already, or a new one; nobody else has it meanwhile. */
  #takeStream(position: number): RangeStream {
    const found = this.#streams.find((stream) => stream.position === position);
    this.#streams = this.#streams.filter((stream) => stream !== found);
    const { signal } = this.#closing;
    const of = { url: this.#url, size: this.size, condition: this.#condition, signal };
    return found ?? new RangeStream(of, position);
  }

  #giveBack(stream: RangeStream): void {
    this.#streams.push(stream);
    if (this.#closing.signal.aborted) void this.close();
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift()?.close();
  }
}

interface RangeOf {
  readonly url: URL;
  readonly size: number;
  readonly condition: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

interface Body {
  readonly request: Request;
  readonly chunks: AsyncIterator<Buffer>;
}

/** Reads on from a position. A body that breaks off is asked for again from there. */
class RangeStream {
  readonly #of: RangeOf;
  #position: number;
  #body: Body | undefined;
  #held: Buffer = Buffer.alloc(0);

  constructor(of: RangeOf, position: number) {
    this.#of = of;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  async fill(target: Uint8Array): Promise<void> {
    let filled = 0;
    for (let fruitless = 1; filled < target.length; ) {
      try {
        const bytes = await this.#next();
        const piece = bytes.subarray(0, target.length - filled);
        target.set(piece, filled);
        this.#held = bytes.subarray(piece.length);
        filled += piece.length;
        this.#position += piece.length;
        fruitless = 1;
      } catch (error) {
        this.close();
        if (this.#of.signal.aborted || !isPassing(error) || fruitless >= TRIES) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** fruitless);
        fruitless += 1;
      }
    }
  }

  close(): void {
    this.#body?.request.destroy();
    this.#body = undefined;
    this.#held = Buffer.alloc(0);
  }

  async #next(): Promise<Buffer> {
    if (this.#held.length > 0) return this.#held;
    this.#body ??= await this.#open();
    const { url } = this.#of;
    try {
      const { value, done } = await this.#body.chunks.next();
      if (!done) return value;
    } catch (error) {
      throw asFerryError(url, error);
    }
    throw unreachable(url, 'ended its answer early');
  }

  async #open(): Promise<Body> {
    const { url, size, condition, signal } = this.#of;
    const start = this.#position;
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
    return { request, chunks: request[Symbol.asyncIterator]() };
  }
}
