import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';

/** Bytes of a file as they come in, from somewhere on to its end. */
export interface RangeBody {
  readonly chunks: AsyncIterator<Buffer>;
  close(): void;
}

/** Gives bytes of one file; each call is one request. */
export interface RangeServer {
  /** The bytes [start, end), which are few. */
  fetch(start: number, end: number, signal: AbortSignal): Promise<Buffer>;
  open(start: number, signal: AbortSignal): Promise<RangeBody>;
  /** What a body throws, in our words. */
  toError(error: unknown): FerryError;
  /** Whether asking again may help. */
  mayPass(error: unknown): boolean;
  /** The error for what ended before its end. */
  endedEarly(): FerryError;
}

/** Small reads bring so many bytes along; nothing that is not streamed is longer. */
export const WINDOW_BYTES = 256 * 1024;
/** Smaller reads jump about in headers; each brings the bytes that follow it along. */
const SMALL_BYTES = 64 * 1024;
/** Sequential readers at once: the sender, and the one that hashes what was sent before. */
const MAX_STREAMS = 3;
/** A body that ends early is asked for again from where it ended, so often without a byte in between. */
const TRIES = 4;
const FIRST_PAUSE_MS = 250;

/** A file elsewhere, read by ranges. Sequential reads share one request. */
export class RangedFile implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #server: RangeServer;
  readonly #closing = new AbortController();
  #window: { readonly start: number; readonly bytes: Buffer };
  #streams: RangeStream[] = [];

  /** @param head bytes from the beginning that are known already */
  constructor(
    server: RangeServer,
    { name, size, head }: { readonly name: string; readonly size: number; readonly head: Buffer },
  ) {
    this.#server = server;
    this.name = name;
    this.size = size;
    this.#window = { start: 0, bytes: head };
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    if (position + target.length > this.size) {
      throw new FerryError('SOURCE_CHANGED', `${this.name} is shorter than what is to be read`);
    }
    // A stream that stands there has the bytes already.
    const isSmall = target.length <= SMALL_BYTES;
    if (isSmall && !this.#streams.some((stream) => stream.position === position)) {
      return this.#readSmall(target, position);
    }
    const stream = this.#takeStream(position);
    try {
      await stream.fill(target);
      this.#giveBack(stream);
    } catch (error) {
      stream.close();
      throw error;
    }
  }

  /** The bytes [start, end), which are few. */
  async fetch(start: number, end: number): Promise<Buffer> {
    if (start === end) return Buffer.alloc(0);
    for (let tries = 1; ; tries += 1) {
      try {
        const bytes = await this.#server.fetch(start, end, this.#closing.signal);
        if (bytes.length === end - start) return bytes;
        throw this.#server.endedEarly();
      } catch (error) {
        if (!this.#server.mayPass(error) || tries >= TRIES) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** tries);
      }
    }
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
      this.#window = { start: position, bytes: await this.fetch(position, end) };
    }
    target.set(
      this.#window.bytes.subarray(position - this.#window.start).subarray(0, target.length),
    );
  }

  /** The stream that is there already, or a new one; nobody else has it meanwhile. */
  #takeStream(position: number): RangeStream {
    const found = this.#streams.find((stream) => stream.position === position);
    this.#streams = this.#streams.filter((stream) => stream !== found);
    return found ?? new RangeStream(this.#server, position, this.#closing.signal);
  }

  #giveBack(stream: RangeStream): void {
    this.#streams.push(stream);
    if (this.#closing.signal.aborted) void this.close();
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift()?.close();
  }
}

/** Reads on from a position. A body that breaks off is asked for again from there. */
class RangeStream {
  readonly #server: RangeServer;
  readonly #signal: AbortSignal;
  #position: number;
  #body: RangeBody | undefined;
  #held: Buffer = Buffer.alloc(0);

  constructor(server: RangeServer, position: number, signal: AbortSignal) {
    this.#server = server;
    this.#position = position;
    this.#signal = signal;
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
        const isOver = this.#signal.aborted || !this.#server.mayPass(error);
        if (isOver || fruitless >= TRIES) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** fruitless);
        fruitless += 1;
      }
    }
  }

  close(): void {
    this.#body?.close();
    this.#body = undefined;
    this.#held = Buffer.alloc(0);
  }

  async #next(): Promise<Buffer> {
    if (this.#held.length > 0) return this.#held;
    this.#body ??= await this.#server.open(this.#position, this.#signal);
    let next: IteratorResult<Buffer>;
    try {
      next = await this.#body.chunks.next();
    } catch (error) {
      throw this.#server.toError(error);
    }
    if (next.done) throw this.#server.endedEarly();
    return next.value;
  }
}
