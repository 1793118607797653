import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import {
  createSHA1,
  createSHA224,
  createSHA256,
  createSHA384,
  createSHA512,
  type IHasher,
} from 'hash-wasm';

/**
 * The thread that hashes, so that the event loop stays free for locks and sockets.
 * Messages come in the order of the bytes and are answered in that order.
 */
export interface DigestRange {
  readonly algorithm: string;
  readonly start: number;
  readonly end: number;
}
export type DigestMessage =
  | {
      /** Begins anew. Not answered. */
      readonly kind: 'ranges';
      readonly ranges: readonly DigestRange[];
      /** With hashes whose state can be saved, which cost several times as much. */
      readonly savable: boolean;
      /** Saved states, base64, in the ranges' order. */
      readonly states?: readonly string[];
    }
  | { readonly kind: 'block'; readonly bytes: Uint8Array; readonly start: number }
  | { readonly kind: 'save' }
  | { readonly kind: 'finish' };
/**
 * To a block: nothing. To `save`: the states, to `finish`: hexadecimal digests; in the ranges' order,
 * null where the states that were to be gone on with can't be.
 */
export type DigestAnswer = readonly string[] | null;

interface Running {
  readonly range: DigestRange;
  readonly hash: Hasher;
}

interface Hasher {
  update(bytes: Uint8Array): void;
  hex(): string;
  save(): string;
}

let running: Running[] = [];
/** A saved state could not be loaded: there is nothing to answer before a new beginning. */
let isBroken = false;
/** WebAssembly comes asynchronously; what follows waits for it. */
let handled: Promise<void> = Promise.resolve();

parentPort?.on('message', (message: DigestMessage) => {
  handled = handled.then(() => handle(message));
});

async function handle(message: DigestMessage): Promise<void> {
  if (message.kind === 'ranges') {
    isBroken = false;
    running = await Promise.all(
      message.ranges.map(async (range, i) => ({
        range,
        hash: message.savable
          ? await savableHash(range.algorithm, message.states?.[i])
          : nativeHash(range.algorithm),
      })),
    );
    return;
  }
  let answer: DigestAnswer = null;
  if (isBroken) return void parentPort?.postMessage(answer);
  if (message.kind === 'block') update(message.bytes, message.start);
  if (message.kind === 'save') answer = running.map(({ hash }) => hash.save());
  if (message.kind === 'finish') answer = running.map(({ hash }) => hash.hex());
  parentPort?.postMessage(answer);
}

function update(bytes: Uint8Array, at: number): void {
  for (const { range, hash } of running) {
    const start = Math.max(range.start, at);
    const end = Math.min(range.end, at + bytes.length);
    if (start < end) hash.update(bytes.subarray(start - at, end - at));
  }
}

function nativeHash(algorithm: string): Hasher {
  const hash = createHash(algorithm);
  return {
    update: (bytes) => void hash.update(bytes),
    hex: () => hash.digest('hex'),
    save: () => '',
  };
}

const SAVABLE: Readonly<Record<string, () => Promise<IHasher>>> = {
  sha1: createSHA1,
  sha224: createSHA224,
  sha256: createSHA256,
  sha384: createSHA384,
  sha512: createSHA512,
};

async function savableHash(algorithm: string, state: string | undefined): Promise<Hasher> {
  const create = SAVABLE[algorithm];
  if (!create) throw new Error(`no savable ${algorithm}`);
  const hash = await create();
  hash.init();
  try {
    if (state !== undefined) hash.load(Buffer.from(state, 'base64'));
  } catch {
    isBroken = true; // damaged, or of another release
  }
  return {
    update: (bytes) => void hash.update(bytes),
    hex: () => hash.digest('hex'),
    save: () => Buffer.from(hash.save()).toString('base64'),
  };
}
