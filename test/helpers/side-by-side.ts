import { openImage } from '../../src/ovf/image.ts';

type Open = typeof openImage;

/**
 * Lends a way to open images that opens each one once and closes it at the end: opening takes a
 * process of its own, and what is tested here are hundreds of runs of the same upload.
 */
export async function withOpenOnce<T>(use: (open: Open) => Promise<T>): Promise<T> {
  const images = new Map<string, ReturnType<Open>>();
  try {
    return await use(async (located, options) => {
      const key = JSON.stringify([located.kind, located.path, options]);
      const opened = images.get(key) ?? openImage(located, options);
      images.set(key, opened);
      return { ...(await opened), close: () => Promise.resolve() };
    });
  } finally {
    for (const image of images.values()) await (await image).close();
  }
}

/** Does things side by side, so many at a time; the first that fails ends it. */
export async function atOnce<T>(
  count: number,
  things: readonly T[],
  use: (thing: T) => Promise<void>,
): Promise<void> {
  const waiting = [...things];
  const lines = Array.from({ length: count }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await use(next);
  });
  await Promise.all(lines);
}
