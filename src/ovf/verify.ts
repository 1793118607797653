import { classify, type FerryError } from '../errors.ts';
import { BlockPool, readBlocks } from '../source/blocks.ts';
import type { ByteSource } from '../source/byte-source.ts';
import { type DigestCheck, DigestWatch, type DigestWish } from '../source/digest-watch.ts';

/** What reading a whole file showed. */
export interface Verified {
  /** Hexadecimal, in the order of the checks; the SHA-256 of the file where there is none. */
  readonly digests: readonly { readonly algorithm: string; readonly digest: string }[];
  /** Undefined if every digest is right, or nothing says what it should be. */
  readonly problem: FerryError | undefined;
}

/**
 * Reads a file and checks its digests. It is read here and hashed in a thread of its own.
 *
 * @param onBytes told how many were read
 * @throws FerryError SOURCE_…; the signal's reason
 */
export async function verifyFile(
  source: ByteSource,
  checks: readonly DigestCheck[],
  { onBytes, signal }: { onBytes: (count: number) => void; signal: AbortSignal },
): Promise<Verified> {
  const { name, size: end } = source;
  const whole: DigestWish = { algorithm: 'sha256', start: 0, end, expected: undefined, name };
  const wishes: readonly DigestWish[] = checks.length > 0 ? checks : [whole];
  const watch = new DigestWatch(source, wishes);
  try {
    const observe = (block: Uint8Array, start: number): Promise<void> | undefined =>
      watch.observe(block, start);
    for await (const block of readBlocks(source, { start: 0, end }, new BlockPool(), observe)) {
      signal.throwIfAborted();
      onBytes(block.length);
    }
    const digests = await watch.verdict();
    const named = digests.map((digest, i) => ({ algorithm: wishes[i]?.algorithm ?? '', digest }));
    return { digests: named, problem: undefined };
  } catch (error) {
    const failure = classify(error);
    if (failure.code !== 'DIGEST_MISMATCH') throw error;
    return { digests: [], problem: failure };
  } finally {
    await watch.close();
  }
}
