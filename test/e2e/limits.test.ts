import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { startSimulator } from '../../src/simulator/server.ts';
import { configure, json, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import {
  enqueueAll,
  isUp,
  type Place,
  untilAllOver,
  untilJob,
  withPlace,
} from '../helpers/place.ts';

const KB = 1_000;
const MB = 1_000_000;

async function packages(place: Place, prefix: string, sizes: readonly number[]): Promise<string[]> {
  const sources: string[] = [];
  for (const [i, size] of sizes.entries()) {
    const name = `${prefix}${i}`;
    sources.push(await writeOva(join(place.folder, `${name}.ova`), packageOf([size], name)));
  }
  return sources;
}

/** Names of items in the order in which they were begun. */
const begun = ({ simulator }: Place): string[] => simulator.items().map(({ name }) => name);

/** Bytes that have been begun and are not ready. */
const inFlight = ({ simulator }: Place): number =>
  simulator
    .items()
    .filter(({ status }) => status === 0)
    .reduce((sum, { files }) => sum + files.reduce((all, { size }) => all + (size ?? 0), 0), 0);

const clock = (hours: number): string =>
  `${String((new Date().getUTCHours() + 24 + hours) % 24).padStart(2, '0')}:00`;
const closedFrom = (): string => clock(2);
const closedTo = (): string => clock(5);

describe('bytes in flight', () => {
  test('are bounded over all workers until imports end; what is larger than the limit goes alone', () =>
    withPlace(
      {
        importTimeMs: 700,
        config: { more: '    concurrency: 8\n    inFlight: 250kB', tail: '  concurrency: 4' },
      },
      async (place) => {
        const sizes = [100, 100, 100, 100, 300, 100, 100].map((size) => size * KB);
        const ids = await enqueueAll(place, await packages(place, 'p', sizes));
        for (const worker of [place.worker(), place.worker()]) await isUp(worker);
        let most = 0;
        let mostWithTheLargest = 0;
        const watching = until('the end', () => {
          const now = inFlight(place);
          const isLargest = place.simulator
            .items()
            .some(({ name, status }) => name === 'p4' && status === 0);
          if (isLargest) mostWithTheLargest = Math.max(mostWithTheLargest, now);
          else most = Math.max(most, now);
          return place.simulator.items().filter(({ status }) => status === 8).length === 7;
        });
        await watching;
        expect(most).toBeLessThanOrEqual(250 * KB);
        expect(most).toBeGreaterThan(150 * KB); // two at once did fit
        expect(mostWithTheLargest).toBeLessThan(320 * KB);
        const over = await untilAllOver(place, ids);
        expect(over.every(({ state }) => state === 'completed')).toBe(true);
        expect(await place.redis.client.hlen('{ovaferry}:in-flight:target lab')).toBe(0);
      },
    ));
});

describe('batches', () => {
  test('take turns: three uploads do not wait for thirty', () =>
    withPlace(
      { config: { more: '    concurrency: 1', tail: '  concurrency: 1' } },
      async (place) => {
        const many = await packages(place, 'many', Array(30).fill(5 * KB));
        const few = await packages(place, 'few', Array(3).fill(5 * KB));
        const urgent = await packages(place, 'urgent', [5 * KB]);
        const ids = [
          ...(await enqueueAll(place, many, { batch: 'many' })),
          ...(await enqueueAll(place, few, { batch: 'few' })),
          ...(await enqueueAll(place, urgent, { batch: 'few', priority: 1 })),
        ];
        await isUp(place.worker());
        await untilAllOver(place, ids);
        const order = begun(place);
        expect(order[0]).toBe('urgent0');
        const places = ['few0', 'few1', 'few2'].map((name) => order.indexOf(name));
        // Every second one, as far as there are any.
        expect(Math.max(...places)).toBeLessThanOrEqual(7);
        const own = order.filter((name) => name.startsWith('many'));
        expect(own).toEqual(many.map((_path, i) => `many${i}`));
      },
    ));

  test('begin with the smallest or the largest, where that is asked for', () =>
    withPlace(
      { config: { more: '    concurrency: 1', tail: '  concurrency: 1' } },
      async (place) => {
        const sources = await packages(place, 'p', [40 * KB, 10 * KB, 80 * KB, 20 * KB]);
        const args = ['enqueue', ...sources, '--to', 'lab', '--order', 'largest'];
        const ids = (await json(args, place.folder)).map(({ id }) => id);
        expect(ids).toHaveLength(4);
        await isUp(place.worker());
        await untilAllOver(place, ids);
        expect(begun(place)).toEqual(['p2', 'p0', 'p3', 'p1']);
      },
    ));
});

describe('a line', () => {
  test('is shared by workers, and its limit changes without a restart', () =>
    withPlace(
      { config: { tail: '  line: dc1\n  concurrency: 1\nlines: {dc1: 400kB/s}' } },
      async (place) => {
        const ids = await enqueueAll(place, await packages(place, 'p', Array(4).fill(3 * MB)));
        const workers = [place.worker(), place.worker()];
        for (const worker of workers) await isUp(worker);
        const received = (): number =>
          place.simulator.items().reduce((sum, { files }) => sum + (files[1]?.received ?? 0), 0);
        await until('two uploads at once', () => begun(place).length >= 2);
        await until('bytes', () => received() > 100 * KB);
        const before = { at: performance.now(), bytes: received() };
        await until('more bytes', () => received() > 900 * KB);
        const rate = ((received() - before.bytes) / (performance.now() - before.at)) * 1_000;
        expect(rate).toBeGreaterThan(50 * KB);
        expect(rate).toBeLessThan(550 * KB);

        const file = join(place.folder, 'ovaferry.yaml');
        const config = await readFile(file, 'utf8');
        await writeFile(file, config.replace('dc1: 400kB/s', 'dc1: bogus'));
        await until('the refusal', () =>
          workers.every(({ output }) => /limits stay as they were.*bogus/.test(output.stderr)),
        );
        await writeFile(file, config.replace('dc1: 400kB/s', 'dc1: 50MB/s'));
        await until('the news', () =>
          workers.every(({ output }) => output.stderr.includes('limits are as the configuration')),
        );
        const changed = performance.now();
        await untilAllOver(place, ids);
        expect(performance.now() - changed).toBeLessThan(15_000); // in place of some 25 s
      },
    ));
});

describe('a window', () => {
  test('that is closed lets nothing begin; an upload that can not end in an open one waits for the next', () =>
    withPlace({}, async (place) => {
      const { folder, simulator, redis } = place;
      const withWindow = (window: string) =>
        configure(folder, {
          url: simulator.url,
          redis: redis.url,
          more: `    windows: [${window}]\n    atWindowEnd: drop`,
          tail: '  timezone: UTC',
        });
      await withWindow(`{from: "${clock(2)}", to: "${clock(5)}"}`);
      const ids = await enqueueAll(place, await packages(place, 'p', [5 * KB, 5 * KB]));
      const worker = place.worker();
      await isUp(worker);
      await until('a few looks', () => worker.output.stderr.length > 0);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      expect(simulator.items()).toEqual([]);
      await withWindow(`{from: "${clock(-1)}", to: "${clock(5)}"}`);
      await untilAllOver(place, ids);

      // At the rate that was measured a large one would take days.
      const slice = Math.floor(Date.now() / 10_000);
      await redis.client.hset('{ovaferry}:rate-target:lab', {
        [slice - 1]: 10,
        [`${slice - 1}ms`]: 10_000,
      });
      const [large] = await enqueueAll(place, await packages(place, 'large', [3 * MB]));
      const waits = await untilJob(
        ...([place, large ?? '', 'that it waits'] as const),
        ({ state, error }) => state === 'delayed' && error !== null,
      );
      // It is told why: no window is long enough.
      expect(waits).toMatchObject({ error: { code: 'WINDOW_TOO_SHORT' }, attempts: 0 });
      expect(begun(place)).not.toContain('large0');
    }));
});

describe('what begins later', () => {
  test('a cancelled upload ends at once, although its window is closed and there is no room', () =>
    withPlace(
      {
        config: {
          more: `    windows: [{from: "${closedFrom()}", to: "${closedTo()}"}]\n    atWindowEnd: drop\n    inFlight: 1kB`,
          tail: '  timezone: UTC',
        },
      },
      async (place) => {
        const ids = await enqueueAll(place, await packages(place, 'p', [5 * KB, 5 * KB]));
        await isUp(place.worker());
        const [cancelled] = await json(['cancel', ids[0] ?? ''], place.folder);
        expect(cancelled).toMatchObject({ state: 'failed', error: { code: 'CANCELLED' } });
        expect(place.simulator.items()).toEqual([]);
      },
    ));
});

describe('one process', () => {
  test('with one place serves two targets in turns, and leaves the rest to others', async () => {
    const other = await startSimulator({});
    try {
      await withPlace({ config: { tail: '  concurrency: 1' } }, async (place) => {
        const file = join(place.folder, 'ovaferry.yaml');
        const config = await readFile(file, 'utf8');
        const second = config
          .slice(config.indexOf('  lab:'), config.indexOf('worker:'))
          .replace('lab:', 'other:')
          .replace(place.simulator.url, other.url);
        await writeFile(file, config.replace('worker:', `${second}worker:`));
        const sources = await packages(place, 'p', Array(6).fill(5 * KB));
        const jobs = await json(
          ['enqueue', ...sources, '--to', 'lab', '--to', 'other', '--batch', 'both'],
          place.folder,
        );
        expect(jobs).toHaveLength(12);
        await isUp(place.worker());
        await until('six', () => place.simulator.items().length + other.items().length >= 6);
        expect(Math.abs(place.simulator.items().length - other.items().length)).toBeLessThan(3);
        await untilAllOver(
          place,
          jobs.map(({ id }) => id),
        );
      });
    } finally {
      await other.close();
    }
  });
});
