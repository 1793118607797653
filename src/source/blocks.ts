import type { ByteSource } from './byte-source.ts';

/**
 * Buffers that are used again and again. Fresh ones would cost a page fault for every 4 KiB sent.
 * Shared memory, so that the thread that hashes reads the same bytes and nothing is copied.
 */
export class BlockPool {
  readonly blockBytes: number;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((block: Buffer) => void)[] = [];

  constructor(blockBytes = 4 * 1024 * 1024, count = 3) {
    this.blockBytes = blockBytes;
    for (let i = 0; i < count; i += 1) {
      this.#free.push(Buffer.from(new SharedArrayBuffer(blockBytes)));
    }
  }

  take(): Promise<Buffer> {
    const block = this.#free.pop();
    if (block) return Promise.resolve(block);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  give(block: Buffer): void {
    const next = this.#waiting.shift();
    if (next) next(block);
    else this.#free.push(block);
  }
}

/** Looks at every block before it is handed out; the block stays untouched until the promise settles. */
export type BlockObserver = (block: Uint8Array, start: number) => Promise<void> | undefined;

interface Filled {
  readonly block: Buffer;
  readonly bytes: Buffer;
  readonly observed: Promise<void> | undefined;
}

/**
 * The bytes [start, end) of a source, block by block, reading one block ahead of the consumer. A
 * block is only valid until the next one is asked for: consumers must be done with it by then, as
 * got is with what an async iterable yields.
 */
export async function* readBlocks(
  source: ByteSource,
  { start, end }: { start: number; end: number },
  pool: BlockPool,
  observe: BlockObserver = () => undefined,
): AsyncGenerator<Buffer, void, undefined> {
  const fill = async (from: number): Promise<Filled> => {
    const block = await pool.take();
    const bytes = block.subarray(0, Math.min(pool.blockBytes, end - from));
    try {
      await source.read(bytes, from);
    } catch (error) {
      pool.give(block);
      throw error;
    }
    const observed = observe(bytes, from);
    observed?.catch(() => undefined); // awaited below, when the block is given back
    return { block, bytes, observed };
  };
  const giveBack = async ({ block, observed }: Filled): Promise<void> => {
    try {
      await observed;
    } finally {
      pool.give(block);
    }
  };

  let ahead: Promise<Filled> | undefined = start < end ? fill(start) : undefined;
  let held: Filled | undefined;
  try {
    for (let at = start; ahead; ) {
      held = await ahead;
      at += held.bytes.length;
      ahead = at < end ? fill(at) : undefined;
      ahead?.catch(() => undefined); // it is awaited in the next round, or below
      yield held.bytes;
      const done = held;
      held = undefined;
      await giveBack(done);
    }
  } finally {
    // The consumer may leave at any point: what is still out comes back to the pool.
    if (held) await giveBack(held).catch(() => undefined);
    await ahead?.then(giveBack).catch(() => undefined);
  }
}
