import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

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
  | { readonly kind: 'ranges'; readonly ranges: readonly DigestRange[] }
  | { readonly kind: 'block'; readonly bytes: Uint8Array; readonly start: number }
  | { readonly kind: 'finish' };
/** Answer to a block: nothing. Answer to `finish`: the digests, hexadecimal, in the ranges' order. */
export type DigestAnswer = readonly string[] | null;

let running: { readonly range: DigestRange; readonly hash: Hash }[] = [];

parentPort?.on('message', (message: DigestMessage) => {
  if (message.kind === 'ranges') {
    running = message.ranges.map((range) => ({ range, hash: createHash(range.algorithm) }));
  } else if (message.kind === 'block') {
    update(message.bytes, message.start);
    parentPort?.postMessage(null satisfies DigestAnswer);
  } else {
    parentPort?.postMessage(running.map(({ hash }) => hash.digest('hex')) satisfies DigestAnswer);
  }
});

function update(bytes: Uint8Array, at: number): void {
  for (const { range, hash } of running) {
    const start = Math.max(range.start, at);
    const end = Math.min(range.end, at + bytes.length);
    if (start < end) hash.update(bytes.subarray(start - at, end - at));
  }
}
