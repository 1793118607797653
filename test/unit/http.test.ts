import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { VcdHttp } from '../../src/vcd/http.ts';

const STALL_MS = 1_000;
const MB = 1_000_000;

/** What a server does with a connection; it counts them. */
type Serve = (socket: Socket, connection: number) => void;

async function withServer<T>(
  serve: Serve,
  use: (http: VcdHttp, url: URL, connections: () => number) => Promise<T>,
): Promise<T> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    serve(socket, sockets.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/x`);
  const http = new VcdHttp(url, {}, { connectMs: 1_000, stallMs: STALL_MS });
  try {
    return await use(http, url, () => sockets.length);
  } finally {
    http.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n';

const put = (url: URL, body: Buffer | AsyncIterable<Uint8Array>, bytes: number) =>
  ({
    method: 'PUT',
    ...{ url, body, label: 'PUT of x', signal: new AbortController().signal },
    headers: { 'content-length': String(bytes) },
  }) as const;

/** The first two connections answer once; then the line is cut for both. */
const cutAfterAnswer: Serve = (socket, connection) => {
  let isUsed = false;
  socket.on('data', () => {
    if (connection > 2 || !isUsed) socket.write(NO_CONTENT);
    isUsed = true;
  });
};

/** As blocks come from a disk. */
async function* blocks(bytes: number, each = 4 * MB): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes; at += each) yield Buffer.alloc(Math.min(each, bytes - at));
}

describe('a stall is noticed after one limit, not two', () => {
  /** A server that takes some bytes, then nothing. @returns when it took the last */
  async function untilStalled(
    { takes, size }: { readonly takes: number; readonly size: number },
    body: (size: number) => Buffer | AsyncIterable<Uint8Array>,
  ): Promise<number> {
    let lastAt = 0;
    let taken = 0;
    const serve: Serve = (socket) =>
      socket.on('data', (chunk) => {
        taken += chunk.length;
        lastAt = performance.now();
        if (taken >= takes) socket.pause();
      });
    return withServer(serve, async (http, url) => {
      const request = put(url, body(size), size);
      await expect(http.send(request)).rejects.toMatchObject({ code: 'TRANSFER_STALLED' });
      return performance.now() - lastAt;
    });
  }

  test.each([
    ['in the middle', 12 * MB],
    ['at the first bytes', 1],
    // The kernels take what the server does not read.
    ['once all of it is on its way', Number.MAX_SAFE_INTEGER],
  ])('%s', async (_when, takes) => {
    const size = takes > 100 * MB ? 2 * MB : 40 * MB;
    const ms = await untilStalled({ takes, size }, (bytes) => blocks(bytes));
    expect(ms).toBeGreaterThan(0.5 * STALL_MS);
    expect(ms).toBeLessThan(1.8 * STALL_MS);
  });

  test('of a document that goes in one piece', async () => {
    const ms = await untilStalled({ takes: 1, size: 40 * MB }, Buffer.alloc);
    expect(ms).toBeLessThan(1.8 * STALL_MS);
  });
});

test('a line so slow that a block takes longer than the limit is not stalled', () =>
  withServer(
    (socket) => {
      let taken = 0;
      socket.on('data', (chunk) => {
        taken += chunk.length;
        socket.pause();
        setTimeout(() => socket.resume(), chunk.length / 8_000);
        // Not at the end: then the kernels hold megabytes, for longer than so short a limit.
        if (taken >= 18 * MB) socket.end(NO_CONTENT);
      });
    },
    async (http, url) => {
      const answer = await http.send(put(url, blocks(32 * MB, 16 * MB), 32 * MB));
      expect(answer.status).toBe(204);
    },
  ));

test('what is given a limit ends with it, and takes idle connections along', () =>
  withServer(cutAfterAnswer, async (http, url, connections) => {
    const get = (limitMs?: number) =>
      http.send({
        ...{ method: 'GET', url, label: 'GET', headers: {} },
        ...(limitMs === undefined ? {} : { limitMs }),
        signal: new AbortController().signal,
      });
    await Promise.all([get(), get()]);
    await expect(get(50)).rejects.toMatchObject({ code: 'NETWORK' });
    expect((await get(800)).status).toBe(204);
    expect(connections()).toBe(3);
  }));

test('a source that takes its time is no stall', () =>
  withServer(
    (socket) => {
      let taken = 0;
      socket.on('data', (chunk) => {
        taken += chunk.length;
        if (taken >= 4_000) socket.write(NO_CONTENT);
      });
    },
    async (http, url) => {
      async function* slow(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < 4; i += 1) {
          yield Buffer.alloc(1_000);
          await sleep(0.6 * STALL_MS);
        }
      }
      const answer = await http.send(put(url, slow(), 4_000));
      expect(answer.status).toBe(204);
    },
  ));

test('after a stall the other connections are not used any more', () =>
  withServer(cutAfterAnswer, async (http, url, connections) => {
    const get = () =>
      http.send({
        ...{ method: 'GET', url, label: 'GET', headers: {} },
        signal: new AbortController().signal,
      });
    await Promise.all([get(), get()]);
    expect(connections()).toBe(2);
    await expect(get()).rejects.toMatchObject({ code: 'TRANSFER_STALLED' });
    const startedAt = performance.now();
    expect((await get()).status).toBe(204);
    expect(performance.now() - startedAt).toBeLessThan(0.8 * STALL_MS);
    expect(connections()).toBe(3);
  }));
