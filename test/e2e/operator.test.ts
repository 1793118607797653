import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { configure, json, run, until } from '../helpers/cli.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import { isoOf, packageOf, writeOva } from '../helpers/packages.ts';
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
  untilJob,
  untilOver,
  withPlace,
} from '../helpers/place.ts';
import { uploadTo } from '../helpers/upload.ts';

const REFUSED = {
  status: 400,
  headers: { 'content-type': 'application/vnd.vmware.vcloud.error+xml' },
  body: '<Error xmlns="http://www.vmware.com/vcloud/v1.5" majorErrorCode="400" minorErrorCode="BAD_REQUEST" message="[ x ] no such policy"/>',
};

/** Waits until the target lab is held. */
const untilHeld = (place: Place): Promise<unknown> =>
  until('the brake', async () => (await (await place.ferry()).brakes()).get('lab'));

describe('a target whose fault burns no jobs', () => {
  test('a rejected login: one attempt over all workers, all jobs kept, shown, and resumed', () =>
    withPlace({}, async (place) => {
      const { folder, simulator } = place;
      const secret = join(folder, 'secret');
      await writeFile(secret, 'wrong');
      const config = join(folder, 'ovaferry.yaml');
      await writeFile(
        config,
        `redis: ${place.redis.url}\ntargets:\n  lab: {url: "${simulator.url}", org: acme, user: admin, passwordFile: ${secret}, catalog: appliances}\nworker: {lease: 3s}\n`,
      );
      const ids = await enqueueMany(place, 12);
      const workers = [place.worker(), place.worker(), place.worker()];
      for (const worker of workers) await isUp(worker);
      await untilHeld(place);
      await sleep(2_500); // three more rounds of every worker
      expect(simulator.world.sessions.attempts).toBe(1);
      const jobs = await jobsNow(place, [...ids]);
      expect(jobs.filter(({ state }) => state === 'failed')).toEqual([]);
      const { stderr } = await run(['status'], folder);
      expect(stderr).toMatch(/lab is held: AUTH_REJECTED: .*\n.*\n.*ovaferry resume lab/);

      await writeFile(secret, 'simulated');
      const resumed = await run(['resume', 'lab'], folder);
      expect(resumed).toMatchObject({ code: 0, stdout: 'lab: its jobs go on\n' });
      const over = await untilAllOver(place, ids);
      expect(over.every(({ state }) => state === 'completed')).toBe(true);
      expect((await run(['status'], folder)).stderr).not.toContain('is held');
    }));

  test('a login that is rejected is tried ever less often, also while the target is held for something else', () =>
    withPlace({}, async (place) => {
      const { folder, simulator, redis } = place;
      await configure(folder, { url: simulator.url, redis: redis.url, password: 'wrong' });
      const brake = { code: 'QUOTA_EXCEEDED', message: 'full', hint: '', since: 0, trialAt: null };
      await redis.client.hset('{ovaferry}:brakes', 'lab', JSON.stringify({ ...brake, trials: 0 }));
      const ids = await enqueueMany(place, 6);
      await isUp(place.worker());
      // What is to be cancelled is fetched all the same, but only what has begun logs in.
      await run(['cancel', ...ids.slice(0, 3)], folder);
      await redis.client.hdel('{ovaferry}:brakes', 'lab');
      await until('the first attempt', () => simulator.world.sessions.attempts > 0);
      for (let i = 0; i < 4; i += 1) {
        await redis.client.hset(
          '{ovaferry}:brakes',
          'lab',
          JSON.stringify({ ...brake, trials: 0 }),
        );
        await sleep(300);
        await redis.client.hdel('{ovaferry}:brakes', 'lab');
        await sleep(1_200);
      }
      expect(simulator.world.sessions.attempts).toBe(1);
      await run(['resume', 'lab'], folder);
      await until('another attempt', () => simulator.world.sessions.attempts > 1);
    }));

  test('three uploads in a row that fail by the same: the others wait for a person', () =>
    withPlace({ config: { more: '    concurrency: 1\n' } }, async (place) => {
      const { folder, simulator } = place;
      simulator.world.faults.add({
        on: { method: 'POST', path: 'action/upload' },
        times: 0,
        do: REFUSED,
      });
      const ids = await enqueueMany(place, 8);
      place.worker();
      const failed = async () =>
        (await jobsNow(place, ids)).filter(({ state }) => state === 'failed');
      await until('three failures', async () => (await failed()).length >= 3);
      await untilHeld(place);
      await sleep(2_500);
      expect((await failed()).map(({ error }) => error?.code)).toEqual(
        Array.from({ length: 3 }, () => 'VCD_REJECTED'),
      );
      // Who asks for another one is told.
      const asked = await run(['upload', place.source, '--to', 'lab', '--json'], folder);
      expect(asked.code).toBe(3);
      expect(JSON.parse(asked.stdout).error.message).toMatch(/3 uploads in a row/);

      simulator.world.faults.clear();
      await json(['resume', 'lab'], folder);
      await json(['retry', '--failed'], folder);
      const over = await untilAllOver(place, ids);
      expect(over.every(({ state }) => state === 'completed')).toBe(true);
    }));

  test('one that is down is asked by one request at a time, not by every upload', () =>
    withPlace({ config: { more: '    concurrency: 4\n' } }, async (place) => {
      const { simulator } = place;
      simulator.world.faults.add({ on: { path: '' }, times: 0, do: { status: 503 } });
      const ids = await enqueueMany(place, 20);
      const worker = place.worker();
      await isUp(worker);
      await sleep(8_000);
      // 1, 2, 4 s with jitter: an upload by itself would ask some five times in that time.
      expect(simulator.requests.length).toBeLessThan(12);
      simulator.world.faults.clear();
      const over = await untilAllOver(place, ids);
      expect(over.every(({ state }) => state === 'completed')).toBe(true);
    }));
});

test('a source whose file system is away is kept, not failed', () =>
  withPlace({}, async (place) => {
    const { folder } = place;
    const mount = join(folder, 'mount');
    await mkdir(mount);
    const source = await writeOva(join(mount, 'far.ova'), packageOf([1_000]));
    const [id = ''] = await enqueueAll(place, [source]);
    await rename(mount, join(folder, 'unmounted'));
    await mkdir(mount);
    place.worker();
    const kept = await untilJob(place, id, 'the job to be kept', (job) => job.state === 'delayed');
    expect(kept.error).toMatchObject({ code: 'SOURCE_UNREACHABLE', permanent: false });
    await rename(join(folder, 'unmounted', 'far.ova'), source);
    await (await place.ferry()).retry([id]);
    expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
  }));

test('a source whose file system goes away during the transfer is kept as well', () =>
  withPlace(
    { rateBytesPerSecond: 1_000_000, config: { tail: '  chunkSize: 200kB\n' } },
    async (place) => {
      const { folder } = place;
      const mount = join(folder, 'mount');
      await mkdir(mount);
      const source = await writeOva(join(mount, 'box.ova'), packageOf([3_000_000]));
      place.worker();
      const [id = ''] = await enqueueAll(place, [source]);
      await until('some bytes', () => received(place) > 300_000);
      await rename(mount, join(folder, 'unmounted'));
      await untilJob(
        ...([place, id, 'the job to be kept'] as const),
        ({ state, error }) => state === 'delayed' && error?.code === 'SOURCE_UNREACHABLE',
      );
      await rename(join(folder, 'unmounted'), mount);
      await (await place.ferry()).retry([id]);
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expect(doubled(place)).toBe(0);
    },
  ));

test('a quota that is full holds the target until a person has made room', () =>
  withPlace({ size: 100_000 }, async (place) => {
    const { folder, simulator } = place;
    const error = { majorCode: 400, minorCode: 'STORAGE_QUOTA_EXCEEDED', message: 'full' };
    simulator.world.faults.add({ on: { method: 'PUT', file: 'disk' }, do: { failImport: error } });
    place.worker();
    const id = await enqueued(place);
    await untilHeld(place);
    expect((await run(['status'], folder)).stderr).toContain('lab is held: QUOTA_EXCEEDED');
    expect(await jobsNow(place, [id])).toMatchObject([{ state: 'delayed' }]);
    expect(simulator.items()).toEqual([]);
    expect((await run(['resume', 'lab'], folder)).code).toBe(0);
    expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
    expectWhole(place);
  }));

test('an upload of which nothing moves for a day is given up, and says what was tried', () =>
  withPlace({}, async (place) => {
    const { simulator, redis } = place;
    // Longer than a run waits, so that each try is a run of its own.
    const later = { status: 503, headers: { 'retry-after': '120' } };
    simulator.world.faults.add({ on: { path: '/api/catalog/' }, times: 0, do: later });
    place.worker();
    const id = await enqueued(place);
    await untilJob(place, id, 'the first failure', ({ state }) => state === 'delayed');
    const key = `{ovaferry}:upload-lab:${id}`;
    const data = JSON.parse((await redis.client.hget(key, 'data')) ?? '');
    const yesterday = Date.now() - 25 * 3_600_000;
    const aged = { ...data, failingSince: yesterday, retryAt: Date.now() };
    await redis.client.hset(key, 'data', JSON.stringify(aged));
    await (await place.ferry()).retry([id]);
    const verdict = async () =>
      JSON.parse((await redis.client.hget(key, 'data')) ?? '').verdict ?? undefined;
    await until('the verdict', verdict);
    expect(await verdict()).toMatchObject({
      code: 'GAVE_UP',
      permanent: true,
      message: expect.stringMatching(/nothing moved since .*, after 2 runs; the last failure: GET/),
    });
    simulator.world.faults.clear();
    // It is noted before the run has ended, and only what waits can be hurried.
    await untilJob(place, id, 'its next run', ({ state }) => state === 'delayed');
    await (await place.ferry()).retry([id]);
    expect(await untilOver(place, id)).toMatchObject({ error: { code: 'GAVE_UP' } });
    expect(simulator.items()).toEqual([]);
  }));

test('Redis that is silent while an upload begins burns no job', () =>
  withPlace({ config: { lease: '20s' } }, async (place) => {
    const { simulator, redis } = place;
    simulator.world.faults.add({ on: { path: '/api/catalog/' }, do: { delayMs: 1_500 } });
    await isUp(place.worker());
    const id = await enqueued(place);
    await until('the look at the catalog', () =>
      simulator.requests.some(({ path }) => path.startsWith('/api/catalog/')),
    );
    redis.freeze();
    await sleep(8_000);
    redis.thaw();
    expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
    expectWhole(place);
  }));

describe('what is left on the server', () => {
  test('by jobs that nobody knows any more is found by the janitor, and nothing else', () =>
    withPlace({ size: 8_000_000, rateBytesPerSecond: 2_000_000 }, async (place) => {
      const { folder, simulator, redis } = place;
      const worker = place.worker();
      await isUp(worker);
      await enqueued(place);
      await until('some bytes', () => received(place) > 100_000);
      // Living jobs are no leftovers.
      expect(await json(['janitor', 'lab'], folder)).toEqual([]);
      worker.kill('SIGKILL');
      await worker.ended;
      const installation = await redis.client.get('{ovaferry}:installation');
      await redis.client.flushall();
      await redis.client.set('{ovaferry}:installation', installation ?? '');
      // Somebody else's unfinished item, and one that is ready.
      const [own] = [...simulator.world.items()];
      own?.catalog.items.push({
        ...own,
        id: 'other',
        name: 'other',
        description: '[ovaferry 0123456789ab/lab-0 xyz]',
        entity: { ...own.entity, id: 'vappTemplate-other' },
      });
      const listed = await json<{ name: string; removed: boolean }[]>(['janitor', 'lab'], folder);
      expect(listed).toMatchObject([{ name: 'box', removed: false }]);
      expect(simulator.items()).toHaveLength(2);
      const { code, stdout } = await run(['janitor', 'lab/appliances', '--yes'], folder);
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^appliances\/box: removed/),
      });
      expect(simulator.items().map(({ name }) => name)).toEqual(['other']);
    }));

  test('in the descriptions of whole items, as pools once did, is found by the janitor as well', () =>
    withPlace({ size: 1_000 }, async ({ folder, simulator, redis, source }) => {
      await redis.client.set('{ovaferry}:installation', 'abc123'); // as `uploadTo` has it
      await uploadTo(simulator, source, { jobId: 'lab.dc1-0', description: 'ours' });
      await uploadTo(simulator, source, { jobId: 'lab.dc1-1', name: 'not noted' });
      for (const item of simulator.world.items()) {
        const { jobId } = item.name === 'box' ? { jobId: 'lab.dc1-0' } : { jobId: 'lab.dc1-9' };
        const mark = `[ovaferry abc123/${jobId} AAAAAAAAAAAAAAAAAAAAAA]`;
        item.description = [item.description, mark].filter(Boolean).join('\n');
      }
      const listed = await json<{ name: string; what: string }[]>(['janitor', 'lab'], folder);
      expect(listed).toMatchObject([{ name: 'box', what: 'mark', job: 'lab.dc1-0' }]);
      const { code } = await run(['janitor', 'lab', '--yes'], folder);
      const left = simulator.items().map(({ name, status, description }) => ({
        ...{ name, status, description },
      }));
      expect({ code, left }).toEqual({
        code: 0,
        left: [
          { name: 'box', status: 8, description: 'ours' },
          { name: 'not noted', status: 8, description: expect.stringContaining('lab.dc1-9') },
        ],
      });
      expect(await json(['janitor', 'lab'], folder)).toEqual([]);
    }));

  test('is found again by a fresh Redis: the same upload goes on where it was', () =>
    withPlace({ size: 8_000_000, rateBytesPerSecond: 3_000_000 }, async (place) => {
      const { redis } = place;
      const worker = place.worker();
      await isUp(worker);
      await enqueued(place);
      await until('half of it', () => received(place) > 4_000_000);
      worker.kill('SIGKILL');
      await worker.ended;
      await redis.client.flushall();
      place.worker();
      const id = await enqueued(place);
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expectWhole(place);
      expect(doubled(place)).toBe(0);
    }));

  test('of a failed upload stays with --keep-failed, and retry says so and goes on with it', () =>
    withPlace({ size: 300_000, config: { tail: '  chunkSize: 100kB\n' } }, async (place) => {
      const { folder, simulator } = place;
      simulator.world.faults.add({ on: { method: 'PUT', file: 'disk' }, after: 2, do: REFUSED });
      place.worker();
      const id = await enqueued(place, { keepFailed: true });
      expect(await untilOver(place, id)).toMatchObject({
        state: 'failed',
        error: { code: 'VCD_REJECTED' },
      });
      expect(received(place)).toBe(200_000);
      const { stderr } = await run(['retry', id], folder);
      expect(stderr).toContain('box goes on: 200 kB of 300 kB are on the server');
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expectWhole(place);
      expect(doubled(place)).toBe(0);
    }));

  test('by --keep-failed is made anew by retry where it has come to nothing, and removed by cancel', () =>
    withPlace({ size: 100_000 }, async (place) => {
      const { folder, simulator } = place;
      const error = { majorCode: 400, minorCode: 'BAD_REQUEST', message: 'unsupported' };
      const failing = { on: { method: 'PUT', file: 'disk' }, times: 2, do: { failImport: error } };
      simulator.world.faults.add(failing);
      place.worker();
      const id = await enqueued(place, { keepFailed: true });
      expect(await untilOver(place, id)).toMatchObject({ error: { code: 'IMPORT_REJECTED' } });
      expect(simulator.items()).toMatchObject([{ status: -1 }]);
      // Nobody waits for what only a person can decide.
      await writeOva(join(folder, 'other.ova'), packageOf([5_000]));
      const replace = ['--to', 'lab', '--name', 'box', '--if-exists', 'replace'];
      const other = await run(['upload', 'other.ova', ...replace], folder);
      expect(other.code).toBe(1);
      expect(other.stdout).toMatch(/NAME_TAKEN[\s\S]*ovaferry retry lab-/);
      await (await place.ferry()).retry([id]); // and it is refused once more
      await untilJob(
        ...([place, id, 'the second refusal'] as const),
        ({ state, attempts }) => state === 'failed' && attempts === 2,
      );
      expect(simulator.items()).toMatchObject([{ status: -1 }]);
      expect((await run(['cancel', id], folder)).code).toBe(0);
      await until('nothing to be left', () => simulator.items().length === 0);
      await (await place.ferry()).retry([id]);
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
      expectWhole(place);
    }));

  test('is cleaned up even if the server is away and the worker that began it dies', () =>
    withPlace({ size: 8_000_000, rateBytesPerSecond: 1_000_000 }, async (place) => {
      const { folder, simulator } = place;
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 200_000);
      const requests = simulator.requests.length;
      simulator.world.outageUntil = Date.now() + 60_000;
      const cancelling = run(['cancel', id], folder);
      await until('the clean-up to begin', () =>
        simulator.requests.slice(requests).some(({ method }) => method === 'GET'),
      );
      first.kill('SIGKILL');
      await first.ended;
      place.worker();
      simulator.world.outageUntil = 0;
      await cancelling;
      expect(await untilOver(place, id)).toMatchObject({
        state: 'failed',
        error: { code: 'CANCELLED' },
      });
      expect(simulator.items()).toEqual([]);
    }));
});

describe('--if-exists', () => {
  test('skip leaves an item of the same content alone; other content fails', () =>
    withPlace({}, async (place) => {
      const { folder, simulator } = place;
      expect((await run(['upload', place.source, '--to', 'lab'], folder)).code).toBe(0);
      await writeOva(join(folder, 'copy.ova'), place.members);
      const skip = ['--to', 'lab', '--if-exists', 'skip', '--name', 'box', '--json'];
      const same = await run(['upload', 'copy.ova', ...skip], folder);
      expect({ code: same.code, error: JSON.parse(same.stdout)[0].error }).toEqual({
        code: 0,
        error: null,
      });
      await writeOva(join(folder, 'other.ova'), packageOf([5_000]));
      const other = await run(['upload', 'other.ova', ...skip], folder);
      expect(other.code).toBe(1);
      expect(JSON.parse(other.stdout)[0].error).toMatchObject({ code: 'NAME_TAKEN' });
      expectWhole(place);
      const posts = simulator.requests.filter(({ path }) => path.includes('action/upload'));
      expect(posts).toHaveLength(1);
    }));

  test('skip hashes an image that has no manifest', () =>
    withPlace({}, async ({ folder, simulator }) => {
      const bytes = isoOf();
      await writeFile(join(folder, 'disc.iso'), bytes);
      await writeFile(join(folder, 'same.iso'), bytes);
      const skip = ['--to', 'lab', '--if-exists', 'skip', '--name', 'disc'];
      expect((await run(['upload', 'disc.iso', ...skip], folder)).code).toBe(0);
      expect((await run(['upload', 'same.iso', ...skip], folder)).code).toBe(0);
      expect(simulator.items()).toHaveLength(1);
    }));

  test('replace puts the new one in the place of the old one, whose bytes are gone', () =>
    withPlace({}, async (place) => {
      const { folder, simulator } = place;
      await writeOva(join(folder, 'old.ova'), packageOf([5_000]));
      await uploadTo(simulator, join(folder, 'old.ova'), { name: 'box' });
      const [before] = [...simulator.world.items()];
      const replace = ['--to', 'lab', '--if-exists', 'replace'];
      expect((await run(['upload', place.source, ...replace], folder)).code).toBe(0);
      expectWhole(place);
      expect([...simulator.world.items()][0]?.id).not.toBe(before?.id);
    }));

  test('replace that is cancelled replaces nothing, even if the new one is ready', () =>
    withPlace({ importTimeMs: 3_000 }, async (place) => {
      const { folder, simulator } = place;
      await writeOva(join(folder, 'old.ova'), packageOf([5_000]));
      await uploadTo(simulator, join(folder, 'old.ova'), { name: 'box' });
      const [old] = [...simulator.world.items()];
      const first = place.worker();
      await isUp(first);
      const id = await enqueued(place, { ifExists: 'replace' });
      await untilJob(place, id, 'the import', ({ stage }) => stage === 'importing');
      first.kill('SIGKILL');
      await first.ended;
      const cancelling = run(['cancel', id], folder);
      await until('both to be ready', () => simulator.items().every(({ status }) => status === 8));
      await cancelling;
      expect(await untilOver(place, id)).toMatchObject({
        state: 'failed',
        error: { code: 'CANCELLED', message: expect.stringContaining('stays as box (new') },
      });
      expect(simulator.items().map(({ name }) => name)).toEqual([
        'box',
        expect.stringMatching(/^box \(new, ovaferry/),
      ]);
      expect([...simulator.world.items()][0]).toBe(old);
    }));

  test('replace that fails leaves the old one, by its name', () =>
    withPlace({}, async (place) => {
      const { folder, simulator } = place;
      await writeOva(join(folder, 'old.ova'), packageOf([5_000]));
      await uploadTo(simulator, join(folder, 'old.ova'), { name: 'box' });
      const [before] = [...simulator.world.items()];
      simulator.world.faults.add({ on: { method: 'PUT', file: 'disk' }, do: REFUSED });
      const replace = ['--to', 'lab', '--if-exists', 'replace'];
      expect((await run(['upload', place.source, ...replace], folder)).code).toBe(1);
      expect([...simulator.world.items()]).toEqual([before]);
      expect(before?.name).toBe('box');
    }));

  test('replace is for one job at a time, also where targets are two names of one server', () =>
    withPlace({ importTimeMs: 1_500 }, async (place) => {
      const { folder, simulator, redis } = place;
      const target = `{url: "${simulator.url}", org: acme, user: admin, password: simulated, catalog: appliances}`;
      await writeFile(
        join(folder, 'ovaferry.yaml'),
        `redis: ${redis.url}\ntargets:\n  lab: ${target}\n  alias: ${target}\nworker: {lease: 3s}\n`,
      );
      await writeOva(join(folder, 'old.ova'), packageOf([5_000]));
      await uploadTo(simulator, join(folder, 'old.ova'), { name: 'box' });
      const worker = place.worker();
      await isUp(worker);
      const replace = ['--if-exists', 'replace', '--name', 'box'];
      await writeOva(join(folder, 'other.ova'), packageOf([7_000]));
      const both = await json(
        ['enqueue', 'other.ova', '--to', 'lab', '--to', 'alias', ...replace],
        folder,
      );
      let most = 0;
      const looking = setInterval(() => {
        most = Math.max(most, simulator.items().length);
      }, 10);
      const over = await untilAllOver(
        place,
        both.map(({ id }) => id),
      );
      clearInterval(looking);
      expect(over.map(({ state }) => state)).toEqual(['completed', 'completed']);
      expect(simulator.items()).toMatchObject([{ name: 'box', status: 8, description: '' }]);
      expect(most).toBe(2); // the old one and one new one, never two new ones
      expect(worker.output.stderr).toContain('NAME_RESERVED');
    }));

  test('fail is told at once which job has the name', () =>
    withPlace({ size: 4_000_000, rateBytesPerSecond: 1_000_000 }, async (place) => {
      const { folder } = place;
      await isUp(place.worker());
      const id = await enqueued(place);
      await until('some bytes', () => received(place) > 10_000);
      await writeOva(join(folder, 'other.ova'), packageOf([5_000]));
      const other = await run(['upload', 'other.ova', '--to', 'lab', '--name', 'box'], folder);
      expect(other.code).toBe(1);
      expect(other.stdout).toContain(`job ${id} is uploading an item box there`);
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
    }));
});
