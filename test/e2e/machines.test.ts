import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { findServer } from '../../src/redis/embedded.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { configure, json, run, start, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { isUp, untilAllOver, withPlace } from '../helpers/place.ts';
import { freePort } from '../helpers/ports.ts';
import { withFolder } from '../helpers/temp.ts';

/** Servers that end with the test. */
async function withServers<T>(
  use: (server: (folder: string, ...args: string[]) => Promise<ChildProcess>) => Promise<T>,
): Promise<T> {
  const servers: ChildProcess[] = [];
  try {
    return await use(async (folder, ...args) => {
      await mkdir(folder, { recursive: true });
      const server = spawn(findServer(), args, { cwd: folder, stdio: 'ignore' });
      servers.push(server);
      return server;
    });
  } finally {
    for (const server of servers) server.kill('SIGKILL');
  }
}

async function ask(port: number, command: string, ...args: string[]): Promise<unknown> {
  const redis = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    return await redis.call(command, ...args);
  } catch (error) {
    return String(error);
  } finally {
    redis.disconnect();
  }
}

const untilAnswers = (port: number) =>
  until('a server', async () => (await ask(port, 'PING')) === 'PONG');

describe('a pool', () => {
  test('is whose workers alone take its jobs; they take those of all as well', () =>
    withPlace({}, async (place) => {
      const { folder, source, simulator } = place;
      const hidden = join(folder, 'elsewhere');
      const local = await writeOva(join(folder, 'local.ova'), packageOf([5_000], 'local'));
      const [pooled] = await json(['enqueue', local, '--to', 'lab', '--pool', 'nas1'], folder);
      expect(pooled).toMatchObject({ pool: 'nas1', target: 'lab', state: 'waiting' });
      await rename(local, hidden); // no other host sees it
      const [shared] = await json(['enqueue', source, '--to', 'lab'], folder);
      expect(shared).toMatchObject({ pool: null });
      await isUp(place.worker());
      await untilAllOver(place, [shared?.id ?? '']);
      await sleep(1_500);
      expect(await json(['status', pooled?.id ?? ''], folder)).toMatchObject([
        { state: 'waiting', target: 'lab' },
      ]);
      expect(simulator.items()).toHaveLength(1);

      await rename(hidden, local);
      const worker = start(['worker', '--pool', 'nas1'], folder);
      try {
        const [done] = await untilAllOver(place, [pooled?.id ?? '']);
        expect(done).toMatchObject({ state: 'completed', pool: 'nas1' });
        expect((await run(['status'], folder)).stdout).toContain('2 completed');
      } finally {
        worker.kill('SIGKILL');
        await worker.ended;
      }
    }));

  test('without a worker: `upload` works on its own jobs, and `cancel` ends one', () =>
    withPlace({}, async ({ folder, source, simulator }) => {
      const options = ['--to', 'lab', '--pool', 'nas1'];
      const [waiting] = await json(['enqueue', source, ...options, '--name', 'x'], folder);
      const [done] = await json(['upload', source, ...options], folder);
      expect(done).toMatchObject({ state: 'completed', pool: 'nas1' });
      expect(await json(['cancel', waiting?.id ?? ''], folder)).toMatchObject([
        { state: 'failed', error: { code: 'CANCELLED' } },
      ]);
      expect(simulator.items()).toHaveLength(1);
      const worker = await run(['worker', '--pool', 'a:b'], folder);
      expect(worker).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('no name of a pool'),
      });
      const bad = await run(['enqueue', source, '--to', 'lab', '--pool', 'a.b'], folder);
      expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('no name of a pool') });
    }));
});

describe('sentinels', () => {
  test('a failover in the middle of an upload: it goes on, whole, with no byte again', () =>
    withFolder((folder) =>
      withServers(async (server) => {
        const [master, replica] = [await freePort(), await freePort()];
        const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
        const first = await server(join(folder, 'a'), '--port', String(master), ...durable);
        await untilAnswers(master);
        await server(
          join(folder, 'b'),
          ...['--port', String(replica), '--replicaof', '127.0.0.1', String(master), ...durable],
        );
        await until('the replica', async () =>
          String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:up'),
        );
        const sentinels = [await freePort(), await freePort(), await freePort()];
        for (const port of sentinels) {
          const own = join(folder, String(port));
          await mkdir(own);
          await writeFile(
            join(own, 'sentinel.conf'),
            `port ${port}
sentinel monitor ferry 127.0.0.1 ${master} 2
sentinel down-after-milliseconds ferry 1000
sentinel failover-timeout ferry 4000
`,
          );
          await server(own, 'sentinel.conf', '--sentinel');
          await untilAnswers(port);
        }
        await until('the sentinels see each other', async () => {
          const info = String(await ask(sentinels[0] ?? 0, 'INFO', 'sentinel'));
          return info.includes('slaves=1,sentinels=3');
        });
        const simulator = await startSimulator({ rateBytesPerSecond: 1_000_000 });
        const hosts = sentinels.map((port) => `127.0.0.1:${port}`).join(',');
        const redis = `redis-sentinel://${hosts}/ferry`;
        await configure(folder, { url: simulator.url, redis, lease: '20s' });
        const members = packageOf([9_000_000]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        const workers = [start(['worker'], folder), start(['worker'], folder)];
        try {
          for (const worker of workers) await isUp(worker);
          const [job] = await json(['enqueue', source, '--to', 'lab'], folder);
          const disk = () => simulator.items()[0]?.files[1];
          await until('bytes', () => (disk()?.received ?? 0) > 1_000_000);
          first.kill('SIGKILL');
          await until(
            'the new master',
            async () => String(await ask(replica, 'INFO', 'replication')).includes('role:master'),
            30_000,
          );
          const done = await until(
            'the end',
            async () => {
              const jobs = await run(['status', job?.id ?? '', '--json'], folder);
              const [seen] = JSON.parse(jobs.stdout || '[]');
              return seen?.state === 'completed' && seen;
            },
            60_000,
          );
          expect(done).toMatchObject({ bytesResent: 0 });
          expect(simulator.items()).toHaveLength(1);
          const ranges = disk()?.ranges ?? [];
          expect(ranges.reduce((sum, { arrived, stored }) => sum + arrived - stored, 0)).toBe(0);
          // What is enqueued afterwards arrives as well.
          const [next] = await json(['enqueue', source, '--to', 'lab', '--name', 'next'], folder);
          await until(
            'the next one',
            async () => {
              const [seen] = await json(['status', next?.id ?? ''], folder);
              return seen?.state === 'completed';
            },
            60_000,
          );
        } finally {
          for (const worker of workers) worker.kill('SIGKILL');
          for (const worker of workers) await worker.ended;
          await simulator.close();
        }
      }),
    ));
});

describe('a cluster', () => {
  test('takes everything: batches, limits, lines, cancelling, retrying', () =>
    withFolder((folder) =>
      withServers(async (server) => {
        const ports = [await freePort(), await freePort(), await freePort()];
        for (const port of ports) {
          const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'];
          await server(
            join(folder, String(port)),
            ...['--port', String(port), '--appendonly', 'yes', ...cluster],
          );
          await untilAnswers(port);
        }
        const slots = [0, 5_461, 10_923, 16_384];
        for (const [i, port] of ports.entries()) {
          const range = [String(slots[i]), String((slots[i + 1] ?? 0) - 1)];
          await ask(port, 'CLUSTER', 'ADDSLOTSRANGE', ...range);
          if (i > 0) await ask(ports[0] ?? 0, 'CLUSTER', 'MEET', '127.0.0.1', String(port));
        }
        await until('the cluster', async () => {
          const infos = await Promise.all(ports.map((port) => ask(port, 'CLUSTER', 'INFO')));
          return infos.every(
            (info) => /cluster_state:ok/.test(String(info)) && /known_nodes:3/.test(String(info)),
          );
        });
        const simulator = await startSimulator({});
        await configure(folder, {
          url: simulator.url,
          redis: `redis-cluster://127.0.0.1:${ports[1]}`,
          more: '    inFlight: 1GB\n    bandwidth: 50MB/s',
          tail: '  line: dc1\nlines: {dc1: 100MB/s}',
        });
        const sources: string[] = [];
        for (const name of ['a', 'b', 'c']) {
          sources.push(await writeOva(join(folder, `${name}.ova`), packageOf([50_000], name)));
        }
        await writeFile(join(folder, 'bad.ova'), 'junk');
        const batch = ['--to', 'lab', '--batch', 'all'];
        const jobs = await json(['enqueue', ...sources, 'bad.ova', ...batch], folder);
        const [last] = await json(
          ['enqueue', sources[0] ?? '', '--to', 'lab', '--name', 'z'],
          folder,
        );
        await json(['cancel', last?.id ?? ''], folder);
        const worker = start(['worker'], folder);
        try {
          await until('the end', async () => {
            const seen = await json(['status', ...jobs.map(({ id }) => id)], folder);
            return seen.every(({ state }) => state === 'completed' || state === 'failed');
          });
          const summary = await run(['status', '--batch', 'all'], folder);
          expect(summary.stdout).toContain('3 of 4 arrived, 1 failed');
          await json(['retry', jobs[3]?.id ?? ''], folder);
          await until('the end of the retried one', async () => {
            const [seen] = await json(['status', jobs[3]?.id ?? ''], folder);
            return seen?.state === 'failed';
          });
          expect(simulator.items()).toHaveLength(3);
        } finally {
          worker.kill('SIGKILL');
          await worker.ended;
          await simulator.close();
        }
      }),
    ));
});
