import { expect, test } from '@jest/globals';
import { Overview } from '../../src/jobs/batch/overview.ts';
import { Brakes } from '../../src/jobs/brakes.ts';
import { JobViews } from '../../src/jobs/job-views.ts';
import { Watchman } from '../../src/jobs/notify/watchman.ts';
import { QueueSet } from '../../src/jobs/queue-set.ts';
import { until } from '../helpers/cli.ts';
import { enqueued, isUp, received, withPlace } from '../helpers/place.ts';

test('a transfer is stalled when nothing is sent any more, and not while a large piece is under way', () =>
  withPlace(
    {
      ...{ size: 6_000_000, rateBytesPerSecond: 300_000 },
      config: { tail: '  chunkSize: 4MiB\n', lease: '6s' },
    },
    async (place) => {
      const { client } = place.redis;
      const queues = new QueueSet(client);
      const told: { event: string; about: { job?: { id: string } } }[] = [];
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('bytes', () => received(place) > 0);
      const watchman = new Watchman({
        ...{ redis: client, queues, brakes: new Brakes(client) },
        overview: new Overview({ redis: client, queues, views: new JobViews(client, queues) }),
        notices: {
          async add(_key, notice) {
            told.push(notice as (typeof told)[number]);
          },
        },
        limits: () => {
          throw new Error('nothing has a deadline');
        },
        onError: (error) => told.push({ event: error.message, about: {} }),
        stalledMs: 7_000,
      });
      try {
        // Its first piece takes fourteen seconds, of which nothing is confirmed.
        await until('the second piece', () => received(place) > 5_300_000);
        expect(told).toEqual([]);
        worker.kill('SIGSTOP');
        const [notice] = await until('news', () => told.length > 0 && told);
        expect(notice).toMatchObject({ event: 'transfer.stalled', about: { job: { id } } });
      } finally {
        await watchman.close();
        await queues.close();
      }
    },
  ));
