import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { forgetOld } from '../../src/jobs/forget.ts';
import { QueueSet } from '../../src/jobs/queue-set.ts';
import { json, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { enqueueAll, enqueued, isUp, untilAllOver, withPlace } from '../helpers/place.ts';

const DAY_MS = 86_400_000;

test('what ended long ago is forgotten, and nothing else', () =>
  withPlace({}, async (place) => {
    const { folder, redis, source } = place;
    const { client } = redis;
    const worker = place.worker();
    await isUp(worker);
    const bad = join(folder, 'bad.ova');
    await writeFile(bad, 'no archive');
    const over = [
      ...(await enqueueAll(place, [source], { batch: 'old' })),
      ...(await enqueueAll(place, [bad], { batch: 'old' })),
    ];
    await untilAllOver(place, over);
    worker.kill('SIGTERM');
    await worker.ended;
    const open = await writeOva(join(folder, 'open.ova'), packageOf([10], 'open'));
    const [waiting = ''] = await enqueueAll(place, [open], { batch: 'new' });
    const queues = new QueueSet(client);
    try {
      const seen = async () => ({
        receipts: await client.hlen('{ovaferry}:ledger'),
        same: await client.hlen('{ovaferry}:same'),
        batches: await client.zrevrange('{ovaferry}:batches', 0, -1),
        failed: await queues.of('lab').getFailedCount(),
        waiting: await queues.of('lab').getPrioritizedCount(),
      });
      const before = await seen();
      expect(before).toMatchObject({ receipts: 1, same: 3, failed: 1, waiting: 1 });
      await forgetOld({ redis: client, queues, keepMs: () => DAY_MS });
      expect(await seen()).toEqual(before);
      const ended = Date.now();
      await until('a later moment', () => Date.now() > ended);
      await forgetOld({ redis: client, queues, keepMs: () => 0 });
      expect(await seen()).toMatchObject({ receipts: 0, failed: 0, waiting: 1, batches: ['new'] });
      // BullMQ still has the one that was completed; so what stands for it stays as well.
      expect((await seen()).same).toBe(2);
      expect(await json(['status', waiting], folder)).toMatchObject([{ state: 'waiting' }]);
      // The command that was forgotten makes a job again.
      expect(await enqueueAll(place, [bad], { batch: 'old' })).toHaveLength(1);
      expect(await enqueued(place)).toBe(over[0]);
    } finally {
      await queues.close();
    }
  }));
