import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { start, startWithin } from '../helpers/cli.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import {
  enqueued,
  enqueueMany,
  isUp,
  jobsNow,
  received,
  untilAllOver,
  untilJobs,
  withPlace,
} from '../helpers/place.ts';

/** Enough for a worker to begin with, and too few for what it is asked to do. */
const DESCRIPTORS = 64;

/** Slow enough that every upload is still under way when the last one begins. */
const SLOW = 40_000;

test('a worker that runs out of file descriptors fails no job, and says what it lacks', () =>
  withPlace(
    {
      ...{ size: 200_000, rateBytesPerSecond: SLOW },
      config: { more: '    concurrency: 24\n', tail: '  concurrency: 24\n' },
    },
    async (place) => {
      const { folder, simulator } = place;
      const limited = startWithin(DESCRIPTORS, ['worker'], folder);
      try {
        await isUp(limited);
        const ids = await enqueueMany(place, 24);
        await untilJobs(place, ids, 'a job that can not be worked on', (jobs) =>
          jobs.some(({ error }) => error?.code === 'WORKER_OVERLOADED'),
        );
        const jobs = await jobsNow(place, ids);
        expect(jobs.filter(({ state }) => state === 'failed')).toEqual([]);
        const [waiting] = jobs.filter(({ error }) => error?.code === 'WORKER_OVERLOADED');
        expect(waiting?.error).toMatchObject({
          permanent: false,
          hint: expect.stringContaining('ulimit -n'),
        });
        limited.kill('SIGKILL');
        await limited.ended;
        const ferry = await place.ferry();
        await isUp(place.worker());
        await ferry.retry(
          (await jobsNow(place, ids)).flatMap((job) => (job.state === 'delayed' ? [job.id] : [])),
        );
        await untilAllOver(place, ids);
        expect(simulator.items().filter(({ status }) => status === 8)).toHaveLength(24);
      } finally {
        limited.kill('SIGKILL');
        await limited.ended;
      }
    },
  ));

/** Loaded before anything else: the third piece of a file is met by what cannot be. */
const UNFORESEEN = `
const original = globalThis.setInterval;
let pieces = 0;
globalThis.setInterval = (...args) => {
  if (/ transfer /m.test(new Error().stack.replaceAll('.', ' ')) && ++pieces === 4) {
    throw new TypeError('nobody foresaw this');
  }
  return original(...args);
};
`;

test('what nobody foresaw fails the job, and takes nothing off the server: retry goes on from there', () =>
  withPlace({ config: { tail: '  chunkSize: 256KiB\n' } }, async (place) => {
    const hook = join(place.folder, 'unforeseen.mjs');
    await writeFile(hook, UNFORESEEN);
    const broken = start(['worker'], place.folder, { NODE_OPTIONS: `--import ${hook}` });
    try {
      await isUp(broken);
      const id = await enqueued(place);
      await untilAllOver(place, [id]);
      const [failed] = await jobsNow(place, [id]);
      expect(failed).toMatchObject({
        state: 'failed',
        error: { code: 'INTERNAL', message: expect.stringContaining('nobody foresaw this') },
      });
      const kept = received(place);
      expect(kept).toBeGreaterThan(0);
      broken.kill('SIGKILL');
      await broken.ended;
      await isUp(place.worker());
      await (await place.ferry()).retry([id]);
      await untilAllOver(place, [id]);
      expectWhole(place);
      expect(await jobsNow(place, [id])).toMatchObject([{ state: 'completed', bytesResent: 0 }]);
    } finally {
      broken.kill('SIGKILL');
      await broken.ended;
    }
  }));
