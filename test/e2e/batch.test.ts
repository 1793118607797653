import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import type { BatchState } from '../../src/jobs/batch/overview.ts';
import { PREFIX } from '../../src/jobs/names.ts';
import { json, run, until } from '../helpers/cli.ts';
import { digest, packageOf, writeOva } from '../helpers/packages.ts';
import {
  enqueued,
  isUp,
  type Place,
  untilAllOver,
  untilOver,
  withPlace,
} from '../helpers/place.ts';

const summary = async (place: Place, batch: string): Promise<BatchState> =>
  (await place.ferry()).batch(batch);

async function images(folder: string, count: number): Promise<string> {
  const path = join(folder, 'images');
  await mkdir(path);
  for (let i = 0; i < count; i += 1) {
    await writeFile(join(path, `${String(i).padStart(5, '0')}.iso`), `image ${i}`);
  }
  return path;
}

describe('a batch', () => {
  test('has a state of its own: counts, bytes, failures by reason, what is late, a receipt for each', () =>
    withPlace({ rateBytesPerSecond: 1_500_000 }, async (place) => {
      const { folder, members, source } = place;
      const fine = [source];
      for (const name of ['a', 'b']) {
        fine.push(await writeOva(join(folder, `${name}.ova`), packageOf([300_000], name)));
      }
      for (const name of ['bad1.ova', 'bad2.ova']) await writeFile(join(folder, name), 'junk');
      const options = ['--to', 'lab', '--batch', 'weekend', '--deadline', '2020-01-01T00:00:00Z'];
      const jobs = await json(['enqueue', ...fine, 'bad1.ova', 'bad2.ova', ...options], folder);
      const before = await summary(place, 'weekend');
      expect(before).toMatchObject({
        name: 'weekend',
        counts: { waiting: 5, active: 0, delayed: 0, completed: 0, failed: 0 },
        endedAt: null,
        deadline: '2020-01-01T00:00:00.000Z',
      });
      expect(before.late).toHaveLength(5);
      await isUp(place.worker());
      await until('the rate', async () => (await summary(place, 'weekend')).bytesArrived > 0, {
        everyMs: 150,
      });
      await untilAllOver(
        place,
        jobs.map(({ id }) => id),
      );
      const after = await summary(place, 'weekend');
      expect(after).toMatchObject({
        counts: { waiting: 0, active: 0, delayed: 0, completed: 3, failed: 2 },
        bytesArrived: 1_600_000,
        bytesResent: 0,
        failures: [
          { code: 'PACKAGE_CORRUPT', count: 2, ids: [jobs[3]?.id, jobs[4]?.id].sort() },
        ].map((group) => ({ ...group, ids: expect.arrayContaining(group.ids) })),
        late: [],
      });
      expect(Date.parse(after.endedAt ?? '')).toBeGreaterThan(Date.parse(after.createdAt));

      const { stdout } = await run(['status', '--batch', 'weekend'], folder);
      expect(stdout).toMatch(/^weekend: 3 of 5 arrived, 2 failed\n/);
      expect(stdout).toContain('2 × PACKAGE_CORRUPT');

      const report = await json<Record<string, unknown>[]>(
        ['report', '--batch', 'weekend'],
        folder,
      );
      expect(report).toHaveLength(5);
      const box = report.find(({ name }) => name === 'box');
      expect(box).toMatchObject({
        state: 'completed',
        catalogItem: expect.stringContaining('/api/catalogItem/'),
        task: expect.stringContaining('/api/task/'),
        bytes: 1_000_000,
        files: [
          {
            name: 'box-disk1.vmdk',
            size: 1_000_000,
            digest: `sha256:${digest(members[2]?.bytes as Buffer)}`,
            verified: true,
          },
        ],
      });
      const [requestId] = (box?.['requestIds'] ?? []) as string[];
      const seen = place.simulator.requests.map(({ headers }) => headers);
      expect(seen.some((headers) => JSON.stringify(headers).includes(requestId ?? '?'))).toBe(true);
      const csv = await run(['report', '--batch', 'weekend', '--format', 'csv'], folder);
      expect(csv.stdout.split('\n')[0]).toContain('digest');
      expect(csv.stdout.trimEnd().split('\n')).toHaveLength(6);
    }));

  test('that is enqueued again after its failures were mended takes their places', () =>
    withPlace({}, async (place) => {
      const { folder, source } = place;
      await writeFile(join(folder, 'bad.ova'), 'junk');
      const again = () =>
        json(['enqueue', source, 'bad.ova', '--to', 'lab', '--batch', 'b'], folder);
      const first = await again();
      await isUp(place.worker());
      await untilAllOver(
        place,
        first.map(({ id }) => id),
      );
      const args = ['status', '--batch', 'b', '--summary'];
      const { counts } = await json<BatchState>(args, folder);
      expect(counts).toMatchObject({ completed: 1, failed: 1 });
      const second = await again();
      expect(second.map(({ existing }) => existing)).toEqual([true, false]);
      await untilAllOver(
        place,
        second.map(({ id }) => id),
      );
      expect((await summary(place, 'b')).counts).toMatchObject({ completed: 1, failed: 1 });
      const unknown = await run(['status', '--batch', 'nope', '--summary'], folder);
      expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('no batch nope') });
    }));

  test('what has arrived is known after the queue has forgotten its jobs', () =>
    withPlace({}, async (place) => {
      const { folder, source, redis } = place;
      const enqueue = () => json(['enqueue', source, '--to', 'lab', '--batch', 'b'], folder);
      const [job] = await enqueue();
      await isUp(place.worker());
      await untilAllOver(place, [job?.id ?? '']);
      const [before] = await json(['status', job?.id ?? ''], folder);
      const queue = new Queue('upload-lab', { connection: redis.client, prefix: PREFIX });
      await queue.clean(0, 100, 'completed');
      expect(await queue.getCompletedCount()).toBe(0);
      await queue.close();
      const [after] = await json(['status', job?.id ?? ''], folder);
      expect(after).toEqual({ ...before, finishedAt: after?.finishedAt });
      expect(await enqueue()).toMatchObject([{ id: job?.id, existing: true, state: 'completed' }]);
      expect((await summary(place, 'b')).counts).toMatchObject({ completed: 1, waiting: 0 });
      expect(place.simulator.items()).toHaveLength(1);
    }));
});

describe('batches and the jobs in them', () => {
  test('a job that was there before counts in every batch that names it, also one of no bytes', () =>
    withPlace({}, async (place) => {
      const { folder, source } = place;
      await writeFile(join(folder, 'empty.img'), '');
      const toLab = ['--media', '--to', 'lab'];
      const [first] = await json(['enqueue', 'empty.img', ...toLab], folder);
      await json(['enqueue', source, '--to', 'lab', '--batch', 'a'], folder);
      await json(['enqueue', 'empty.img', ...toLab, '--batch', 'a'], folder);
      const [same] = await json(['enqueue', 'empty.img', ...toLab, '--batch', 'b'], folder);
      expect(same).toMatchObject({ id: first?.id, existing: true });
      await isUp(place.worker());
      await until('the ends', async () => (await summary(place, 'a')).endedAt !== null, {
        everyMs: 150,
      });
      const [a, b] = [await summary(place, 'a'), await summary(place, 'b')];
      expect(a).toMatchObject({ counts: { completed: 2, waiting: 0 }, bytesTotal: 1_000_000 });
      expect(a.bytesArrived).toBe(a.bytesTotal);
      expect(b).toMatchObject({ counts: { completed: 1, waiting: 0 } });
      await sleep(1_100);
      expect((await summary(place, 'a')).endedAt).toBe(a.endedAt);
      const late = await json(['enqueue', 'empty.img', ...toLab, '--batch', 'c'], folder);
      expect(late).toMatchObject([{ existing: true, state: 'completed' }]);
      expect((await summary(place, 'c')).counts).toMatchObject({ completed: 1, waiting: 0 });
    }));

  test('what was cancelled and uploaded again is not retried beside it', () =>
    withPlace({}, async (place) => {
      const { folder, source } = place;
      const enqueue = () => json(['enqueue', source, '--to', 'lab', '--batch', 'r'], folder);
      const [first] = await enqueue();
      await json(['cancel', first?.id ?? ''], folder);
      const [second] = await enqueue();
      await isUp(place.worker());
      await untilAllOver(place, [second?.id ?? '']);
      const refused = await run(['retry', first?.id ?? ''], folder);
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('took the place') });
      expect((await summary(place, 'r')).counts).toMatchObject({ completed: 1, failed: 0 });
    }));

  test('a dry run says what is there already, and what all would be', () =>
    withPlace({}, async (place) => {
      const { folder, source } = place;
      const other = await writeOva(join(folder, 'other.ova'), packageOf([5_000], 'other'));
      const id = await enqueued(place);
      await isUp(place.worker());
      await untilOver(place, id);
      const plan = await run(['enqueue', source, other, '--to', 'lab', '--dry-run'], folder);
      expect(plan.code).toBe(0);
      expect(plan.stdout).toContain(`is there already (completed, ${id})`);
      expect(plan.stdout).toContain('1 would be uploaded, 5 kB; 1 are there already');
    }));
});

describe('thousands', () => {
  test('are enqueued in one command, once, and are counted at once', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const path = await images(folder, 3_000);
      const enqueue = () => json(['enqueue', path, '--to', 'lab', '--batch', 'all'], folder);
      const [one, two] = await Promise.all([enqueue(), enqueue()]);
      const ids = new Set([...one, ...two].map(({ id }) => id));
      expect(ids.size).toBe(3_000);
      expect(one.map(({ id }) => id)).toEqual(two.map(({ id }) => id));
      const fresh = [...one, ...two].filter(({ existing }) => !existing);
      expect(fresh).toHaveLength(3_000);
      expect(await summary(place, 'all')).toMatchObject({
        counts: { waiting: 3_000 },
        bytesTotal: one.reduce((sum, { bytesTotal }) => sum + bytesTotal, 0),
      });
    }));

  test('of which a command that died has enqueued some are completed by the next one', () =>
    withPlace({}, async (place) => {
      const { folder, redis } = place;
      const path = await images(folder, 200);
      const enqueue = () => json(['enqueue', path, '--to', 'lab', '--batch', 'all'], folder);
      await enqueue();
      // As after a death between taking the places and adding the jobs.
      const queue = new Queue('upload-lab', { connection: redis.client, prefix: PREFIX });
      const lost = await queue.getPrioritized(0, 49);
      for (const job of lost) await job.remove();
      await queue.close();
      const places = await redis.client.hgetall(`${PREFIX}:same`);
      for (const [key, holder] of Object.entries(places)) {
        const [id] = holder.split(' ');
        const isLost = lost.some((job) => job.id === id);
        if (isLost) await redis.client.hset(`${PREFIX}:same`, key, `${id} ${Date.now() - 60_000}`);
      }
      const jobs = await enqueue();
      expect(jobs.filter(({ existing }) => existing)).toHaveLength(150);
      expect((await summary(place, 'all')).counts).toMatchObject({ waiting: 200 });
    }));
});

describe('a manifest of uploads', () => {
  test('says everything that a command line says, for each; YAML and CSV', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      for (const name of ['a', 'b', 'c']) {
        await writeOva(join(folder, `${name}.ova`), packageOf([1_000], name));
      }
      await writeFile(
        join(folder, 'uploads.yaml'),
        `defaults: {to: lab/appliances, batch: nightly, verify: off}
uploads:
  - source: a.ova
    name: first
    description: |
      of two
      lines
    metadata: {owner: ops, ticket: 4711, checked: true}
    deadline: 2030-01-01T00:00:00Z
  - {source: "[bc].ova", ifExists: skip, priority: 5, to: [lab]}
`,
      );
      const jobs = await json(['enqueue', '--manifest', 'uploads.yaml'], folder);
      expect(jobs).toMatchObject([
        { name: 'first', batch: 'nightly', deadline: '2030-01-01T00:00:00.000Z' },
        { name: 'b', batch: 'nightly', deadline: null },
        { name: 'c', batch: 'nightly' },
      ]);
      await writeFile(
        join(folder, 'uploads.csv'),
        'source,to,name,metadata,media\na.ova,lab/appliances,"x, y",a=1;b:number=2,\nb.ova,,iso,,true\n',
      );
      const more = await json(['enqueue', '--manifest', 'uploads.csv', '--to', 'lab'], folder);
      expect(more.map(({ name, kind }) => [name, kind])).toEqual([
        ['x, y', 'ovf'],
        ['iso', 'media'],
      ]);
      await isUp(place.worker());
      await untilAllOver(
        place,
        [...jobs, ...more].map(({ id }) => id),
      );
      const first = place.simulator.items().find(({ name }) => name === 'first');
      expect(first).toMatchObject({
        description: 'of two\nlines\n',
        metadata: { owner: 'ops', ticket: '4711', checked: 'true' },
      });
    }));

  test('is refused as a whole, with the line of every mistake, and nothing is enqueued', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      await writeFile(
        join(folder, 'uploads.yaml'),
        `- source: box.ova
  to: lab
- source: nope.ova
  to: lab
- source: box.ova
  to: elsewhere
- source: box.ova
  to: lab
  priority: soon
  colour: red
- {source: box.ova, to: lab, startAt: tomorrow}
- to: lab
`,
      );
      const refused = await run(['enqueue', '--manifest', 'uploads.yaml', '--json'], folder);
      expect(refused.code).toBe(2);
      const { error } = JSON.parse(refused.stdout);
      const lines = error.message.split('\n').map((line: string) => line.split(': ')[0]);
      expect(lines).toEqual([3, 5, 9, 10, 11, 12].map((line) => `uploads.yaml:${line}`));
      expect(error.message).toMatch(/:3: .*nope\.ova does not exist/);
      expect(error.message).toMatch(/:5: there is no target elsewhere/);
      expect(error.message).toMatch(/:9: priority: expected a whole number/);
      expect(error.message).toMatch(/:10: unknown key colour/);
      expect(error.message).toMatch(/:11: startAt: "tomorrow" is not a time/);

      await writeFile(
        join(folder, 'c.csv'),
        'source,to,priority\nbox.ova\nnope.ova,lab,\nbox.ova,lab,abc\n',
      );
      const csv = await run(['enqueue', '--manifest', 'c.csv', '--json'], folder);
      expect(JSON.parse(csv.stdout).error.message).toMatch(
        /^c\.csv:2: expected 3 columns, got 1\nc\.csv:3: .*nope.*\nc\.csv:4: priority: expected a whole number$/,
      );
      await writeFile(join(folder, 'alias.yaml'), '- source: *nothing\n  to: lab\n');
      expect(await run(['enqueue', '--manifest', 'alias.yaml'], folder)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/alias\.yaml:1: /),
      });
      await writeFile(join(folder, 'a.csv'), 'source,to\nbox.ova,lab,more\n');
      expect(await run(['enqueue', '--manifest', 'a.csv'], folder)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/a\.csv:2: /),
      });
      await writeFile(join(folder, 'b.yaml'), 'uploads:\n  - source: "box.ova\n');
      expect(await run(['enqueue', '--manifest', 'b.yaml'], folder)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/b\.yaml:[23]: /),
      });
      expect(await json(['status'], folder)).toEqual([]);
    }));
});
