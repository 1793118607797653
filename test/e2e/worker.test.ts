import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { configure, json, run, start, until } from '../helpers/cli.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import { isoOf, packageOf, writeOva } from '../helpers/packages.ts';
import {
  doubled,
  enqueued,
  isUp,
  jobsNow,
  type Place,
  type PlaceOptions,
  received,
  untilOver,
  withPlace as withAnyPlace,
} from '../helpers/place.ts';

/** Of what is looked at by the clock: less than one lease more is what a busy machine may take. */
const LEASE_MS = 6_000;
const SLACK_MS = 5_000;
const SIZE = 12_000_000;

/** With a line that is slow enough to interfere. */
const withPlace = <T>(options: PlaceOptions, use: (place: Place) => Promise<T>): Promise<T> =>
  withAnyPlace({ rateBytesPerSecond: 4_000_000, size: SIZE, ...options }, use);

/** So slow that it is still under way when a second worker has started, also on a busy machine. */
const SLOW = { rateBytesPerSecond: 1_000_000, size: 24_000_000 };

const half = (place: Place) => until('half of the file', () => received(place) > SIZE / 2);

describe('a worker that is killed', () => {
  test('is followed by another within 1.5 leases, from the byte that the server has', () =>
    withPlace({ ...SLOW, importTimeMs: 200, config: { lease: '6s' } }, async (place) => {
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 100_000);
      const second = place.worker();
      await isUp(second);
      first.kill('SIGKILL');
      await first.ended;
      const killedAt = Date.now();
      const had = received(place);
      await until('more bytes', () => received(place) > had);
      expect(Date.now() - killedAt).toBeLessThan(LEASE_MS * 1.5 + SLACK_MS);
      const job = await untilOver(place, id);
      expect(job).toMatchObject({ state: 'completed', stage: 'done', attempts: 1, error: null });
      expectWhole(place);
      expect(doubled(place)).toBe(0);
    }));

  test('again and again, at any moment, still leaves one whole item', () =>
    withPlace({ rateBytesPerSecond: 3_000_000 }, async (place) => {
      const id = await enqueued(place);
      const has = (bytes: number) => () => received(place) >= bytes;
      const moments: [string, () => boolean][] = [
        ['up', () => true],
        ['an item', () => place.simulator.items().length > 0],
        ['the first bytes', has(1)],
        ['a quarter', has(SIZE / 4)],
        ['a half', has(SIZE / 2)],
      ];
      for (const [what, isThere] of moments) {
        const worker = place.worker();
        await isUp(worker);
        await until(what, isThere);
        worker.kill('SIGKILL');
        await worker.ended;
      }
      place.worker();
      const job = await untilOver(place, id);
      expect(job).toMatchObject({ state: 'completed' });
      expectWhole(place);
      expect(doubled(place)).toBe(0);
    }));
});

describe('a worker that is stopped', () => {
  test('hands its job back within seconds, with no attempt spent and no byte sent twice', () =>
    withPlace({}, async (place) => {
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place);
      await half(place);
      const stoppedAt = Date.now();
      first.kill('SIGTERM');
      const { code } = await first.ended;
      expect(code).toBe(0);
      expect(Date.now() - stoppedAt).toBeLessThan(10_000);
      const [waiting] = await jobsNow(place, [id]);
      expect(waiting).toMatchObject({ state: 'waiting', attempts: 0, error: null });
      place.worker();
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed', attempts: 1 });
      expectWhole(place);
      expect(doubled(place)).toBe(0);
    }));
});

describe('a worker that is frozen', () => {
  test('writes nothing after it thaws, and its successor ends the upload', () =>
    withPlace({ rateBytesPerSecond: 2_000_000 }, async (place) => {
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 1_000_000);
      first.kill('SIGSTOP');
      const second = place.worker();
      await until(
        'the successor',
        () => second.output.stderr.includes('stalled') || received(place) > 0,
      );
      const puts = () => place.simulator.requests.filter(({ method }) => method === 'PUT').length;
      const before = puts();
      await until('the successor sends', () => puts() > before);
      first.kill('SIGCONT');
      await until('the first one notices', () =>
        /lease|another worker has the job/.test(first.output.stderr),
      );
      const job = await untilOver(place, id);
      expect(job.state).toBe('completed');
      expectWhole(place);
      // After the take-over every byte came in one unbroken sequence of ranges.
      const ranges = place.simulator.items()[0]?.files[1]?.ranges ?? [];
      const kept = ranges.reduce((sum, { stored }) => sum + stored, 0);
      expect(kept).toBe(SIZE);
    }));
});

describe('Redis', () => {
  test('that is killed and comes back interrupts no transfer', () =>
    withPlace({ rateBytesPerSecond: 3_000_000 }, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 1_000_000);
      await place.redis.kill();
      await new Promise((resolve) => setTimeout(resolve, 800));
      await place.redis.start();
      const job = await untilOver(place, id);
      expect(job).toMatchObject({ state: 'completed', bytesResent: 0 });
      expectWhole(place);
      expect(place.simulator.items()[0]?.files[1]?.ranges.length).toBeLessThanOrEqual(2);
    }));

  test('that hangs for longer than the lease stops the worker, and afterwards all goes on', () =>
    withPlace({ rateBytesPerSecond: 1_500_000 }, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 1_000_000);
      place.redis.freeze();
      await until('the worker to stop', () =>
        worker.output.stderr.includes('lease could not be renewed'),
      );
      // What lay in sockets still arrives; but nothing new is begun.
      const requests = place.simulator.requests.length;
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect(place.simulator.requests.length).toBe(requests);
      place.redis.thaw();
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expectWhole(place);
    }));
});

test('a command that watches survives an outage of Redis', () =>
  withPlace({ rateBytesPerSecond: 3_000_000 }, async (place) => {
    const worker = place.worker();
    await isUp(worker);
    const watching = start(['upload', place.source, '--to', 'lab', '--json'], place.folder);
    await until('some bytes', () => received(place) > 1_000_000);
    await place.redis.kill();
    await new Promise((resolve) => setTimeout(resolve, 800));
    await place.redis.start();
    const { code, stdout } = await watching.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([{ state: 'completed' }]);
    expectWhole(place);
  }));

describe('an operator', () => {
  test('cancels a running upload of another process within ten seconds, and nothing is left', () =>
    withPlace({ rateBytesPerSecond: 1_000_000 }, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 100_000);
      const startedAt = Date.now();
      const [job] = await json(['cancel', id], place.folder);
      expect(Date.now() - startedAt).toBeLessThan(10_000);
      expect(job).toMatchObject({ state: 'failed', error: { code: 'CANCELLED', permanent: true } });
      expect(place.simulator.items()).toEqual([]);
      // Its name is free again, and so is its place.
      const [again] = await json(['enqueue', place.source, '--to', 'lab'], place.folder);
      expect(again).toMatchObject({ existing: false });
      expect(again?.id).not.toBe(id);
    }));

  test('retries what failed once its cause is mended', () =>
    withPlace({ rateBytesPerSecond: 50_000_000 }, async (place) => {
      await writeFile(join(place.folder, 'box.iso'), isoOf());
      place.worker();
      const taken = await json(
        ['enqueue', join(place.folder, 'box.iso'), '--to', 'lab'],
        place.folder,
      );
      await untilOver(place, taken[0]?.id ?? '');
      const id = await enqueued(place);
      const failed = await untilOver(place, id);
      expect(failed).toMatchObject({
        state: 'failed',
        error: { code: 'NAME_TAKEN', permanent: true },
      });
      for (const item of [...place.simulator.world.items()]) place.simulator.world.remove(item);
      const [retried] = await (await place.ferry()).retry([id]);
      expect(retried).toMatchObject({ id, error: null });
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed', attempts: 2 });
      expectWhole(place);
    }));
});

test('two workers share the uploads of a target, and never exceed its limit', () =>
  withPlace({ rateBytesPerSecond: 8_000_000 }, async (place) => {
    const more = '    concurrency: 2\n';
    await configure(place.folder, { url: place.simulator.url, redis: place.redis.url, more });
    const sources = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        writeOva(join(place.folder, `box${i}.ova`), packageOf([400_000], `box${i}`)),
      ),
    );
    const workers = [place.worker(), place.worker()];
    for (const worker of workers) await isUp(worker);
    let most = 0;
    const looking = setInterval(() => {
      const open = place.simulator.items().filter(({ status }) => status === 0).length;
      most = Math.max(most, open);
    }, 5);
    const { code } = await run(['upload', ...sources, '--to', 'lab'], place.folder);
    clearInterval(looking);
    expect(code).toBe(0);
    expect(place.simulator.items().filter(({ status }) => status === 8)).toHaveLength(6);
    expect(most).toBeLessThanOrEqual(2);
  }));

/** What a list of processes shows, where the system has one that can be read. */
function ownCommandLines(): string[] {
  if (!existsSync('/proc/self/cmdline')) return [];
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.flatMap((id) => {
    try {
      return [readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' ')];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

test('no secret is in Redis, in logs, or in what commands print', () =>
  withPlace({ rateBytesPerSecond: 50_000_000 }, async (place) => {
    const worker = place.worker();
    await isUp(worker);
    const id = await enqueued(place);
    await untilOver(place, id);
    const printed = await run(['status', '--json'], place.folder);
    const keys = await place.redis.client.keys('*');
    let stored = '';
    for (const key of keys) stored += (await place.redis.client.dump(key)) ?? '';
    const all = stored + worker.output.stderr + worker.output.stdout + printed.stdout;
    expect(all).not.toContain('simulated'); // the password
    expect(all).not.toContain('/transfer/');
    expect(all).not.toContain('Bearer');
    const commandLines = [worker.child.spawnargs.join(' '), ...ownCommandLines()].join('\n');
    expect(commandLines).not.toMatch(/main\.js.*simulated|Bearer/);
  }));
