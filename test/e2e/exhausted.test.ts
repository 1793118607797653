import { expect, test } from '@jest/globals';
import { startWithin } from '../helpers/cli.ts';
import {
  enqueueMany,
  isUp,
  jobsNow,
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
