import { createHmac } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { json, run, start, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import {
  enqueued,
  isUp,
  type Place,
  untilAllOver,
  untilOver,
  withPlace,
} from '../helpers/place.ts';

interface Delivery {
  readonly id: string;
  readonly event: string;
  readonly about: Record<string, { counts?: unknown; code?: string; late?: unknown[] } | string>;
}

interface Receiver {
  readonly url: string;
  /** Every request, those that were refused too. */
  readonly requests: { headers: Record<string, unknown>; body: string }[];
  readonly taken: Delivery[];
  /** So many are refused first. */
  refuse: number;
}

async function withReceiver<T>(use: (receiver: Receiver) => Promise<T>): Promise<T> {
  const receiver: Receiver & { url: string } = { url: '', requests: [], taken: [], refuse: 0 };
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      receiver.requests.push({ headers: request.headers, body });
      if (receiver.refuse > 0) {
        receiver.refuse -= 1;
        response.writeHead(503).end();
        return;
      }
      receiver.taken.push(JSON.parse(body));
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path`;
  try {
    return await use(receiver);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function notify({ folder }: Place, { url }: Receiver): Promise<void> {
  const file = join(folder, 'ovaferry.yaml');
  const hook = `notify:\n  ops: {url: "${url}", secret: "\${HOOK_SECRET}"}\n`;
  await writeFile(file, `${await readFile(file, 'utf8')}${hook}`);
}

/** A worker that knows the secret. */
async function withWorkers<T>({ folder }: Place, count: number, use: () => Promise<T>): Promise<T> {
  const env = { HOOK_SECRET: 'hush' };
  const workers = Array.from({ length: count }, () => start(['worker'], folder, env));
  try {
    for (const worker of workers) await isUp(worker);
    return await use();
  } finally {
    for (const worker of workers) worker.kill('SIGKILL');
    for (const worker of workers) await worker.ended;
  }
}

describe('notifications', () => {
  test('that a batch has ended: signed, once whatever the number of workers, again after a retry', () =>
    withPlace({}, (place) =>
      withReceiver(async (receiver) => {
        const { folder, source } = place;
        await notify(place, receiver);
        receiver.refuse = 2;
        await writeFile(join(folder, 'bad.ova'), 'junk');
        const jobs = await json(
          [
            'enqueue',
            source,
            'bad.ova',
            '--to',
            'lab',
            '--batch',
            'night',
            '--deadline',
            '2020-01-01',
          ],
          folder,
        );
        await withWorkers(place, 2, async () => {
          await until('the news', () =>
            receiver.taken.some(({ event }) => event === 'batch.ended'),
          );
          const [ended] = receiver.taken.filter(({ event }) => event === 'batch.ended');
          expect(ended?.about['batch']).toMatchObject({
            name: 'night',
            counts: { completed: 1, failed: 1, waiting: 0 },
            failures: [{ code: 'PACKAGE_CORRUPT' }],
          });
          for (const { headers, body } of receiver.requests) {
            const signature = String(headers['ovaferry-signature']);
            const [, time, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
            const wanted = createHmac('sha256', 'hush').update(`${time}.${body}`).digest('hex');
            expect(hex).toBe(wanted);
            expect(headers['ovaferry-delivery']).toBe(JSON.parse(body).id);
          }
          // Refused ones came again under the same name.
          expect(receiver.requests.length).toBe(receiver.taken.length + 2);
          await json(['retry', jobs[1]?.id ?? ''], folder);
          const both = () => receiver.taken.filter(({ event }) => event === 'batch.ended').length;
          await until('the second end', () => both() >= 2);
          await new Promise((resolve) => setTimeout(resolve, 6_000)); // another round of each
          expect(both()).toBe(2);
          expect(new Set(receiver.taken.map(({ id }) => id)).size).toBe(receiver.taken.length);
        });
        // The secret and the address, which may be one, are nowhere in Redis.
        const dump = await readFile(join(folder, 'appendonlydir', 'appendonly.aof.1.incr.aof'));
        expect(dump.includes('hush')).toBe(false);
        expect(dump.includes('secret-path')).toBe(false);
      }),
    ));

  test('that a target is braked, with what to do; and that a deadline slips', () =>
    withPlace({ rateBytesPerSecond: 20_000 }, (place) =>
      withReceiver(async (receiver) => {
        const { folder, source } = place;
        await notify(place, receiver);
        const seen = (event: string) => receiver.taken.find((one) => one.event === event);
        await json(
          [
            'enqueue',
            source,
            '--to',
            'lab',
            '--deadline',
            '2020-01-01T00:00:00Z',
            '--batch',
            'late',
          ],
          folder,
        );
        await withWorkers(place, 1, async () => {
          await until('the late one', () => seen('deadline.slipping'));
          expect(seen('deadline.slipping')?.about['batch']).toMatchObject({
            name: 'late',
            late: [{ id: expect.stringContaining('lab-') }],
          });
        });
        const file = join(folder, 'ovaferry.yaml');
        const config = await readFile(file, 'utf8');
        await writeFile(file, config.replace('password: simulated', 'password: wrong'));
        await json(['enqueue', source, '--to', 'lab', '--name', 'other'], folder);
        await withWorkers(place, 1, async () => {
          await until('the brake', () => seen('target.braked'));
          expect(seen('target.braked')?.about).toMatchObject({
            target: 'lab',
            code: 'AUTH_REJECTED',
            hint: expect.any(String),
          });
        });
      }),
    ));
});

describe('a worker that is watched', () => {
  const listening = { config: { tail: '  listen: 127.0.0.1:0' } };
  const urlOf = (stderr: string): string => /"url":"(http[^"]+)"/.exec(stderr)?.[1] ?? '';

  test('tells Prometheus of bytes, ends, errors, queues; and whether it is well', () =>
    withPlace(listening, async (place) => {
      const { folder, redis } = place;
      const worker = place.worker();
      await isUp(worker);
      const url = urlOf(worker.output.stderr);
      const get = async (path: string) => {
        const answer = await fetch(`${url}${path}`);
        return { status: answer.status, text: await answer.text() };
      };
      expect(await get('/readyz')).toEqual({ status: 200, text: '{"status":"ok"}' });
      expect(await get('/healthz')).toMatchObject({ status: 200 });
      await untilOver(place, await enqueued(place));
      await writeFile(join(folder, 'bad.ova'), 'junk');
      const [bad] = await json(['enqueue', 'bad.ova', '--to', 'lab'], folder);
      await untilOver(place, bad?.id ?? '');
      const future = ['--start-at', '2099-01-01T00:00:00Z'];
      const other = await writeOva(join(folder, 'o.ova'), packageOf([10], 'o'));
      await json(['enqueue', other, '--to', 'lab', ...future], folder);
      const { text } = await get('/metrics');
      for (const line of [
        'ovaferry_bytes_sent_total{target="lab"} 1000000',
        'ovaferry_uploads_total{target="lab",outcome="completed"} 1',
        'ovaferry_uploads_total{target="lab",outcome="failed"} 1',
        'ovaferry_errors_total{target="lab",code="PACKAGE_CORRUPT"} 1',
        'ovaferry_jobs{target="lab",state="completed"} 1',
        'ovaferry_jobs{target="lab",state="delayed"} 1',
        'ovaferry_bytes_resent_total{target="lab"} 0',
        'ovaferry_upload_duration_seconds_count{target="lab"} 2',
        'ovaferry_import_duration_seconds_count{target="lab"} 1',
        'ovaferry_running_uploads 0',
      ]) {
        expect(text).toContain(line);
      }
      await redis.kill();
      await until('not ready', async () => (await get('/readyz')).status === 503);
      // That is when a worker is looked at: what it knows by itself is told all the same.
      expect(await get('/metrics')).toEqual({
        status: 200,
        text: expect.stringMatching(/ovaferry_redis_up 0$/m),
      });
      expect(await get('/healthz')).toMatchObject({ status: 200 });
      await redis.start();
      await until('ready again', async () => (await get('/readyz')).status === 200);
    }));

  test('that can not listen says so and ends', () =>
    withPlace(listening, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const port = new URL(urlOf(worker.output.stderr)).port;
      const file = join(place.folder, 'ovaferry.yaml');
      const config = await readFile(file, 'utf8');
      await writeFile(file, config.replace('127.0.0.1:0', `127.0.0.1:${port}`));
      const ended = await run(['worker'], place.folder);
      expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining('EADDRINUSE') });
      await untilAllOver(place, [await enqueued(place)]);
    }));
});
