import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createFerry, type Ferry, type JobDetails } from '../../src/index.ts';
import { json, run } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import {
  enqueueAll,
  enqueued,
  isUp,
  jobsNow,
  type Place,
  untilAllOver,
  untilJob,
  untilOver,
  withPlace,
} from '../helpers/place.ts';

async function withFerry<T>({ folder }: Place, use: (ferry: Ferry) => Promise<T>): Promise<T> {
  const ferry = await createFerry({ config: join(folder, 'ovaferry.yaml') });
  try {
    return await use(ferry);
  } finally {
    await ferry.close();
  }
}

describe('changes of jobs', () => {
  test('come one by one until the end, and go on when Redis is back', () =>
    withPlace({ size: 3_000_000, rateBytesPerSecond: 1_000_000 }, (place) =>
      withFerry(place, async (ferry) => {
        await isUp(place.worker());
        const id = await enqueued(place);
        const seen: JobDetails[] = [];
        for await (const job of ferry.changes({ ids: [id] })) {
          seen.push(job);
          if (seen.length !== 2) continue;
          await place.redis.kill();
          await place.redis.start();
        }
        expect(seen.length).toBeGreaterThan(2);
        expect(seen.at(-1)).toMatchObject({ id, state: 'completed', stage: 'done' });
        const sent = seen.map(({ bytesSent }) => bytesSent);
        expect(sent).toEqual([...sent].sort((a, b) => a - b));
        const texts = seen.map((job) => JSON.stringify(job));
        expect(new Set(texts).size).toBe(texts.length);
      }),
    ));

  test('of what does not exist are an error', () =>
    withPlace({}, (place) =>
      withFerry(place, async (ferry) => {
        await expect(ferry.changes({ ids: ['lab-0'] }).next()).rejects.toMatchObject({
          code: 'JOB_NOT_FOUND',
        });
        await expect(ferry.changes({ batch: 'none' }).next()).rejects.toMatchObject({
          code: 'BATCH_NOT_FOUND',
        });
        expect(await ferry.changes({ ids: [] }).next()).toMatchObject({ done: true });
      }),
    ));

  test('of whatever runs are told until somebody says enough', () =>
    withPlace({ rateBytesPerSecond: 400_000 }, (place) =>
      withFerry(place, async (ferry) => {
        const enough = new AbortController();
        const changes = ferry.changes({ signal: enough.signal });
        const first = changes.next();
        await isUp(place.worker());
        const id = await enqueued(place);
        expect(await first).toMatchObject({ value: { id, state: 'active' } });
        for await (const { state } of changes) if (state === 'completed') enough.abort();
      }),
    ));

  test('are events, too; a watch that is closed ends', () =>
    withPlace({}, (place) =>
      withFerry(place, async (ferry) => {
        await isUp(place.worker());
        await writeFile(join(place.folder, 'bad.ova'), 'junk');
        const sources = [place.source, join(place.folder, 'bad.ova')];
        const jobs = await ferry.enqueue(sources.map((source) => ({ source, to: 'lab' })));
        const heard: string[] = [];
        const watch = ferry.watch({ ids: jobs.map(({ id }) => id) });
        watch.on('completed', ({ name }) => heard.push(`completed ${name}`));
        watch.on('failed', ({ name, error }) => heard.push(`failed ${name} ${error?.code}`));
        await new Promise<void>((resolve) => watch.once('end', resolve));
        expect(heard.sort()).toEqual(['completed box', 'failed bad PACKAGE_CORRUPT']);
        const failing = ferry.watch({ ids: ['lab-0'] });
        const failure = new Promise((resolve) => failing.once('error', resolve));
        expect(await failure).toMatchObject({ code: 'JOB_NOT_FOUND' });
        const endless = ferry.watch();
        const ended = new Promise<void>((resolve) => endless.once('end', resolve));
        endless.close();
        await ended;
      }),
    ));
});

test('whoever follows jobs has done when the ferry is closed', () =>
  withPlace({}, async (place) => {
    const id = await enqueued(place); // nobody works on it
    const ferry = await createFerry({ config: join(place.folder, 'ovaferry.yaml') });
    const changes = ferry.changes({ ids: [id] });
    expect(await changes.next()).toMatchObject({ value: { state: 'waiting' } });
    const watch = ferry.watch({ ids: [id] });
    const ended = new Promise<void>((resolve) => watch.once('end', resolve));
    await ferry.close();
    expect(await changes.next()).toMatchObject({ done: true });
    await ended;
  }));

describe('orders of a program', () => {
  test.each([
    [[{ source: 'a.iso' }], {}, /order 1\.to/],
    [[{ source: 5, to: 'lab' }], {}, /order 1\.source/],
    [[{ source: 'a', to: 'lab', ifExists: 'jump' }], {}, /order 1\.ifExists/],
    [
      [{ source: 'a', to: 'lab', ifExist: 'skip' }],
      {},
      /unknown key ifExist \(did you mean ifExists\?\)/,
    ],
    [[{ source: 'a', to: 'lab', startAt: new Date('x') }], {}, /order 1\.startAt/],
    [[{ source: 'a', to: 'lab' }], { order: 'bogus' }, /order/],
    [null, {}, /array/],
  ])('that make no sense are refused: %j %j', (orders, options, said) =>
    withPlace({}, (place) =>
      withFerry(place, async (ferry) => {
        await expect(ferry.enqueue(orders as never, options as never)).rejects.toMatchObject({
          code: 'USAGE',
          message: expect.stringMatching(said),
        });
        expect(await ferry.list({ limit: 10 })).toEqual([]);
      }),
    ),
  );
});

describe('cancel --batch', () => {
  test('ends what is open of it, and leaves what has arrived', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const worker = place.worker();
      await isUp(worker);
      await untilOver(place, await enqueued(place, { batch: 'b' }));
      const other = await writeOva(join(folder, 'other.ova'), packageOf([10], 'other'));
      await enqueueAll(place, [other], { batch: 'b', startAt: new Date('2099-01-01') });
      const [cancelled, ...more] = await json(['cancel', '--batch', 'b'], folder);
      expect(more).toEqual([]);
      expect(cancelled).toMatchObject({ name: 'other', error: { code: 'CANCELLED' } });
      expect(place.simulator.items().map(({ name }) => name)).toEqual(['box']);
      for (const args of [['watch'], ['report'], ['cancel'], ['retry'], ['status']]) {
        const { code, stderr } = await run([...args, '--batch', 'typo'], folder);
        expect({ args, code }).toEqual({ args, code: 2 });
        expect(stderr).toContain('there is no batch typo');
      }
      await enqueueAll(place, [other], { batch: 'weekend' });
      const { stderr } = await run(['status', '--batch', 'wekend'], folder);
      expect(stderr).toContain('there is no batch wekend (did you mean weekend?)');
    }));
});

describe('retry --failed --batch', () => {
  test('puts back what failed of that batch, and neither the others nor what was cancelled', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const lacking = async (name: string) => {
        const [descriptor] = packageOf([1_000], name);
        await writeFile(join(folder, `${name}.ovf`), descriptor?.bytes ?? '');
        return join(folder, `${name}.ovf`);
      };
      const other = await writeOva(join(folder, 'held.ova'), packageOf([10], 'held'));
      const [held = ''] = await enqueueAll(place, [other], { batch: 'night' });
      await json(['cancel', held], folder);
      const [a = ''] = await enqueueAll(place, [await lacking('a')], { batch: 'night' });
      const [b = ''] = await enqueueAll(place, [await lacking('b')], { batch: 'day' });
      await isUp(place.worker());
      const ids = [a, b];
      await untilAllOver(place, ids);
      const again = await json(['retry', '--failed', '--batch', 'night'], folder);
      expect(again.map(({ id }) => id)).toEqual([ids[0]]);
      await untilJob(
        ...([place, a, 'a second run'] as const),
        ({ state, attempts }) => state === 'failed' && attempts > 1,
      );
      const [untouched] = await jobsNow(place, [b]);
      expect(untouched).toMatchObject({ state: 'failed', attempts: 1 });
    }));
});
