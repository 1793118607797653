import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { json, run, until } from '../helpers/cli.ts';
import { isoOf } from '../helpers/packages.ts';
import { isUp, type Place, untilOver, withPlace } from '../helpers/place.ts';
import { uploadTo } from '../helpers/upload.ts';

interface Kept {
  readonly item: string;
  readonly done: boolean;
  readonly error: { readonly code: string } | null;
}

/** A vCD that has the media a, b and c in its catalog. */
function withItems<T>(
  use: (place: Place) => Promise<T>,
  options: SimulatorOptions = {},
): Promise<T> {
  return withPlace(options, async (place) => {
    const sources = ['a', 'b', 'c'].map((name) => join(place.folder, `${name}.iso`));
    for (const source of sources) writeFileSync(source, isoOf(40_000));
    for (const source of sources) await uploadTo(place.simulator, source);
    return use(place);
  });
}

const named = ({ simulator }: Place, catalog = 'appliances'): string[] =>
  simulator
    .items()
    .filter((item) => item.catalog === catalog)
    .map(({ name }) => name)
    .sort();

describe('housekeeping', () => {
  test('moves, renames and describes, by name and by pattern', () =>
    withItems(async (place) => {
      const { folder, simulator } = place;
      const would = await run(['move', 'lab/appliances/*', 'lab/archive', '--dry-run'], folder);
      expect(would.stdout.trim().split('\n')).toHaveLength(3);
      expect(named(place)).toEqual(['a', 'b', 'c']);
      const moved = await json<Kept[]>(['move', 'lab/appliances/{a,b}', 'lab/archive'], folder);
      expect(moved).toEqual([
        { item: 'lab/appliances/a', done: true, error: null },
        { item: 'lab/appliances/b', done: true, error: null },
      ]);
      expect([named(place), named(place, 'archive')]).toEqual([['c'], ['a', 'b']]);
      expect((await run(['rename', 'lab/archive/a', 'renamed'], folder)).code).toBe(0);
      expect((await run(['describe', 'lab/archive/*', 'of May'], folder)).code).toBe(0);
      expect(named(place, 'archive')).toEqual(['b', 'renamed']);
      const described = simulator.items().filter(({ description }) => description === 'of May');
      expect(described.map(({ name }) => name).sort()).toEqual(['b', 'renamed']);
      const taken = await json<Kept[]>(['rename', 'lab/archive/b', 'renamed'], folder);
      expect(taken).toEqual([
        expect.objectContaining({
          done: false,
          error: expect.objectContaining({ code: 'NAME_TAKEN' }),
        }),
      ]);
    }));

  test('removes only what somebody has said yes to', () =>
    withItems(async (place) => {
      const { folder } = place;
      const asked = await run(['rm', 'lab/appliances/*'], folder);
      expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
      expect((await run(['rm', 'lab/appliances/*', '--dry-run'], folder)).code).toBe(0);
      expect(named(place)).toEqual(['a', 'b', 'c']);
      const removed = await run(['rm', 'lab/appliances/a', 'lab/appliances/b', '--yes'], folder);
      expect([removed.code, removed.stdout.trim().split('\n').length]).toEqual([0, 2]);
      expect(named(place)).toEqual(['c']);
      const none = await run(['rm', 'lab/appliances/zzz', '--yes'], folder);
      expect([none.code, none.stderr]).toEqual([
        2,
        expect.stringContaining('no item of lab/appliances matches zzz'),
      ]);
    }));

  test('leaves alone what an upload is still filling', () =>
    withPlace({ size: 4_000_000, rateBytesPerSecond: 1_000_000 }, async (place) => {
      const { folder, source, simulator } = place;
      await isUp(place.worker());
      const { stdout } = await run(['enqueue', source, '--to', 'lab'], folder);
      await until('an item', () => simulator.items().length > 0);
      const [kept] = await json<Kept[]>(['rm', 'lab/appliances/box', '--yes'], folder);
      expect(kept).toMatchObject({
        done: false,
        error: { code: 'USAGE', message: expect.stringContaining(stdout.trim()) },
      });
      expect(await untilOver(place, stdout.trim())).toMatchObject({ state: 'completed' });
    }));

  test('survives a lost reply, and a server that is busy', () =>
    withItems(async (place) => {
      const { folder, simulator } = place;
      const { faults } = simulator.world;
      faults.add({
        name: 'lost',
        on: { method: 'POST', path: 'action/move' },
        do: { loseReply: true },
      });
      faults.add({
        name: 'gone',
        on: { method: 'DELETE', path: 'catalogItem' },
        do: { loseReply: true },
      });
      const busy =
        '<Error xmlns="http://www.vmware.com/vcloud/v1.5" majorErrorCode="400" minorErrorCode="BUSY_ENTITY" message="busy"/>';
      faults.add({
        name: 'busy',
        on: { method: 'PUT', path: '/api/media/' },
        do: { status: 400, body: busy },
      });
      expect((await run(['move', 'lab/appliances/a', 'lab/archive'], folder)).code).toBe(0);
      expect((await run(['rm', 'lab/appliances/b', '--yes'], folder)).code).toBe(0);
      expect((await run(['rename', 'lab/appliances/c', 'd'], folder)).code).toBe(0);
      expect([named(place), named(place, 'archive')]).toEqual([['d'], ['a']]);
      expect(faults.counts().map(({ hits }) => hits)).toEqual([1, 1, 1]);
    }));

  test('fills a subscribed catalog from its source, and says so of what has none', () =>
    withItems(
      async (place) => {
        const { folder, simulator } = place;
        const { world } = simulator;
        const tools = world.orgs
          .flatMap(({ catalogs }) => catalogs)
          .find(({ name }) => name === 'tools');
        const [item] = world.items();
        if (item && tools) tools.items.push({ ...item, catalog: tools, name: 'shared' });
        const synced = await run(['sync', 'lab/subscribed'], folder);
        expect([synced.code, synced.stdout]).toEqual([
          0,
          expect.stringContaining('lab/subscribed synchronised'),
        ]);
        expect(named(place, 'subscribed')).toEqual(['shared']);
        expect((await run(['sync', 'lab/subscribed/shared'], folder)).code).toBe(0);
        const other = await run(['sync', 'lab/appliances'], folder);
        expect([other.code, other.stdout]).toEqual([
          1,
          expect.stringContaining('subscribed catalogs'),
        ]);
      },
      { importTimeMs: 50 },
    ));
});

test('ovaferry deploy makes a vApp of a package and powers it on', () =>
  withPlace({ size: 30_000 }, async ({ folder, source, simulator }) => {
    const wanted = ['deploy', source, '--to', 'lab', '--vdc', 'acme-vdc', '--power-on'];
    const [job] = await json(wanted, folder);
    expect(job).toMatchObject({
      state: 'completed',
      catalog: 'acme-vdc',
      name: 'box',
      kind: 'ovf',
    });
    expect(simulator.items()).toEqual([expect.objectContaining({ kind: 'vApp', status: 4 })]);
    expect(await json(wanted, folder)).toEqual([expect.objectContaining({ existing: true })]);
    const other = await run([...wanted, '--network', 'nonsense', '--again'], folder);
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('--network nonsense')]);
  }));
