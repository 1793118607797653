import type { DownloadBody } from '../../vcd/download.ts';

/** A server that knows no ranges begins at 0: what is not wanted is read and left. */
export async function skipTo(body: DownloadBody, start: number): Promise<DownloadBody> {
  let left = start - body.start;
  try {
    while (left > 0) {
      const { value, done } = await body.chunks.next();
      if (done) break;
      left -= value.length;
      if (left < 0) return { ...body, chunks: after(value.subarray(left), body.chunks) };
    }
    return body;
  } catch (error) {
    body.close();
    throw error;
  }
}

async function* after(
  first: Buffer,
  rest: AsyncIterableIterator<Buffer>,
): AsyncGenerator<Buffer, void, undefined> {
  yield first;
  yield* rest;
}

/** The first so many bytes; closes the body. */
export async function collect(body: DownloadBody, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    while (length < count) {
      const { value, done } = await body.chunks.next();
      if (done) break;
      chunks.push(value);
      length += value.length;
    }
  } finally {
    body.close();
  }
  return Buffer.concat(chunks).subarray(0, count);
}
