/**
 * Small enough that a line of 2 kB/s takes one in a minute, large enough not to be felt (0.1 s of processor
 * time a GB).
 */
const PIECE_BYTES = 128 * 1024;

/**
 * The bytes of a body in pieces, as they are taken. A piece that nobody takes for so long is a stall: the
 * time-out of Node's sockets tells it only up to twice as late, since it begins anew where the kernel has
 * taken some of what was written last.
 */
export async function* watchedBody(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { stallMs, onStall }: { readonly stallMs: number; readonly onStall: () => void },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const block of body) {
    for (let done = 0; done < block.length; done += PIECE_BYTES) {
      const timer = setTimeout(onStall, stallMs);
      try {
        yield block.subarray(done, done + PIECE_BYTES);
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
