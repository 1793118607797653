import { once } from 'node:events';
import { statSync } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { configure, json, run, start, until } from '../helpers/cli.ts';
import { isoOf, writeOva } from '../helpers/packages.ts';
import { isUp, withPlace } from '../helpers/place.ts';
import { withFolder } from '../helpers/temp.ts';
import { uploadTo } from '../helpers/upload.ts';

describe('a Redis', () => {
  test('that throws keys away is refused before anything is put into it', () =>
    withPlace({}, async ({ folder, redis, source }) => {
      await redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
      const { code, stderr } = await run(['enqueue', source, '--to', 'lab'], folder);
      expect({ code, stderr }).toEqual({
        code: 3,
        stderr: expect.stringMatching(/evicts keys.*\n.*noeviction/),
      });
    }));

  test('that is full is named, and nobody else', () =>
    withPlace({}, async ({ folder, redis, source }) => {
      await redis.client.config('SET', 'maxmemory', '1');
      const worker = await run(['worker'], folder);
      expect(worker).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/takes no writes: OOM/),
      });
      const enqueued = await run(['enqueue', source, '--to', 'lab'], folder);
      expect(enqueued).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/takes no writes: OOM .*\n +Look after the server/),
      });
      expect(enqueued.stderr).not.toMatch(/script|Start Redis/);
    }));
});

describe('what was done once and is not there any more is done again', () => {
  test('an item that has another name now', () =>
    withPlace({}, async (place) => {
      const { folder, source, simulator } = place;
      await isUp(place.worker());
      const upload = () => json(['upload', source, '--to', 'lab'], folder);
      await upload();
      await run(['rename', 'lab/appliances/box', 'box-old'], folder);
      expect(await upload()).toMatchObject([{ state: 'completed', existing: false }]);
      const names = simulator.items().map(({ name }) => name);
      expect(names.sort()).toEqual(['box', 'box-old']);
    }));

  test.each([
    ['an archive', 'box.ova', ['--ova']],
    ['a media image', 'disc.iso', []],
  ])('%s that was fetched, and was cut since', (_what, made, options) =>
    withFolder((store) =>
      withPlace({ store }, async (place) => {
        const { folder, simulator, source } = place;
        const iso = join(folder, 'disc.iso');
        await writeFile(iso, isoOf());
        await uploadTo(simulator, made === 'disc.iso' ? iso : source);
        await isUp(place.worker());
        const item = `lab/appliances/${made.replace(/\.\w+$/, '')}`;
        const to = join(folder, 'to');
        const fetch = (...more: string[]) =>
          json(['download', item, '-o', to, ...options, ...more], folder);
        await fetch();
        expect(await fetch()).toMatchObject([{ existing: true }]);
        await truncate(join(to, made), 5_000);
        // What lies there may be somebody's: it is said, and replaced where that is wanted.
        expect(await fetch()).toMatchObject([{ error: { code: 'DESTINATION_EXISTS' } }]);
        const [again] = await fetch('--if-exists', 'replace');
        expect(again).toMatchObject({ state: 'completed', existing: false });
        expect(statSync(join(to, made)).size).toBeGreaterThan(5_000);
      }),
    ),
  );
});

test('Ctrl-C ends a command that waits for a web server which says nothing', () =>
  withPlace({}, async ({ folder }) => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const asked = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    const upload = start(['upload', `http://127.0.0.1:${port}/x.ova`, '--to', 'lab'], folder);
    try {
      await asked;
      upload.kill('SIGINT');
      expect((await upload.ended).code).toBe(130);
    } finally {
      upload.kill('SIGKILL');
      silent.close();
    }
  }));

test('a file of a password that is empty is said, and sent to nobody', () =>
  withPlace({}, async ({ folder, simulator, redis }) => {
    await writeFile(join(folder, 'secret'), '\uFEFF\n');
    await configure(folder, { url: simulator.url, redis: redis.url });
    const config = `redis: ${redis.url}\ntargets: {lab: {url: "${simulator.url}", org: acme, user: admin, passwordFile: secret}}\n`;
    await writeFile(join(folder, 'ovaferry.yaml'), config);
    const { code, stderr } = await run(['ls', 'lab'], folder);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/secret.* is empty/),
    });
    expect(simulator.world.sessions.attempts).toBe(0);
  }));

describe('a simulator that can not work as it is told says so at once', () => {
  test.each([
    [
      'a store that is a file',
      ['--store', 'ovaferry.yaml'],
      /--store: ovaferry\.yaml is not a folder/,
    ],
    [
      'one that nobody can make',
      ['--store', '/proc/x/y'],
      /--store: \/proc\/x\/y can't be written/,
    ],
    ['no certificate', ['--tls-cert', 'empty', '--tls-key', 'empty'], /can't be used for TLS/],
    ['no address', ['--transfer-url', 'nonsense'], /--transfer-url: "nonsense" is not/],
    ["another machine's address", ['--host', '203.0.113.1'], /Say another --host/],
  ])('%s', (_what, args, said) =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'empty'), '');
      await writeFile(join(folder, 'ovaferry.yaml'), '');
      const { code, stderr } = await run(['simulate', '--port', '0', ...args], folder);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(said) });
    }),
  );
});

test('why a job waits is shown by the command that waits for it', () =>
  withPlace({}, async ({ folder, redis, source }) => {
    const elsewhere = 'http://127.0.0.1:1';
    await configure(folder, { url: elsewhere, redis: redis.url });
    await writeOva(join(folder, 'x.ova'), []);
    const upload = start(['upload', source, '--to', 'lab'], folder);
    try {
      await until('the reason', () =>
        /box .*lab.*: waiting.*nothing listens at 127\.0\.0\.1:1/.test(
          upload.output.stdout + upload.output.stderr,
        ),
      );
    } finally {
      upload.kill('SIGKILL');
      await upload.ended;
    }
  }));
