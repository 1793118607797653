const SMALLEST_PIECE = 64 * 1024;
const LARGEST_PIECE = 1024 * 1024;
/** A piece takes about as long: then each that is taken shows in time that the line still moves. */
const QUICK_MS = 50;
const SLOW_MS = 500;

/**
 * The bytes of a body in pieces, as they are taken. A piece that nobody takes for so long is a stall: the
 * time-out of Node's sockets tells it only up to twice as late, since it begins anew where the kernel has
 * taken some of what was written last.
 */
export async function* watchedBody(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { stallMs, onStall }: { readonly stallMs: number; readonly onStall: () => void },
): AsyncGenerator<Uint8Array, void, undefined> {
  let pieceBytes = SMALLEST_PIECE;
  for await (const block of body) {
    for (let done = 0; done < block.length; ) {
      const piece = block.subarray(done, done + pieceBytes);
      done += piece.length;
      const timer = setTimeout(onStall, stallMs);
      const offeredAt = performance.now();
      try {
        yield piece;
      } finally {
        clearTimeout(timer);
      }
      const ms = performance.now() - offeredAt;
      if (ms < QUICK_MS) pieceBytes = Math.min(2 * pieceBytes, LARGEST_PIECE);
      else if (ms > SLOW_MS) pieceBytes = Math.max(pieceBytes / 2, SMALLEST_PIECE);
    }
  }
}
