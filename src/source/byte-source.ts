/** Bytes that can be read again from any offset: what makes a PUT repeatable. */
export interface ByteSource {
  /** For messages: a path, or a member's name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Fills `target` with the bytes from `position` on.
   *
   * @throws FerryError SOURCE_CHANGED if the source ends before `target` is full
   */
  read(target: Uint8Array, position: number): Promise<void>;
}

/** The bytes [start, end) of a source as a source of its own. Closing stays with the owner. */
export function windowOf(
  source: ByteSource,
  name: string,
  range: { start: number; end: number },
): ByteSource {
  return {
    name,
    size: range.end - range.start,
    read: (target, position) => source.read(target, range.start + position),
  };
}

/** Several sources one after the other, as one: how the parts of a chunked file become that file. */
export function concatenationOf(sources: readonly ByteSource[], name: string): ByteSource {
  const starts: number[] = [];
  let size = 0;
  for (const source of sources) {
    starts.push(size);
    size += source.size;
  }
  return {
    name,
    size,
    async read(target, position) {
      for (const [i, source] of sources.entries()) {
        const offset = starts[i] ?? 0;
        const start = Math.max(position, offset);
        const end = Math.min(position + target.length, offset + source.size);
        if (start >= end) continue;
        await source.read(target.subarray(start - position, end - position), start - offset);
      }
    },
  };
}

/** The whole of a small source. Callers check the size first. */
export async function readAll(source: ByteSource): Promise<Buffer> {
  const bytes = Buffer.alloc(source.size);
  await source.read(bytes, 0);
  return bytes;
}
