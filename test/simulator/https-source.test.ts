import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { partName } from '../../src/ovf/digest-lines.ts';
import { HttpFile } from '../../src/source/http-file.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import {
  descriptorOf,
  digest,
  isoOf,
  manifestOf,
  packageOf,
  writeOva,
} from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

interface Web {
  readonly url: string;
  /** Ranges in the order in which they were asked for. */
  readonly asked: string[];
  /** What goes wrong from now on; returns true for what it has answered. */
  fault: (request: IncomingMessage, response: ServerResponse) => boolean;
  etag: string;
}

/** A web server over files in memory, as strict about ranges and conditions as RFC 9110. */
async function withWeb<T>(
  files: Record<string, Buffer>,
  use: (web: Web) => Promise<T>,
): Promise<T> {
  const web = { url: '', asked: [] as string[], fault: () => false, etag: '"one"' } as Web & {
    url: string;
  };
  const server: Server = createServer((request, response) => {
    const bytes = files[decodeURIComponent((request.url ?? '').slice(1))];
    web.asked.push(`${request.url} ${request.headers.range ?? ''}`);
    if (web.fault(request, response)) return;
    const { range, 'if-match': match } = request.headers;
    if (!bytes) return void response.writeHead(404).end();
    if (match !== undefined && match !== web.etag) return void response.writeHead(412).end();
    const headers = { etag: web.etag, 'accept-ranges': 'bytes' };
    const [, from = '', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
    const start = Number(from);
    if (start >= bytes.length) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${bytes.length}` }).end();
      return;
    }
    const end = to === '' ? bytes.length : Math.min(bytes.length, Number(to) + 1);
    response.writeHead(206, {
      ...headers,
      'content-length': end - start,
      'content-range': `bytes ${start}-${end - 1}/${bytes.length}`,
    });
    response.end(bytes.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  web.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    return await use(web);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function ova(folder: string, size: number) {
  const members = packageOf([size]);
  const bytes = await readFile(await writeOva(join(folder, 'box.ova'), members));
  return { members, bytes };
}

describe('an OVA on a web server', () => {
  test('is indexed and sent from there, each byte fetched about once', () =>
    withFolder(async (folder) => {
      const { members, bytes } = await ova(folder, 24 * MiB);
      await withWeb({ 'my box.ova': bytes }, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          await upload(`${web.url}/my%20box.ova`, { name: 'box', chunkBytes: 5 * MiB });
          expectWhole({ simulator, members });
          expect(web.asked.length).toBeLessThan(15);
          for (const line of web.asked) expect(line).toMatch(/bytes=\d/);
        }),
      );
    }));

  test('whose connection breaks in the middle goes on from there', () =>
    withFolder(async (folder) => {
      const { members, bytes } = await ova(folder, 8 * MiB);
      await withWeb({ 'box.ova': bytes }, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          let broken = 0;
          web.fault = ({ headers }, response) => {
            const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
            if (start === undefined || broken >= 6) return false;
            broken += 1;
            const end = Math.min(bytes.length, Number(start) + MiB);
            response.writeHead(206, {
              etag: web.etag,
              'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
              'content-length': bytes.length - Number(start),
            });
            response.write(bytes.subarray(Number(start), end), () => response.destroy());
            return true;
          };
          await upload(`${web.url}/box.ova`, { chunkBytes: 64 * MiB });
          expect(broken).toBe(6);
          expectWhole({ simulator, members });
        }),
      );
    }));

  test('that is replaced while it is sent is never mixed with the other one', () =>
    withFolder(async (folder) => {
      const { bytes } = await ova(folder, 8 * MiB);
      await withWeb({ 'box.ova': bytes }, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          web.fault = () => {
            if (web.asked.length > 2) web.etag = '"two"';
            return false;
          };
          await expect(upload(`${web.url}/box.ova`, { chunkBytes: MiB })).rejects.toMatchObject({
            code: 'SOURCE_CHANGED',
          });
          expect(simulator.items()[0]?.status).not.toBe(8);
        }),
      );
    }));

  test('of a server that heeds no condition is not mixed either', () =>
    withFolder(async (folder) => {
      const { bytes } = await ova(folder, 8 * MiB);
      await withWeb({ 'box.ova': bytes }, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          web.fault = ({ headers }, response) => {
            const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
            if (start === undefined || Number(start) === 0) return false;
            const from = Number(start);
            response.writeHead(206, {
              etag: web.asked.length > 2 ? '"two"' : web.etag,
              'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
            });
            // The first answer breaks off, so that another one is needed.
            response.write(bytes.subarray(from, from + MiB), () => response.destroy());
            return true;
          };
          await expect(upload(`${web.url}/box.ova`, { chunkBytes: MiB })).rejects.toMatchObject({
            code: 'SOURCE_CHANGED',
          });
          expect(simulator.items()[0]?.status).not.toBe(8);
        }),
      );
    }));

  test.each([
    { 'content-encoding': 'gzip', 'content-range': 'bytes 0-9/10' },
    { 'content-range': `bytes 0-9/${'9'.repeat(400)}` },
    { 'content-range': 'bytes 0-9/*' },
  ])('whose answer can not be used is refused: %j', (headers) =>
    withWeb({}, async (web) => {
      web.fault = (_request, response) => {
        response.writeHead(206, { etag: web.etag, ...headers }).end('x'.repeat(10));
        return true;
      };
      await expect(HttpFile.open(new URL(`${web.url}/box.ova`))).rejects.toMatchObject({
        code: 'SOURCE_UNREADABLE',
      });
    }),
  );

  test.each([
    [503, 'SOURCE_UNREACHABLE', 'transient'],
    [404, 'SOURCE_NOT_FOUND', 'permanent'],
    [403, 'SOURCE_UNREADABLE', 'permanent'],
    [200, 'SOURCE_UNREADABLE', 'permanent'],
  ])('that is answered with %s is %s', (status, code, kind) =>
    withWeb({}, async (web) => {
      web.fault = (_request, response) => {
        response.writeHead(status, { etag: web.etag }).end('x'.repeat(100));
        return true;
      };
      await expect(HttpFile.open(new URL(`${web.url}/box.ova`))).rejects.toMatchObject({
        code,
        kind,
      });
    }),
  );

  test('without a strong ETag and a date is refused, with what to do', () =>
    withFolder(async (folder) => {
      const { bytes } = await ova(folder, 100);
      await withWeb({ 'box.ova': bytes }, async (web) => {
        web.etag = 'W/"weak"';
        await expect(HttpFile.open(new URL(`${web.url}/box.ova`))).rejects.toMatchObject({
          code: 'SOURCE_UNREADABLE',
          hint: expect.stringContaining('fetch it to a disk first'),
        });
      });
    }));

  test('a server that nobody reaches is tried again later', async () => {
    const gone = HttpFile.open(new URL('http://127.0.0.1:1/box.ova'));
    await expect(gone).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE', kind: 'transient' });
  });
});

describe('an unpacked package on a web server', () => {
  test('is sent with the files beside its descriptor', () =>
    withFolder(async () => {
      const members = packageOf([3 * MiB]);
      const files = Object.fromEntries(members.map(({ name, bytes }) => [`a b/${name}`, bytes]));
      await withWeb(files, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          const result = await upload(`${web.url}/a%20b/box.ovf`);
          expectWhole({ simulator, members });
          expect(result.files).toMatchObject([{ verified: true }]);
        }),
      );
    }));

  test('of which the store says "forbidden" for a manifest that is not there', () =>
    withFolder(async () => {
      const members = packageOf([5_000]).filter(({ name }) => !name.endsWith('.mf'));
      const files = Object.fromEntries(members.map(({ name, bytes }) => [name, bytes]));
      await withWeb(files, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          web.fault = ({ url = '' }, response) => {
            if (!url.endsWith('.mf')) return false;
            response.writeHead(403).end();
            return true;
          };
          await upload(`${web.url}/box.ovf`);
          expect(simulator.items()).toMatchObject([{ status: 8 }]);
        }),
      );
    }));

  test.each([
    ['by its size', ' ovf:chunkSize="1000"', 2_500, ''],
    ['by its manifest', ' ovf:chunkSize="1000"', undefined, 'box.mf'],
    ['by the first part that there is not', ' ovf:chunkSize="1000"', undefined, ''],
  ])('in parts is whole, as is known %s', (_name, extra, size, manifestName) =>
    withFolder(async () => {
      const whole = randomBytes(2_500);
      const parts = [0, 1, 2].map((i) => ({
        name: partName('sub/a%20b.vmdk', i),
        bytes: whole.subarray(i * 1_000, (i + 1) * 1_000),
      }));
      const descriptor = {
        name: 'box.ovf',
        bytes: descriptorOf([{ href: 'sub/a%20b.vmdk', extra, ...(size ? { size } : {}) }]),
      };
      const manifest = { name: manifestName, bytes: manifestOf([descriptor, ...parts]) };
      const files = Object.fromEntries(
        [descriptor, manifest, ...parts].map(({ name, bytes }) => [name, bytes]),
      );
      await withWeb(files, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          await upload(`${web.url}/box.ovf`);
          const [item] = simulator.items();
          expect(item?.files[1]?.sha256).toBe(digest(whole));
          delete files[parts[2]?.name ?? ''];
          if (size === undefined && manifestName === '') return; // nothing tells
          await expect(upload(`${web.url}/box.ovf`, { name: 'cut' })).rejects.toMatchObject({
            code: 'PACKAGE_INCOMPLETE',
          });
        }),
      );
    }),
  );

  test('one whose disk is missing says so', () =>
    withFolder(async () => {
      const [descriptor] = packageOf([10]);
      await withWeb({ 'box.ovf': descriptor?.bytes as Buffer }, (web) =>
        withUploads({}, async ({ upload }) => {
          await expect(upload(`${web.url}/box.ovf`)).rejects.toMatchObject({
            code: 'PACKAGE_INCOMPLETE',
          });
        }),
      );
    }));
});

describe('an ISO on a web server', () => {
  test('that is written to while its only answer is under way never completes', () => {
    const bytes = isoOf(8 * MiB);
    return withWeb({ 'disc.iso': bytes }, (web) =>
      withUploads({}, async (world) => {
        web.fault = ({ headers: { range } }, response) => {
          const [, from] = /^bytes=(\d+)-$/.exec(range ?? '') ?? [];
          if (from === undefined) return false;
          const rest = bytes.subarray(Number(from));
          response.writeHead(206, {
            ...{ etag: web.etag, 'content-length': rest.length },
            'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
          });
          response.write(rest.subarray(0, rest.length / 2), () => {
            web.etag = '"two"';
            response.end(rest.subarray(rest.length / 2));
          });
          return true;
        };
        const uploading = world.upload(`${web.url}/disc.iso`);
        await expect(uploading).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
        expect(web.etag).toBe('"two"');
        expect(world.simulator.items()).toMatchObject([{ status: 0 }]);
      }),
    );
  });

  test.each([0, 1, 100, 300_000, 5 * MiB])('of %s bytes', (size) =>
    withFolder(async (folder) => {
      const bytes = Buffer.alloc(size, 'iso');
      await writeFile(join(folder, 'x'), manifestOf([]));
      await withWeb({ 'disc.iso': bytes }, (web) =>
        withUploads({}, async ({ simulator, upload }) => {
          await upload(`${web.url}/disc.iso`, { media: true });
          expect(simulator.items()).toMatchObject([
            { kind: 'media', status: size === 0 ? expect.anything() : 1 },
          ]);
        }),
      );
    }),
  );
});
