import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { VcdClient, type VcdOptions } from '../../src/vcd/client.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { withProxy } from '../helpers/proxy.ts';
import { withFolder } from '../helpers/temp.ts';
import { SELF_SIGNED } from '../helpers/tls.ts';
import { clientOf, type UploadWorld, withUploads } from '../helpers/upload.ts';

const context = { signal: new AbortController().signal };
const PIN = new X509Certificate(SELF_SIGNED.cert).fingerprint256;

/** Uploads a small package, over all of login, API and transfer. */
function uploaded(options: Partial<VcdOptions>, tls = true): Promise<UploadWorld['simulator']> {
  return withFolder((folder) =>
    withUploads(
      tls ? { tls: SELF_SIGNED } : {},
      async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([200_000])));
        expect(world.simulator.items()).toEqual([expect.objectContaining({ status: 8 })]);
        return world.simulator;
      },
      options,
    ),
  );
}

describe('trust', () => {
  test('a certificate that nobody vouches for is refused', async () => {
    await expect(uploaded({})).rejects.toMatchObject({ code: 'TLS_UNTRUSTED' });
  });

  test.each([
    ['an extra authority', { ca: SELF_SIGNED.cert }],
    ['a pin', { certificateSha256: PIN }],
    ['nothing at all', { insecure: true }],
  ])(
    'with %s all of an upload goes over TLS, the token on transfers included',
    async (_by, trust) => {
      const { requests } = await uploaded({ trust });
      const puts = requests.filter(({ path }) => path.startsWith('/transfer/'));
      expect(puts.length).toBeGreaterThan(1);
      for (const { headers } of puts) expect(headers['authorization']).toBe('Bearer');
    },
  );

  test('another certificate than the pinned one is refused', async () => {
    const trust = { certificateSha256: PIN.replace(/^../, PIN.startsWith('00') ? '01' : '00') };
    await expect(uploaded({ trust })).rejects.toMatchObject({ code: 'TLS_UNTRUSTED' });
  });
});

describe('a proxy', () => {
  test.each([
    ['an extra authority', { ca: SELF_SIGNED.cert }],
    ['a pin', { certificateSha256: PIN }],
  ])('is gone through for everything, with %s', (_by, trust) =>
    withProxy(async (proxy) => {
      const { url } = await uploaded({ trust: { ...trust, proxy: proxy.url } });
      expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${new URL(url).host}`]));
    }),
  );

  test('may want a password, which stays between us and it', () =>
    withProxy(async (proxy) => {
      const trust = { certificateSha256: PIN, proxy: proxy.url };
      const { requests } = await uploaded({ trust });
      for (const { headers } of requests) expect(headers['proxy-authorization']).toBeUndefined();
      const wrong = proxy.url.replace('s3cret', 'guess');
      await withUploads(
        { tls: SELF_SIGNED },
        async ({ vcd }) => {
          await expect(vcd.connect()).rejects.toMatchObject({
            code: 'PROXY_REFUSED',
            message: expect.stringMatching(/^the proxy 127\.0\.0\.1:\d+ wants a login \(407\)$/),
          });
          await expect(vcd.connect()).rejects.not.toThrow(/guess/);
        },
        { trust: { ...trust, proxy: wrong } },
      );
    }, 'me:s3cret'));

  type Answer = (socket: Socket) => void;
  const saying = (line: string): Answer => {
    return (socket) => socket.once('data', () => socket.end(`HTTP/1.1 ${line}\r\n\r\n`));
  };
  const faults: [name: string, answer: Answer | undefined, code: string, said: RegExp][] = [
    ['wants a login', saying('407 Login'), 'PROXY_REFUSED', /^the proxy .* wants a login \(407\)$/],
    ['refuses', saying('403 No'), 'PROXY_REFUSED', /^the proxy .* refuses vcd\.invalid \(403\)$/],
    ['has no way', saying('502 No'), 'NETWORK', /^the proxy .* can't reach vcd\.invalid \(502\)$/],
    ['says nothing', () => undefined, 'NETWORK', /the proxy .* did not answer in time$/],
    ['is not there', undefined, 'NETWORK', /nothing listens at the proxy 127/],
  ];
  test.each(faults)('that %s is blamed by its name', async (_name, answer, code, said) => {
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      answer?.(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    if (!answer) await new Promise((resolve) => server.close(resolve));
    for (const url of ['https://vcd.invalid', 'http://vcd.invalid']) {
      const vcd = new VcdClient({
        url: new URL(url),
        org: 'acme',
        credentials: () => Promise.resolve({ kind: 'password', user: 'me', password: 'x' }),
        trust: { proxy: `http://127.0.0.1:${port}` },
        timeouts: { connectMs: 300, stallMs: 5_000 },
      });
      await expect(vcd.connect()).rejects.toMatchObject({
        code,
        message: expect.stringMatching(said),
      });
      vcd.close();
    }
    for (const socket of sockets) socket.destroy();
    if (answer) await new Promise((resolve) => server.close(resolve));
  });

  test('is used without TLS, too', () =>
    withProxy(async (proxy) => {
      await uploaded({ trust: { proxy: proxy.url } }, false);
      expect(proxy.seen.length).toBeGreaterThan(0);
    }));
});

test('replies are asked for compressed', () =>
  withUploads({}, async ({ vcd, simulator }) => {
    await vcd.getCatalog('appliances', context);
    for (const { headers } of simulator.requests)
      expect(headers['accept-encoding']).toMatch(/gzip/);
  }));

test('every request says whose it is', () =>
  withFolder((folder) =>
    withUploads({}, async (world) => {
      await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([10])));
      const own = world.simulator.requests.filter(({ path }) => !/sessions|versions/.test(path));
      for (const { headers } of own) {
        expect(headers['x-vmware-vcloud-client-request-id']).toBe('test-1');
      }
      expect(own.length).toBeGreaterThan(6);
    }),
  ));

const HTML = '<!DOCTYPE html><html><body>Request blocked. <b>WAF</b></body></html>';

describe('an answer that is not what was asked for', () => {
  test.each([
    ['the versions', '/api/versions', { status: 200, body: HTML }, 'NOT_VCD', /not a vCD/],
    ['the versions', '/api/versions', { status: 404, body: HTML }, 'NOT_VCD', /in front of vCD/],
    [
      'the versions',
      '/api/versions',
      { status: 503, body: HTML },
      'SERVER_UNAVAILABLE',
      /in front of vCD/,
    ],
    [
      'the versions',
      '/api/versions',
      { status: 302, headers: { location: 'https://u:p@sso.example.com/login?token=s3cret' } },
      'NOT_VCD',
      /redirection to sso\.example\.com/,
    ],
    ['the login', '/sessions', { status: 200, body: HTML }, 'NOT_VCD', /without a token/],
    ['the login', '/sessions', { status: 502, body: HTML }, 'SERVER_UNAVAILABLE', /502/],
    [
      'the login',
      '/sessions',
      { status: 403, body: HTML },
      'SERVER_UNAVAILABLE',
      /in front of vCD/,
    ],
    [
      'the login',
      '/sessions',
      { status: 503, headers: { 'retry-after': '7' } },
      'SERVER_UNAVAILABLE',
      /503/,
    ],
    [
      'the API',
      '/api/query',
      { status: 200, body: HTML },
      'SERVER_UNAVAILABLE',
      /HTML page by something in front of vCD/,
    ],
    [
      'the API',
      '/api/query',
      { status: 403, body: HTML },
      'SERVER_UNAVAILABLE',
      /firewall or load balancer/,
    ],
    [
      'the API',
      '/api/query',
      { status: 200, body: '{"ok":true}' },
      'SERVER_UNAVAILABLE',
      /came back from GET \/api\/query/,
    ],
    ['the API', '/api/query', { status: 200, body: '' }, 'SERVER_UNAVAILABLE', /came back empty/],
    [
      'the API',
      '/api/query',
      { status: 500, body: '' },
      'SERVER_UNAVAILABLE',
      /without a request id: not by vCD itself/,
    ],
    [
      'the API',
      '/api/query',
      { status: 307, headers: { location: '/elsewhere' } },
      'NOT_VCD',
      /redirection/,
    ],
    [
      'the API',
      '/api/query',
      { status: 429, headers: { 'retry-after': '7' } },
      'SERVER_UNAVAILABLE',
      /429/,
    ],
  ])('from %s, at %s, is named as such: %j', (_what, path, answer, code, message) =>
    withUploads({}, async ({ vcd, simulator }) => {
      simulator.world.faults.add({ on: { path }, times: 0, do: answer });
      const failed = vcd.getCatalog('appliances', context);
      await expect(failed).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
      await expect(failed).rejects.not.toThrow(/s3cret|u:p/);
      const retryAfter = (answer as { headers?: Record<string, string> }).headers?.['retry-after'];
      const wish = retryAfter === undefined ? undefined : Number(retryAfter) * 1000;
      await expect(failed).rejects.toMatchObject({ retryAfterMs: wish });
    }),
  );

  test('such as a redirection of a transfer is not followed: nobody else gets the token', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const seen: unknown[] = [];
        const thief = createServer((request, response) => {
          seen.push(request.headers);
          response.end();
        });
        await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve));
        const location = `http://127.0.0.1:${(thief.address() as AddressInfo).port}/`;
        const rule = { status: 307, headers: { location } };
        world.simulator.world.faults.add({
          on: { method: 'PUT', file: 'disk' },
          times: 0,
          do: rule,
        });
        const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
        await expect(world.upload(source, { patienceMs: 500 })).rejects.toMatchObject({
          message: expect.stringContaining('redirection'),
        });
        expect(seen).toEqual([]);
        thief.close();
      }),
    ));
});

describe('a public address with two slashes', () => {
  test('leads to the target itself, with all that is secret', () =>
    withUploads({}, async ({ simulator }) => {
      const { url, world } = simulator;
      const body = `<SupportedVersions xmlns="http://www.vmware.com/vcloud/versions"><VersionInfo><Version>37.0</Version><LoginUrl>${url}//cloudapi/1.0.0/sessions</LoginUrl></VersionInfo></SupportedVersions>`;
      world.faults.add({ on: { path: '/api/versions' }, do: { status: 200, body } });
      const [catalog] = world.org.catalogs;
      const vcd = clientOf(simulator);
      await vcd.connect();
      const href = `https://vcd.example.com//api/catalog/${catalog?.id}`;
      await expect(vcd.getEntity(href, context)).rejects.toThrow(
        /template or media, got a Catalog/,
      );
      vcd.close();
    }));
});

describe('where the token goes', () => {
  /** A host of its own for transfers, in front of the simulator. */
  async function withTransferHost<T>(
    target: string,
    use: (host: string, tokens: (string | undefined)[]) => Promise<T>,
  ): Promise<T> {
    const tokens: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      tokens.push(request.headers.authorization);
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const { 'content-range': range } = request.headers;
        const answer = await fetch(`${target}${request.url}`, {
          method: 'PUT',
          body: Buffer.concat(chunks),
          headers: range === undefined ? {} : { 'content-range': range },
        });
        response.writeHead(answer.status).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, tokens);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test('not to another host over a line that is not protected', () =>
    withUploads({}, async ({ simulator }) => {
      await withTransferHost(simulator.url, async (host, tokens) => {
        const vcd = clientOf(simulator);
        await vcd.connect();
        const body = (async function* () {
          yield Buffer.from('x');
        })();
        const range = { start: 0, end: 1, total: 1 };
        await vcd.putRange(`${host}/transfer/k/x`, body, range, context).catch(() => undefined);
        expect(tokens).toEqual([undefined]);
        vcd.close();
      });
    }));

  test('an address without TLS is refused by a target with TLS', () =>
    withUploads(
      { tls: SELF_SIGNED },
      async ({ vcd }) => {
        const body = (async function* () {
          yield Buffer.from('x');
        })();
        const range = { start: 0, end: 1, total: 1 };
        await expect(
          vcd.putRange('http://127.0.0.1:1/transfer/k/x', body, range, context),
        ).rejects.toMatchObject({
          code: 'NOT_VCD',
          message: expect.stringContaining('without TLS'),
        });
      },
      { trust: { ca: SELF_SIGNED.cert } },
    ));
});
