import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createFerry } from '../../src/index.ts';
import { findServer } from '../../src/redis/embedded.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { configure, json, run, start, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import {
  type Asking,
  enqueueAll,
  enqueueMany,
  isUp,
  jobsNow,
  untilAllOver,
  untilJob,
  untilOver,
  withPlace,
} from '../helpers/place.ts';
import { freePort } from '../helpers/ports.ts';
import { withFolder } from '../helpers/temp.ts';

/** A server that answers at a port of its own. */
interface Server {
  readonly port: number;
  readonly child: ChildProcess;
}

type StartServer = (folder: string, ...args: string[]) => Promise<Server>;

/** Servers that end with the test. */
async function withServers<T>(use: (start: StartServer) => Promise<T>): Promise<T> {
  const servers: ChildProcess[] = [];
  try {
    return await use(async (folder, ...args) => {
      await mkdir(folder, { recursive: true });
      for (;;) {
        const port = await freePort();
        const own = [...args, '--port', String(port)];
        const child = spawn(findServer(), own, { cwd: folder, stdio: 'ignore' });
        servers.push(child);
        const hasEnded = (): boolean => child.exitCode !== null;
        await until('a server', async () => hasEnded() || (await ask(port, 'PING')) === 'PONG');
        // Where somebody took the port meanwhile it has ended at once.
        if (!hasEnded()) return { port, child };
      }
    });
  } finally {
    const ended = servers
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of servers) child.kill('SIGKILL');
    await Promise.all(ended);
  }
}

/** The library with the configuration in a folder. */
async function withFerry<T>(folder: string, use: (asking: Asking) => Promise<T>): Promise<T> {
  const ferry = await createFerry({ config: join(folder, 'ovaferry.yaml') });
  try {
    return await use({ ferry: () => Promise.resolve(ferry) });
  } finally {
    await ferry.close();
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

describe('a pool', () => {
  test('is whose workers alone take its jobs; they take those of all as well', () =>
    withPlace({}, async (place) => {
      const { folder, source, simulator } = place;
      const hidden = join(folder, 'elsewhere');
      const local = await writeOva(join(folder, 'local.ova'), packageOf([5_000], 'local'));
      const [pooled] = await json(['enqueue', local, '--to', 'lab', '--pool', 'nas1'], folder);
      expect(pooled).toMatchObject({ pool: 'nas1', target: 'lab', state: 'waiting' });
      await rename(local, hidden); // no other host sees it
      // They came later, and are done before it is looked at.
      const [shared = ''] = await enqueueAll(place, [source]);
      expect(await jobsNow(place, [shared])).toMatchObject([{ pool: null }]);
      await isUp(place.worker());
      await untilOver(place, shared);
      await untilAllOver(place, await enqueueMany(place, 3));
      expect(await jobsNow(place, [pooled?.id ?? ''])).toMatchObject([
        { state: 'waiting', target: 'lab' },
      ]);
      expect(simulator.items()).toHaveLength(4);

      await rename(hidden, local);
      place.worker('--pool', 'nas1');
      const done = await untilOver(place, pooled?.id ?? '');
      expect(done).toMatchObject({ state: 'completed', pool: 'nas1' });
      expect((await run(['status'], folder)).stdout).toContain('5 completed');
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

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];

describe('sentinels', () => {
  test.each([
    ['killed', 'SIGKILL'],
    ['silent, and so is the first sentinel', 'SIGSTOP'],
  ] as const)(
    'a master that is %s in the middle of an upload: it goes on, whole, with no byte again',
    (_how, signal) =>
      withFolder((folder) =>
        withServers(async (server) => {
          const master = await server(join(folder, 'a'), ...DURABLE);
          const replica = await server(
            join(folder, 'b'),
            ...['--replicaof', '127.0.0.1', String(master.port), ...DURABLE],
          );
          const replication = async () => String(await ask(replica.port, 'INFO', 'replication'));
          await until('the replica', async () =>
            (await replication()).includes('master_link_status:up'),
          );
          const sentinels: Server[] = [];
          for (const name of ['s1', 's2', 's3']) {
            const own = join(folder, name);
            await mkdir(own);
            await writeFile(
              join(own, 'sentinel.conf'),
              `sentinel monitor ferry 127.0.0.1 ${master.port} 2
sentinel down-after-milliseconds ferry 1000
sentinel failover-timeout ferry 4000
`,
            );
            sentinels.push(await server(own, 'sentinel.conf', '--sentinel'));
          }
          await until('the sentinels see each other', async () => {
            const info = String(await ask(sentinels[0]?.port ?? 0, 'INFO', 'sentinel'));
            return info.includes('slaves=1,sentinels=3');
          });
          const simulator = await startSimulator({ rateBytesPerSecond: 1_000_000 });
          const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
          const redis = `redis-sentinel://${hosts}/ferry`;
          await configure(folder, { url: simulator.url, redis, lease: '20s' });
          const source = await writeOva(join(folder, 'box.ova'), packageOf([9_000_000]));
          const workers = [start(['worker'], folder), start(['worker'], folder)];
          try {
            await withFerry(folder, async (asking) => {
              for (const worker of workers) await isUp(worker);
              const [id = ''] = await enqueueAll(asking, [source]);
              const disk = () => simulator.items()[0]?.files[1];
              await until('bytes', () => (disk()?.received ?? 0) > 1_000_000);
              master.child.kill(signal);
              if (signal === 'SIGSTOP') sentinels[0]?.child.kill(signal);
              await until('the new master', async () =>
                (await replication()).includes('role:master'),
              );
              const electedAt = performance.now();
              // Commands find it, too, whichever sentinel is named first.
              expect(await run(['status'], folder)).toMatchObject({ code: 0 });
              expect(await untilOver(asking, id)).toMatchObject({
                state: 'completed',
                bytesResent: 0,
              });
              expect(performance.now() - electedAt).toBeLessThan(30_000);
              expect(simulator.items()).toHaveLength(1);
              const ranges = disk()?.ranges ?? [];
              expect(ranges.reduce((sum, { arrived, stored }) => sum + arrived - stored, 0)).toBe(
                0,
              );
              // What is enqueued afterwards arrives as well.
              const [next = ''] = await enqueueAll(asking, [source], { name: 'next' });
              expect(await untilOver(asking, next)).toMatchObject({ state: 'completed' });
            });
          } finally {
            for (const worker of workers) worker.kill('SIGKILL');
            for (const worker of workers) await worker.ended;
            await simulator.close();
          }
        }),
      ),
  );
});

/** One address, behind which now this server stands and now that one. */
async function withAddress<T>(use: (address: Address) => Promise<T>): Promise<T> {
  const address = { port: 0, to: 0 };
  const sockets = new Set<Socket>();
  const forwarder = createServer((from) => {
    const onward = connect(address.to, '127.0.0.1');
    for (const socket of [from, onward]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        from.destroy();
        onward.destroy();
        sockets.delete(socket);
      });
    }
    from.pipe(onward).pipe(from);
  });
  await new Promise<void>((resolve) => forwarder.listen(0, '127.0.0.1', resolve));
  address.port = (forwarder.address() as AddressInfo).port;
  try {
    return await use(address);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => forwarder.close(resolve));
  }
}

interface Address {
  readonly port: number;
  to: number;
}

test('a Redis that becomes a replica behind its address: the new master is found there', () =>
  withFolder((folder) =>
    withServers((server) =>
      withAddress(async (address) => {
        const master = await server(join(folder, 'a'), ...DURABLE);
        const follow = ['--replicaof', '127.0.0.1', String(master.port)];
        const replica = await server(join(folder, 'b'), ...follow, ...DURABLE);
        address.to = master.port;
        const simulator = await startSimulator({ rateBytesPerSecond: 1_000_000 });
        const redis = `redis://127.0.0.1:${address.port}`;
        await configure(folder, { url: simulator.url, redis, lease: '20s' });
        const source = await writeOva(join(folder, 'box.ova'), packageOf([5_000_000]));
        const worker = start(['worker'], folder);
        try {
          await withFerry(folder, async (asking) => {
            await isUp(worker);
            const [id = ''] = await enqueueAll(asking, [source]);
            await until('bytes', () => (simulator.items()[0]?.files[1]?.received ?? 0) > 500_000);
            await until('the same data', async () =>
              String(await ask(replica.port, 'INFO', 'replication')).includes(
                'master_link_status:up',
              ),
            );
            address.to = replica.port; // connections that are open stay where they are
            await ask(replica.port, 'REPLICAOF', 'NO', 'ONE');
            await ask(master.port, 'REPLICAOF', '127.0.0.1', String(replica.port));
            expect(await untilOver(asking, id)).toMatchObject({
              state: 'completed',
              bytesResent: 0,
            });
            const old = ['--redis', `redis://127.0.0.1:${master.port}`];
            const { code, stdout } = await run(['doctor', ...old], folder);
            expect({ code, stdout }).toMatchObject({
              code: 3,
              stdout: expect.stringMatching(/takes no writes: READONLY/),
            });
          });
        } finally {
          worker.kill('SIGKILL');
          await worker.ended;
          await simulator.close();
        }
      }),
    ),
  ));

describe('a cluster', () => {
  test('takes everything: batches, limits, lines, cancelling, retrying', () =>
    withFolder((folder) =>
      withServers(async (server) => {
        const ports: number[] = [];
        for (const name of ['n1', 'n2', 'n3']) {
          const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'];
          const node = await server(join(folder, name), '--appendonly', 'yes', ...cluster);
          ports.push(node.port);
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
          await withFerry(folder, async (asking) => {
            await untilAllOver(
              asking,
              jobs.map(({ id }) => id),
            );
            const summary = await run(['status', '--batch', 'all'], folder);
            expect(summary.stdout).toContain('3 of 4 arrived, 1 failed');
            const failed = jobs[3]?.id ?? '';
            await json(['retry', failed], folder);
            await untilJob(
              ...([asking, failed, 'the end of the retried one'] as const),
              ({ state, attempts }) => state === 'failed' && attempts === 2,
            );
            expect(simulator.items()).toHaveLength(3);
          });
        } finally {
          worker.kill('SIGKILL');
          await worker.ended;
          await simulator.close();
        }
      }),
    ));
});
