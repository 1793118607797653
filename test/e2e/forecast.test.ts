import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { json, run, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { enqueued, isUp, type Place, untilOver, withPlace } from '../helpers/place.ts';

interface Plan {
  readonly name: string;
  readonly expectedAt: string | null;
  readonly deadline: string | null;
}

async function change({ folder }: Place, edit: (text: string) => string): Promise<void> {
  const file = join(folder, 'ovaferry.yaml');
  await writeFile(file, edit(await readFile(file, 'utf8')));
}

const target = (more: string) => (text: string) =>
  text.replace('    catalog: appliances\n', `    catalog: appliances\n    ${more}\n`);

describe('a dry run', () => {
  test('says when uploads would arrive, and which of them too late', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const sizes = { small: 1_000_000, large: 8_000_000 };
      for (const [name, size] of Object.entries(sizes)) {
        await writeOva(join(folder, `${name}.ova`), packageOf([size], name));
      }
      const dry = (...more: string[]) => [
        ...['enqueue', 'large.ova', 'small.ova', '--to', 'lab', '--dry-run', ...more],
      ];
      const unknown = await run(dry(), folder);
      expect(unknown.stdout).toMatch(/how long it takes to lab is not known/);

      await change(place, target('bandwidth: 1MB/s'));
      const seconds = ({ expectedAt }: Plan) => (Date.parse(expectedAt ?? '') - Date.now()) / 1_000;
      const deadline = new Date(Date.now() + 5_000).toISOString();
      const listed = await json<Plan[]>(dry('--deadline', deadline), folder);
      expect(listed.map(({ name }) => name)).toEqual(['large', 'small']);
      const [large, small] = listed.map(seconds) as [number, number];
      expect(large).toBeGreaterThan(5);
      expect(large).toBeLessThan(9);
      expect(small - large).toBeCloseTo(1, 0);
      const sorted = await json<Plan[]>(dry('--order', 'smallest'), folder);
      expect(sorted.map(seconds)[1]).toBeLessThan(2);
      const said = await run(dry('--deadline', deadline), folder);
      expect(said).toMatchObject({ code: 0 });
      expect(said.stdout).toMatch(/2 would be uploaded.*the last by .*; 2 would miss the deadline/);

      const later = new Date(Date.now() + 3_600_000).toISOString();
      const delayed = await json<Plan[]>(dry('--start-at', later), folder);
      expect(delayed.map(seconds)[0]).toBeGreaterThan(3_600);

      // What is queued already goes beside it, on the same line.
      await json(['enqueue', place.source, '--to', 'lab'], folder);
      const beside = await json<Plan[]>(dry(), folder);
      expect(beside.map(seconds)[1]).toBeGreaterThan(small + 0.5);
    }));
});

describe('the forecast of a batch', () => {
  interface Batch {
    readonly expectedAt: string | null;
    readonly endedAt: string | null;
    readonly late: readonly unknown[];
  }
  const batchOf = ({ folder }: Place, name: string) =>
    json<Batch>(['status', '--batch', name, '--summary'], folder);

  test('under a limit of ours is what the limit allows, also right after the first upload', () =>
    withPlace({ size: 20_000_000 }, async (place) => {
      const { folder } = place;
      await change(place, (text) => text.replace('worker:\n', 'worker:\n  bandwidth: 2MB/s\n'));
      await isUp(place.worker());
      const other = await writeOva(join(folder, 'other.ova'), packageOf([20_000_000], 'other'));
      await json(['enqueue', place.source, other, '--to', 'lab', '--batch', 'b'], folder);
      // The rate is taken from slices of ten seconds that are over.
      const foretold: number[] = [];
      let ended: string | null = null;
      const look = async (): Promise<string | undefined> => {
        const { expectedAt, endedAt } = await (await place.ferry()).batch('b');
        if (expectedAt !== null) foretold.push(Date.parse(expectedAt));
        ended = endedAt;
        return endedAt ?? undefined;
      };
      await until('the end of the batch', look, { everyMs: 600 });
      const end = Date.parse(ended ?? '');
      const late = foretold.slice(-5); // the last before the end
      expect(foretold.length).toBeGreaterThan(5);
      for (const one of [...foretold.slice(10), ...late])
        expect(Math.abs(one - end)).toBeLessThan(8_000);
    }));

  test('heeds --start-at, and what will be late for it', () =>
    withPlace({}, async (place) => {
      const { folder, source } = place;
      await change(place, target('bandwidth: 1MB/s'));
      const start = new Date(Date.now() + 3_600_000).toISOString();
      const deadline = new Date(Date.now() + 1_800_000).toISOString();
      const when = ['--start-at', start, '--deadline', deadline];
      await json(['enqueue', source, '--to', 'lab', '--batch', 'later', ...when], folder);
      const { expectedAt, late } = await batchOf(place, 'later');
      expect(Date.parse(expectedAt ?? '')).toBeGreaterThan(Date.parse(start));
      expect(late).toHaveLength(1);
    }));
});

describe('status', () => {
  test('says why jobs wait: no worker, a window, bytes in flight, a target at fault', () =>
    withPlace({ importTimeMs: 60_000 }, async (place) => {
      const { folder } = place;
      const why = async () => (await run(['status'], folder)).stderr;
      const id = await enqueued(place, { pool: 'nas' });
      expect(await why()).toMatch(/lab: no worker takes its jobs of the pool nas/);
      const { hour } = { hour: (new Date().getUTCHours() + 3) % 24 };
      const from = `${hour}`.padStart(2, '0');
      await change(
        place,
        (text) =>
          `timezone: UTC\n${target(`windows: [{from: "${from}:00", to: "${from}:30"}]`)(text)}`,
      );
      expect(await why()).toMatch(/lab: 1 waits: it is outside its window, which opens .*\d:00/);
      await json(['cancel', id], folder);
      await change(place, (text) => text.replace(/ {4}windows.*\n/, '    inFlight: 1.1MB\n'));
      await isUp(place.worker());
      await enqueued(place);
      const other = await writeOva(join(folder, 'other.ova'), packageOf([900_000], 'other'));
      await json(['enqueue', other, '--to', 'lab'], folder);
      await until('why', async () =>
        /1 waits: of target lab 1 MB are in flight, 1\.1 MB may be/.test(await why()),
      );
    }));

  test('says it of a target at fault, which goes on with a corrected password', () =>
    withPlace({ config: { password: 'wrong' } }, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('a brake', async () => (await (await place.ferry()).brakes()).get('lab'));
      expect((await run(['status'], place.folder)).stderr).toContain('lab is held: AUTH_REJECTED');
      await change(place, (text) => text.replace('password: wrong', 'password: simulated'));
      await until('that it was read', () => worker.output.stderr.includes('limits are as'));
      expect(await run(['resume', 'lab'], place.folder)).toMatchObject({ code: 0 });
      expect(await untilOver(place, id)).toMatchObject({ state: 'completed' });
    }));
});
