import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a file's bytes go, in order. Digests are made on the way, so nothing is read again. */
export interface Sink {
  readonly stored: number;
  write(chunk: Buffer): Promise<void> | void;
  /** Hexadecimal digest of what is stored so far. */
  digest(algorithm: string): string;
  /** The bytes themselves; only small files keep them. */
  bytes(): Buffer;
  /** The file that holds them; undefined if they are discarded. */
  readonly path: string | undefined;
  close(): Promise<void>;
}

export interface SinkOptions {
  /** A folder, or 'discard' to keep digests alone. */
  readonly store: string;
  readonly entityId: string;
  readonly name: string;
  readonly algorithms: readonly string[];
  /** Keep the bytes in memory, too (descriptors, manifests). */
  readonly keep?: boolean;
}

export function createSink({ store, entityId, name, algorithms, keep }: SinkOptions): Sink {
  const hashes = new Map(algorithms.map((algorithm) => [algorithm, createHash(algorithm)]));
  const kept: Buffer[] = [];
  let stored = 0;
  let file: Promise<FileHandle> | undefined;
  let path: string | undefined;
  if (store !== 'discard') {
    const folder = join(store, entityId);
    mkdirSync(folder, { recursive: true });
    path = join(folder, encodeURIComponent(name).slice(0, 200));
    file = open(path, 'w');
    file.catch(() => undefined); // a write that needs it fails, and with it the request
  }
  return {
    path,
    get stored() {
      return stored;
    },
    write(chunk) {
      for (const hash of hashes.values()) hash.update(chunk);
      if (keep) kept.push(Buffer.from(chunk));
      const at = stored;
      stored += chunk.length;
      return file?.then(async (handle) => {
        await handle.write(chunk, 0, chunk.length, at);
      });
    },
    digest: (algorithm) => hashes.get(algorithm)?.copy().digest('hex') ?? '',
    bytes: () => Buffer.concat(kept),
    async close() {
      await (await file)?.close();
      file = undefined;
    },
  };
}
