import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { JobView } from '../../src/jobs/job-view.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { json, run, until } from '../helpers/cli.ts';
import { digest, packageOf, writeOva } from '../helpers/packages.ts';
import { isUp, type Place, untilAllOver, untilOver, withPlace } from '../helpers/place.ts';
import { uploadTo } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

interface Clouds extends Place {
  readonly prod: Simulator;
  readonly far: Simulator;
}

/** Three vCDs; lab has the package box. */
async function withClouds<T>(
  options: SimulatorOptions & { readonly size?: number; readonly beside?: SimulatorOptions },
  use: (clouds: Clouds) => Promise<T>,
): Promise<T> {
  const { beside, ...own } = options;
  const others = { prod: {} as Simulator, far: {} as Simulator };
  const store = mkdtempSync(join(tmpdir(), 'ovaferry-test-'));
  const target = (name: string, { url }: Simulator): string =>
    `  ${name}:\n    url: ${url}\n    org: acme\n    user: admin\n    password: simulated\n    catalog: appliances\n`;
  try {
    others.prod = await startSimulator({ store: join(store, 'prod'), ...beside });
    others.far = await startSimulator({ store: join(store, 'far'), ...beside });
    const more = target('prod', others.prod) + target('far', others.far);
    return await withPlace({ ...own, store: join(store, 'lab'), config: { more } }, (place) =>
      use({ ...place, ...others }),
    );
  } finally {
    await others.prod.close?.();
    await others.far.close?.();
    rmSync(store, { recursive: true, force: true });
  }
}

const uploaded = ({ simulator, source }: Place): Promise<void> => uploadTo(simulator, source);

const offered = ({ world }: Simulator): number =>
  [...world.items()].filter(({ entity }) => entity.download !== undefined).length;

describe('ovaferry download', () => {
  test('survives SIGKILL: another worker goes on from the bytes on the disk', () =>
    withClouds({ size: 12 * MiB, rateBytesPerSecond: 6 * MiB }, async (clouds) => {
      const { folder, simulator, members } = clouds;
      await uploaded(clouds);
      const first = clouds.worker();
      await isUp(first);
      const { stdout } = await run(
        ['download', 'lab/appliances/box', '-o', 'out', '--detach'],
        folder,
      );
      const id = stdout.trim();
      const part = join(folder, 'out', 'box', 'box-disk1.vmdk.part');
      await until('half of it', () => existsSync(part) && statSync(part).size > 6 * MiB);
      first.kill('SIGKILL');
      await first.ended;
      const have = statSync(part).size;
      const before = simulator.world.totals.served;
      clouds.worker();
      const job = await untilOver(clouds, id);
      expect(job).toMatchObject({ state: 'completed', operation: 'download', kind: 'ovf' });
      expect(job.result?.path).toBe(join(folder, 'out', 'box'));
      expect(simulator.world.totals.served - before).toBeLessThan(12 * MiB - have + 600_000);
      const disk = readFileSync(join(folder, 'out', 'box', 'box-disk1.vmdk'));
      expect(digest(disk)).toBe(digest(members[2]?.bytes as Buffer));
      expect(readdirSync(join(folder, 'out', 'box')).sort()).toEqual([
        ...['box-disk1.vmdk', 'box.mf', 'box.ovf'],
      ]);
      expect(offered(simulator)).toBe(0);
    }));

  test('works by itself where nobody does, is idempotent, and says what is wrong', () =>
    withClouds({}, async (clouds) => {
      const { folder } = clouds;
      await uploaded(clouds);
      const [first] = await json(['download', 'lab/appliances/box', '-o', 'out'], folder);
      expect(first).toMatchObject({
        state: 'completed',
        existing: false,
        source: 'lab/appliances/box',
      });
      const [same] = await json(['download', 'lab/appliances/box', '-o', 'out'], folder);
      expect(same).toMatchObject({ id: first?.id, existing: true });
      const archives = await json(['download', 'lab/appliances/b*', '-o', 'out', '--ova'], folder);
      expect(archives).toHaveLength(1);
      execFileSync('tar', ['-tf', join(folder, 'out', 'box.ova')]);
      // What was fetched and is gone is fetched again.
      rmSync(join(folder, 'out', 'box'), { recursive: true });
      const [again] = await json(['download', 'lab/appliances/box', '-o', 'out'], folder);
      expect(again).toMatchObject({ existing: false, state: 'completed' });
      const missing = await run(['download', 'lab/appliances/none', '-o', 'out'], folder);
      expect([missing.code, missing.stdout]).toEqual([
        1,
        expect.stringContaining('ITEM_NOT_FOUND'),
      ]);
      const pattern = await run(['download', 'lab/appliances/x*', '-o', 'out'], folder);
      expect([pattern.code, pattern.stderr]).toEqual([2, expect.stringContaining('matches x*')]);
      const usage = await run(['download', 'lab/appliances'], folder);
      expect([usage.code, usage.stderr]).toEqual([
        2,
        expect.stringContaining('TARGET/CATALOG/ITEM'),
      ]);
    }));

  test('cancelled in the middle leaves nothing, here or there', () =>
    withClouds({ size: 16 * MiB, rateBytesPerSecond: MiB }, async (clouds) => {
      const { folder, simulator } = clouds;
      await uploaded(clouds);
      await isUp(clouds.worker());
      const { stdout } = await run(
        ['download', 'lab/appliances/box', '-o', 'out', '--detach'],
        folder,
      );
      const part = join(folder, 'out', 'box', 'box-disk1.vmdk.part');
      await until('some of it', () => existsSync(part) && statSync(part).size > MiB);
      const [job] = await json(['cancel', stdout.trim()], folder);
      expect(job).toMatchObject({ state: 'failed', error: { code: 'CANCELLED' } });
      expect(existsSync(join(folder, 'out'))).toBe(false);
      expect(offered(simulator)).toBe(0);
    }));

  test('two of one item at once disable it only when the last is done', () =>
    withClouds({ size: 6 * MiB, rateBytesPerSecond: 2 * MiB }, async (clouds) => {
      const { folder, simulator } = clouds;
      await uploaded(clouds);
      await isUp(clouds.worker());
      const wanted = ['one', 'two'].map((out) => ({
        item: 'lab/appliances/box',
        folder: join(folder, out),
      }));
      const started = await (await clouds.ferry()).download(wanted);
      const jobs = await untilAllOver(
        clouds,
        started.map(({ id }) => id),
      );
      expect(jobs.map(({ state }) => state)).toEqual(['completed', 'completed']);
      expect(offered(simulator)).toBe(0);
      const posts = simulator.requests.filter(({ path }) => /disableDownload/.test(path));
      expect(posts).toHaveLength(1);
    }));
});

describe('ovaferry copy', () => {
  const digests = ({ items }: Simulator): string[] =>
    items()
      .map(({ name, files }) => `${name} ${files.map(({ sha256 }) => sha256).join(' ')}`)
      .sort();

  test('survives SIGKILL between two clouds, and no byte goes twice to the second', () =>
    withClouds({ size: 12 * MiB, rateBytesPerSecond: 6 * MiB }, async (clouds) => {
      const { folder, simulator, prod } = clouds;
      await uploaded(clouds);
      const first = clouds.worker();
      await isUp(first);
      const { stdout } = await run(
        ['copy', 'lab/appliances/box', 'prod/appliances', '--detach'],
        folder,
      );
      const arrived = () => prod.items()[0]?.files[1]?.received ?? 0;
      await until('half of it', () => arrived() > 5 * MiB);
      first.kill('SIGKILL');
      await first.ended;
      clouds.worker();
      const job = await untilOver(clouds, stdout.trim());
      expect(job).toMatchObject({ state: 'completed', target: 'prod', name: 'box' });
      expect(digests(prod)).toEqual(digests(simulator));
      const ranges = prod.items()[0]?.files[1]?.ranges ?? [];
      for (const { arrived: sent, stored } of ranges) expect(sent).toBe(stored);
      expect(offered(simulator)).toBe(0);
    }));

  test('of a whole catalog is a mirror: said again it skips, and brings what is new', () =>
    withClouds({ size: 50_000 }, async (clouds) => {
      const { folder, simulator, prod } = clouds;
      await uploaded(clouds);
      const second = await writeOva(join(folder, 'second.ova'), packageOf([20_000], 'second'));
      await uploadTo(simulator, second);
      const mirror = () => json(['copy', 'lab/appliances', 'prod/appliances', '--all'], folder);
      expect((await mirror()).map(({ state }) => state)).toEqual(['completed', 'completed']);
      expect(digests(prod)).toEqual(digests(simulator));
      const { served } = simulator.world.totals;
      expect((await mirror()).map(({ state }) => state)).toEqual(['completed', 'completed']);
      expect(simulator.world.totals.served).toBe(served);
      const third = await writeOva(join(folder, 'third.ova'), packageOf([10_000], 'third'));
      await uploadTo(simulator, third);
      expect(await mirror()).toHaveLength(3);
      expect(digests(prod)).toEqual(digests(simulator));
      const within = await json(['copy', 'lab/appliances/box', 'lab/archive'], folder);
      expect(within).toEqual([expect.objectContaining({ state: 'completed', catalog: 'archive' })]);
      expect(simulator.items().filter(({ name }) => name === 'box')).toHaveLength(2);
    }));

  test('after an upload, with --then: the package crosses the line once', () =>
    withClouds({ size: 200_000 }, async (clouds) => {
      const { folder, source, simulator, prod, far, members } = clouds;
      const jobs = await json<JobView[]>(
        ['upload', source, '--to', 'lab', '--then', 'prod', '--then', 'far'],
        folder,
      );
      expect(jobs.map(({ target, state }) => [target, state])).toEqual([
        ['lab', 'completed'],
        ['prod', 'completed'],
        ['far', 'completed'],
      ]);
      for (const cloud of [simulator, prod, far]) {
        expect(cloud.items()).toHaveLength(1);
        expect(cloud.items()[0]?.files[1]?.sha256).toBe(digest(members[2]?.bytes as Buffer));
      }
      expect(simulator.world.totals.arrived).toBeLessThan(210_000);
      const wrong = await run(
        ['upload', source, '--to', 'lab', '--then', 'nowhere', '--again'],
        folder,
      );
      expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('no target nowhere')]);
    }));
});
