import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { configure, type Running, start, until } from '../helpers/cli.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import {
  doubled,
  enqueueAll,
  enqueued,
  enqueueMany,
  isUp,
  jobsNow,
  type Place,
  received,
  untilAllOver,
  untilJobs,
  untilOver,
  withPlace,
} from '../helpers/place.ts';
import { freePort } from '../helpers/ports.ts';

const LEASE_MS = 3_000;
/** Of what is looked at by the clock: less than one lease more is what a busy machine may take. */
const LONGER_LEASE_MS = 6_000;
const SLACK_MS = 5_000;

/** By run: which wrote to the first item's disk, in the order of their requests. */
function writers({ simulator }: Place): string[] {
  const ranges = simulator.items()[0]?.files[1]?.ranges ?? [];
  return ranges.map(({ request }) => request);
}

/** A run that writes again after another has written was not alone. */
function expectOneWriterAtATime(place: Place): void {
  const runs = writers(place);
  const returned = runs.filter((run, i) => runs[i - 1] !== run && runs.indexOf(run) < i);
  expect(returned).toEqual([]);
  expect(new Set(runs).size).toBeGreaterThan(1);
}

/** A way to Redis that can be cut, and stays silent then, as a firewall does. */
async function proxyTo(path: string): Promise<{ port: number; cut(): void; close(): void }> {
  const sockets = new Set<Socket>();
  let open = true;
  const server = createServer((inside) => {
    const outside = connect(path);
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => open && to.write(data));
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return {
    port: address.port,
    cut() {
      open = false;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('one writer', () => {
  test('also when a worker is cut off from Redis: it stops before another begins', () =>
    withPlace({ size: 8_000_000, rateBytesPerSecond: 1_000_000 }, async (place) => {
      const { folder, simulator, redis } = place;
      const proxy = await proxyTo(redis.socket);
      try {
        const behind = { url: simulator.url, redis: `redis://127.0.0.1:${proxy.port}` };
        const tail = '  chunkSize: 300kB\n';
        await configure(folder, { ...behind, lease: '3s', tail });
        const first = place.worker();
        await isUp(first);
        await configure(folder, { url: simulator.url, redis: redis.url, lease: '3s', tail });
        const id = await enqueued(place);
        await until('some bytes', () => received(place) > 500_000);
        proxy.cut();
        const second = place.worker();
        await isUp(second);
        expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
        expectWhole(place);
        expectOneWriterAtATime(place);
        expect(first.output.stderr).toContain('lease could not be renewed');
      } finally {
        proxy.close();
      }
    }));

  test('also when a worker that was frozen gets its own job again', () =>
    withPlace(
      { size: 5_000_000, rateBytesPerSecond: 700_000, config: { tail: '  chunkSize: 300kB\n' } },
      async (place) => {
        const worker = place.worker();
        await isUp(worker);
        const id = await enqueued(place);
        await until('some bytes', () => received(place) > 300_000);
        worker.kill('SIGSTOP');
        await sleep(LEASE_MS * 1.5);
        worker.kill('SIGCONT');
        expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
        expectWhole(place);
        expectOneWriterAtATime(place);
      },
    ));
});

test('a deploy of new workers under load: no byte twice, no file begun twice', () =>
  withPlace(
    { rateBytesPerSecond: 4_000_000, config: { more: '    concurrency: 6\n' } },
    async (place) => {
      const old = [place.worker(), place.worker()];
      for (const worker of old) await isUp(worker);
      const ids = await enqueueMany(place, 10, 1_500_000);
      await until('some uploads under way', () => place.simulator.items().length >= 6);
      const fresh = [place.worker(), place.worker()];
      for (const worker of fresh) await isUp(worker);
      for (const worker of old) worker.kill('SIGTERM');
      const stoppedAt = Date.now();
      for (const worker of old) expect((await worker.ended).code).toBe(0);
      expect(Date.now() - stoppedAt).toBeLessThan(10_000);
      const over = await untilAllOver(place, ids);
      const ends = over.map(({ state, attempts, error }) => ({ state, attempts, error }));
      expect(ends).toEqual(ends.map(() => ({ state: 'completed', attempts: 1, error: null })));
      expect(doubled(place)).toBe(0);
      const begun = place.simulator
        .items()
        .map(({ files }) => files[1]?.ranges.filter(({ start }) => start === 0).length);
      expect(begun).toEqual(Array.from({ length: 10 }, () => 1));
    },
  ));

test('a worker that is told twice to stop leaves at once', () =>
  withPlace({ size: 8_000_000, rateBytesPerSecond: 500_000 }, async (place) => {
    const worker = place.worker();
    await isUp(worker);
    await enqueued(place);
    await until('some bytes', () => received(place) > 10_000);
    place.redis.freeze(); // so that it can't hand over
    worker.kill('SIGTERM');
    await until('the first signal', () => worker.output.stderr.includes('stopping'));
    const again = Date.now();
    worker.kill('SIGTERM');
    expect((await worker.ended).code).toBe(130);
    expect(Date.now() - again).toBeLessThan(3_000); // handing over would take as long as Redis is away
    place.redis.thaw();
  }));

test('what has begun is taken over before 400 that wait, also by workers that are full', () =>
  withPlace(
    {
      size: 12_000_000,
      rateBytesPerSecond: 1_000_000,
      config: { more: '    concurrency: 3\n', tail: '  concurrency: 1\n', lease: '6s' },
    },
    async (place) => {
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 300_000);
      await enqueueMany(place, 400);
      const others = [place.worker(), place.worker()];
      for (const worker of others) await isUp(worker);
      await until('busy workers', () => place.simulator.items().length >= 3);
      first.kill('SIGKILL');
      const killedAt = Date.now();
      const had = received(place);
      await until('the take-over', () => received(place) > had + 100_000);
      expect(Date.now() - killedAt).toBeLessThan(LONGER_LEASE_MS * 1.5 + SLACK_MS);
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expect(place.simulator.items().length).toBeLessThan(300); // long before the rest
    },
  ));

test('a long import does not idle the line, and many of them hold back what has not begun', () =>
  withPlace(
    {
      importTimeMs: 6_000,
      rateBytesPerSecond: 4_000_000,
      config: { more: '    concurrency: 1\n    imports: 2\n' },
    },
    async (place) => {
      const { simulator } = place;
      place.worker();
      const ids = await enqueueMany(place, 5, 300_000);
      const stages = async () => (await jobsNow(place, ids)).map(({ stage }) => stage);
      let most = 0;
      const looking = setInterval(() => {
        const unfinished = simulator.items().filter(({ status }) => status === 0).length;
        most = Math.max(most, unfinished);
      }, 20);
      await until('three imports at once', async () => {
        const now = await stages();
        return now.filter((stage) => stage === 'importing').length === 3;
      });
      // One transfer and two imports are the limit: the others wait, with the line free.
      expect((await stages()).filter((stage) => stage === 'queued')).toHaveLength(2);
      const over = await untilAllOver(place, ids);
      clearInterval(looking);
      expect(over.every(({ state }) => state === 'completed')).toBe(true);
      expect(most).toBe(3);
    },
  ));

test('imports hold back neither what has begun nor what is cancelled, and count for all queues of a target', () =>
  withPlace(
    {
      importTimeMs: 8_000,
      rateBytesPerSecond: 4_000_000,
      config: { more: '    concurrency: 1\n    imports: 1\n' },
    },
    async (place) => {
      const { simulator } = place;
      const ferry = await place.ferry();
      let most = 0;
      const looking = setInterval(() => {
        const unfinished = simulator.items().filter(({ status }) => status === 0).length;
        most = Math.max(most, unfinished);
      }, 20);
      place.worker('--pool', 'dc1');
      const ids = [
        ...(await enqueueMany(place, 2, 200_000)),
        ...(await enqueueAll(place, [place.source], { pool: 'dc1', name: 'pooled' })),
      ];
      const importing = async () =>
        (await jobsNow(place, ids)).filter(({ stage }) => stage === 'importing').length;
      await until('two imports', async () => (await importing()) === 2);
      const [waiting] = (await jobsNow(place, ids)).filter(({ state }) => state === 'waiting');
      const cancelled = waiting?.id ?? '';
      const asked = performance.now();
      await ferry.requestCancel([cancelled]);
      expect(await untilOver(place, cancelled)).toMatchObject({ error: { code: 'CANCELLED' } });
      expect(performance.now() - asked).toBeLessThan(5_000);
      expect(await importing()).toBe(2);
      clearInterval(looking);
      await untilAllOver(place, ids);
      expect(most).toBe(2);
    },
  ));

/** A worker of the same Redis for which the target is at another port. */
async function workerElsewhere({ folder, redis }: Place, port: number): Promise<Running> {
  const elsewhere = join(folder, 'elsewhere');
  await mkdir(elsewhere);
  await configure(elsewhere, { url: `http://127.0.0.1:${port}`, redis: redis.url });
  return start(['worker', '--log-level', 'info'], elsewhere);
}

test('a worker that can not reach the target leaves its jobs to one that can', () =>
  withPlace({ rateBytesPerSecond: 8_000_000 }, async (place) => {
    const { simulator } = place;
    const port = await freePort(); // nobody listens there
    const cut = await workerElsewhere(place, port);
    try {
      await isUp(cut);
      const ids = await enqueueMany(place, 12, 200_000);
      await untilJobs(place, ids, 'why they wait', (jobs) =>
        jobs.some(({ state, error }) => state === 'waiting' && error?.code === 'NETWORK'),
      );
      await isUp(place.worker());
      const over = await untilAllOver(place, ids);
      expect(over.map(({ state }) => state)).toEqual(ids.map(() => 'completed'));
      expect(simulator.items()).toHaveLength(12);
      // The one that is cut off has taken what it has room for once, and no more.
      const runs = over.reduce((sum, { requestIds }) => sum + requestIds.length, 0);
      expect(runs).toBeLessThanOrEqual(12 + 4);
    } finally {
      cut.kill('SIGKILL');
      await cut.ended;
    }
  }));

test('a worker before a black hole takes nothing from one that can reach the target', () =>
  withPlace({ rateBytesPerSecond: 8_000_000 }, async (place) => {
    // It takes connections, and never says a word.
    const hole = createServer().listen(0, '127.0.0.1');
    await once(hole, 'listening');
    const { port } = hole.address() as AddressInfo;
    const cut = await workerElsewhere(place, port);
    try {
      await isUp(cut);
      await isUp(place.worker());
      const ids = await enqueueMany(place, 12, 200_000);
      const over = await untilAllOver(place, ids);
      expect(over.map(({ state }) => state)).toEqual(ids.map(() => 'completed'));
      expect(cut.output.stderr).not.toContain('begins');
    } finally {
      cut.kill('SIGKILL');
      await cut.ended;
      hole.close();
    }
  }));

test('Redis that is away for longer than the lease: nothing enqueued is lost, no worker is restarted', () =>
  withPlace({ size: 6_000_000, rateBytesPerSecond: 1_000_000 }, async (place) => {
    const worker = place.worker();
    await isUp(worker);
    const ids = [await enqueued(place), ...(await enqueueMany(place, 5))];
    await until('some bytes', () => received(place) > 500_000);
    await place.redis.kill();
    await sleep(LEASE_MS * 2.5);
    await place.redis.start();
    const over = await untilAllOver(place, ids);
    expect(over.every(({ state }) => state === 'completed')).toBe(true);
    expect(worker.child.exitCode).toBeNull();
    const box = place.simulator.items().filter(({ name }) => name === 'box');
    expect(box).toMatchObject([{ status: 8 }]);
  }));
