import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import type { FaultRule } from '../../src/simulator/faults.ts';
import { addCatalog } from '../../src/simulator/organizations.ts';
import { until } from '../helpers/cli.ts';
import {
  descriptorOf,
  digest,
  isoOf,
  type Member,
  packageOf,
  writeOva,
} from '../helpers/packages.ts';
import { atOnce } from '../helpers/side-by-side.ts';
import { withFolder } from '../helpers/temp.ts';
import { clientOf, type UploadWorld, withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

interface Fetching extends UploadWorld {
  /** Where downloads go. */
  readonly to: string;
  readonly members: Member[];
}

/** A simulator that has a package, and a folder for what is fetched. */
function withItem<T>(
  sizes: readonly number[],
  use: (world: Fetching) => Promise<T>,
  options: Parameters<typeof withUploads>[0] = {},
): Promise<T> {
  return withFolder((folder) =>
    withUploads({ store: join(folder, 'store'), ...options }, async (world) => {
      const members = packageOf(sizes);
      const source = await writeOva(join(folder, 'box.ova'), members);
      await world.upload(source);
      world.remembered.current = NO_CHECKPOINT;
      return use({ ...world, to: join(folder, 'to'), members });
    }),
  );
}

/** Bytes of the disks that were given out. */
const served = ({ simulator, members }: Fetching): number =>
  simulator.world.totals.served - smallBytes(members);

/** The descriptor, and the heads of files, are looked at besides. */
function smallBytes(members: readonly Member[]): number {
  return members
    .filter(({ name }) => name.endsWith('.ovf'))
    .reduce((n, m) => n + m.bytes.length, 0);
}

/** Begins a download, and stops it once `when` holds. */
async function breakOff(
  world: Fetching,
  when: () => boolean,
  { code = 'SHUTDOWN', ...options }: BreakOff = {},
): Promise<void> {
  const stop = new AbortController();
  const running = world.download('box', world.to, { ...options, signal: stop.signal });
  running.catch(() => undefined);
  await until('the moment to stop', when);
  stop.abort(new FerryError(code, 'stopped'));
  await expect(running).rejects.toMatchObject({ code });
}

interface BreakOff {
  readonly code?: 'SHUTDOWN' | 'CANCELLED';
  readonly format?: 'files' | 'ova';
}

const isOffered = ({ simulator }: Fetching): boolean =>
  [...simulator.world.items()].some(({ entity }) => entity.download !== undefined);

function expectFolder({ to, members }: Fetching, name = 'box'): void {
  const folder = join(to, name);
  const [descriptor, , ...disks] = members;
  const names = [`${name}.mf`, `${name}.ovf`, ...disks.map((disk) => disk.name)];
  expect(readdirSync(folder).sort()).toEqual(names.sort());
  for (const disk of disks)
    expect(digest(readFileSync(join(folder, disk.name)))).toBe(digest(disk.bytes));
  expect(
    readFileSync(join(folder, `${name}.ovf`)).equals(descriptor?.bytes ?? Buffer.alloc(0)),
  ).toBe(true);
  const lines = readFileSync(join(folder, `${name}.mf`), 'utf8')
    .trim()
    .split('\n');
  expect(lines).toHaveLength(disks.length + 1);
  for (const line of lines) {
    const [, file = '', sum] = /^SHA256\((.+)\)= ([0-9a-f]{64})$/.exec(line) ?? [];
    expect(digest(readFileSync(join(folder, file)))).toBe(sum);
  }
}

describe('a download', () => {
  test('gives a folder with descriptor, manifest and disks, and disables the item again', () =>
    withItem([3 * MiB, 0, 17], async (world) => {
      const result = await world.download('box', world.to);
      expect(result.path).toBe(join(world.to, 'box'));
      expectFolder(world);
      expect(isOffered(world)).toBe(false);
      expect(world.meter.current.snapshot()).toMatchObject({
        ...{ stage: 'done', bytesSent: 3 * MiB + 17, bytesTotal: 3 * MiB + 17, bytesResent: 0 },
      });
    }));

  test('as an archive has descriptor, manifest and disks in this order, and tar reads it', () =>
    withItem([2 * MiB, 5], async (world) => {
      const { path = '' } = await world.download('box', world.to, { format: 'ova' });
      expect(path).toBe(join(world.to, 'box.ova'));
      expect(readdirSync(world.to)).toEqual(['box.ova']);
      const listed = execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n');
      expect(listed).toEqual(['box.ovf', 'box.mf', 'box-disk1.vmdk', 'box-disk2.vmdk']);
      execFileSync('tar', ['-xf', path, '-C', world.to]);
      for (const { name, bytes } of world.members) {
        expect(digest(readFileSync(join(world.to, name)))).toBe(digest(bytes));
      }
    }));

  test.each(['files', 'ova'] as const)('as %s uploads again unchanged', (format) =>
    withItem([MiB + 1, 300], async (world) => {
      const { path = '' } = await world.download('box', world.to, { format });
      world.remembered.current = NO_CHECKPOINT;
      await world.upload(path, { name: 'again' });
      const [first, again] = world.simulator.items();
      expect(again).toMatchObject({ name: 'again', status: 8 });
      expect(again?.files.map(({ sha256 }) => sha256)).toEqual(
        first?.files.map(({ sha256 }) => sha256),
      );
    }),
  );

  test('whose files are wanted in parts has them in parts again', () =>
    withFolder((folder) =>
      withUploads({ store: join(folder, 'store') }, async ({ upload, download, remembered }) => {
        const disk = randomBytes(2 * MiB + 5);
        const extra = ` ovf:chunkSize="${MiB}"`;
        const descriptor = descriptorOf([{ href: 'd.vmdk', size: disk.length, extra }]);
        const parts = [0, 1, 2].map((i) => ({
          name: `d.vmdk.00000000${i}`,
          bytes: disk.subarray(i * MiB, (i + 1) * MiB),
        }));
        const source = await writeOva(join(folder, 'box.ova'), [
          { name: 'box.ovf', bytes: descriptor },
          ...parts,
        ]);
        await upload(source);
        remembered.current = NO_CHECKPOINT;
        const { path = '' } = await download('box', join(folder, 'to'), { format: 'ova' });
        const listed = execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n');
        expect(listed).toEqual(['box.ovf', 'box.mf', ...parts.map(({ name }) => name)]);
        remembered.current = NO_CHECKPOINT;
        await upload(path, { name: 'again' });
      }),
    ));

  test.each([
    ['tools.iso', undefined, 'tools.iso'],
    ['firmware.bin', true, 'firmware.bin'],
  ] as const)('of the media image %s is the same file', (file, media, made) =>
    withFolder((folder) =>
      withUploads({ store: join(folder, 'store') }, async (world) => {
        const bytes = media ? randomBytes(300_000) : isoOf(300_000);
        writeFileSync(join(folder, file), bytes);
        await world.upload(join(folder, file), media ? { media } : {});
        world.remembered.current = NO_CHECKPOINT;
        const name = world.simulator.items()[0]?.name ?? '';
        const { path = '' } = await world.download(name, join(folder, 'to'));
        expect(path).toBe(join(folder, 'to', made));
        expect(readFileSync(path).equals(bytes)).toBe(true);
      }),
    ),
  );
});

describe('a download that is stopped', () => {
  test.each(['files', 'ova'] as const)('as %s goes on from the bytes on the disk', (format) =>
    withItem(
      [4 * MiB],
      async (world) => {
        await breakOff(world, () => served(world) > 2 * MiB, { format });
        const name = format === 'ova' ? 'box.ova.part' : join('box', 'box-disk1.vmdk.part');
        const have = statSync(join(world.to, name)).size;
        expect(have).toBeGreaterThan(MiB);
        const before = served(world);
        await world.download('box', world.to, { format });
        if (format === 'files') expectFolder(world);
        // What was on its way when it was stopped comes again, and the heads that are compared.
        const missing = 4 * MiB - have;
        expect(served(world) - before).toBeLessThan(missing + 400_000);
        expect(world.meter.current.snapshot().bytesResent).toBe(0);
      },
      { rateBytesPerSecond: 8 * MiB },
    ),
  );

  test('on a machine that went down meanwhile trusts only what was forced to its disk', () =>
    withItem(
      [4 * MiB],
      async (world) => {
        await breakOff(world, () => served(world) > 2 * MiB);
        const part = join(world.to, 'box', 'box-disk1.vmdk.part');
        // As after a power cut: the length is there, and the bytes are not.
        const length = statSync(part).size;
        truncateSync(part, 0);
        truncateSync(part, length);
        const { download } = world.remembered.current;
        world.remembered.current = {
          ...world.remembered.current,
          download: download && {
            ...download,
            parts: Object.fromEntries(
              Object.entries(download.parts).map(([name, one]) => [
                name,
                { ...one, boot: 'another' },
              ]),
            ),
          },
        };
        await world.download('box', world.to);
        expectFolder(world);
      },
      { rateBytesPerSecond: 8 * MiB },
    ));

  test('around any call is finished by the next run, and nothing is left over', async () => {
    let calls = 0;
    await withItem([300_000, 20], (world) =>
      world.download('box', world.to, {
        around(call) {
          calls = call;
        },
      }),
    );
    expect(calls).toBeGreaterThan(8);
    const deaths = Array.from({ length: calls }, (_, i) => i + 1).flatMap((at) =>
      (['before', 'after'] as const).map((moment) => ({ at, moment })),
    );
    await atOnce(6, deaths, ({ at, moment }) =>
      withItem([300_000, 20], async (world) => {
        const died = world.download('box', world.to, {
          around(call, when) {
            if (call === at && when === moment) throw new FerryError('LOCK_LOST', 'died');
          },
        });
        await died.catch(() => undefined);
        await world.download('box', world.to);
        expectFolder(world);
        expect(isOffered(world)).toBe(false);
      }),
    );
  });

  test('leaves nothing behind when it is given up', () =>
    withItem(
      [2 * MiB],
      async (world) => {
        await breakOff(world, () => served(world) > MiB, { code: 'CANCELLED' });
        expect(existsSync(join(world.to, 'box'))).toBe(true);
        await world.cleanUpDownload();
        expect(existsSync(world.to)).toBe(false);
        expect(isOffered(world)).toBe(false);
      },
      { rateBytesPerSecond: 4 * MiB },
    ));
});

describe('a download over a bad line', () => {
  test.each<[string, FaultRule['do'], number]>([
    ['breaks off', { resetAfterBytes: 200_000 }, 4],
    ['ends too early', { status: 206, headers: { 'content-range': 'bytes 0-9/1048576' } }, 2],
    ['is answered with an outage', { outageMs: 300 }, 1],
    ['is answered 503', { status: 503 }, 2],
    ['has run out of its addresses', { expireTransfer: true }, 2],
    ['is refused by something in between', { status: 403, body: '<html></html>' }, 2],
  ])('that %s comes whole', (_what, action, times) =>
    withItem([MiB], async (world) => {
      world.simulator.world.faults.add({
        ...{ name: 'bad', on: { method: 'GET', path: 'vmdk' }, after: 1, times, do: action },
      });
      await world.download('box', world.to, { patienceMs: 20_000 });
      expectFolder(world);
      expect(isOffered(world)).toBe(false);
      expect(world.simulator.world.faults.counts()).toEqual([{ name: 'bad', hits: times }]);
    }),
  );

  test('of a server that knows no ranges comes whole', () =>
    withItem(
      [MiB],
      async (world) => {
        world.simulator.world.faults.add({
          ...{ on: { method: 'GET', path: 'vmdk' }, after: 1, do: { resetAfterBytes: 400_000 } },
        });
        await world.download('box', world.to);
        expectFolder(world);
      },
      { downloadRanges: false },
    ));

  test('whose server takes its time to offer it waits, and does not ask twice', () =>
    withItem(
      [50_000],
      async (world) => {
        const asked = () =>
          world.simulator.requests.filter(({ path }) => path.includes('enableDownload')).length;
        await breakOff(world, () => asked() === 1);
        await world.download('box', world.to);
        expectFolder(world);
        expect(asked()).toBe(1);
      },
      { downloadTimeMs: 400 },
    ));
});

describe('what a server offers', () => {
  test('that is another package by then is fetched anew, and never mixed', () =>
    withItem(
      [3 * MiB],
      async (world) => {
        await breakOff(world, () => served(world) > MiB);
        const other = randomBytes(3 * MiB);
        const [item] = world.simulator.world.items();
        writeFileSync(item?.entity.received[1]?.sink.path ?? '', other);
        delete item?.entity.download;
        await world.download('box', world.to);
        const made = readFileSync(join(world.to, 'box', 'box-disk1.vmdk'));
        expect(digest(made)).toBe(digest(other));
        expect(world.remembered.current.restarts).toBe(1);
      },
      { rateBytesPerSecond: 8 * MiB },
    ));

  test('that was removed and made anew under its name is fetched anew, and never mixed', () =>
    withItem(
      [3 * MiB],
      async (world) => {
        await breakOff(world, () => served(world) > MiB);
        const { simulator, to } = world;
        const begun = world.remembered.current;
        for (const item of [...simulator.world.items()]) simulator.world.remove(item);
        const members = packageOf([3 * MiB]);
        world.remembered.current = NO_CHECKPOINT;
        await world.upload(await writeOva(join(to, '..', 'box.ova'), members), { jobId: 'lab-9' });
        world.remembered.current = begun;
        await world.download('box', to);
        expectFolder({ ...world, members });
      },
      { rateBytesPerSecond: 8 * MiB },
    ));

  test.each(['files', 'ova'] as const)(
    'as %s is fetched again where it went from the disk',
    (format) =>
      withItem([300_000], async (world) => {
        const name = format === 'ova' ? 'box.ova.part' : join('box', 'box-disk1.vmdk.part');
        const running = world.download('box', world.to, {
          format,
          // Between the last byte and the names.
          assertOwned() {
            const { download } = world.remembered.current;
            const isWhole = Object.values(download?.parts ?? {}).some(
              ({ digests }) => digests?.length,
            );
            if (isWhole && !download?.whole) rmSync(join(world.to, name), { force: true });
          },
        });
        await running.catch(() => undefined);
        await world.download('box', world.to, { format }).catch(() => undefined);
        const { path = '' } = await world.download('box', world.to, { format });
        if (format === 'files') expectFolder(world);
        else execFileSync('tar', ['-xOf', path, 'box-disk1.vmdk']);
      }),
  );

  test('that can not be disabled again is whole all the same, and that is told', () =>
    withItem([1_000], async (world) => {
      const on = { path: 'disableDownload' };
      world.simulator.world.faults.add({ on, times: 0, do: { status: 400, body: 'nope' } });
      const { warnings } = await world.download('box', world.to);
      expect(warnings.join()).toContain('still enabled for download');
      expectFolder(world);
    }));

  test('is given up while it is being enabled: it does not stay so', () =>
    withItem(
      [1_000],
      async (world) => {
        await breakOff(
          world,
          () => world.simulator.requests.some(({ path }) => path.includes('enableDownload')),
          { code: 'CANCELLED' },
        );
        expect(world.remembered.current.offer).not.toBeNull();
        await world.cleanUpDownload();
        await until(
          'its end',
          () =>
            isOffered(world) ||
            world.simulator.requests.some(({ path }) => path.includes('disable')) ||
            undefined,
        );
      },
      { downloadTimeMs: 300 },
    ));

  test('with damaged bytes is not taken where its own manifest says what they should be', () =>
    withFolder((folder) =>
      withUploads({ store: join(folder, 'store') }, async (world) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([200_000]));
        await world.upload(source, { verify: 'server' });
        world.remembered.current = NO_CHECKPOINT;
        const rule = { on: { method: 'GET', path: 'vmdk' }, do: { damage: true as const } };
        world.simulator.world.faults.add({ ...rule, times: 0 });
        const to = join(folder, 'to');
        await expect(world.download('box', to)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        await world.cleanUpDownload();
        expect(existsSync(to)).toBe(false);
        world.simulator.world.faults.clear();
        world.remembered.current = NO_CHECKPOINT;
        const { files = [] } = await world.download('box', to);
        expect(files).toEqual([expect.objectContaining({ verified: true, size: 200_000 })]);
      }),
    ));

  test.each(['../../out.vmdk', '/etc/passwd', 'x://y/z', 'box.ovf'])(
    'with a file called %s is refused',
    (href) =>
      withItem([10_000], async (world) => {
        const [item] = world.simulator.world.items();
        const bytes = descriptorOf([{ href, size: 10_000 }]);
        const path = item?.entity.received[0]?.sink.path ?? '';
        const { stored } = item?.entity.received[0]?.sink ?? { stored: 0 };
        writeFileSync(
          path,
          Buffer.concat([bytes, Buffer.alloc(Math.max(0, stored - bytes.length), ' ')]),
        );
        Object.assign(item?.entity.received[1] ?? {}, { name: href });
        await expect(world.download('box', world.to)).rejects.toMatchObject({
          code: 'PACKAGE_UNSAFE',
        });
      }),
  );

  test('is not there: the error says so', () =>
    withItem([10], async (world) => {
      await expect(world.download('nothing', world.to)).rejects.toMatchObject({
        ...{ code: 'ITEM_NOT_FOUND', kind: 'permanent' },
      });
    }));

  test('that was enabled by somebody else stays so', () =>
    withItem([10], async (world) => {
      const [item] = world.simulator.world.items();
      if (item) item.entity.download = { key: 'somebody', touchedAt: Date.now() };
      let entered: string[] = [];
      await world.download('box', world.to, {
        around: (_call, when, name) => {
          if (when === 'before') entered = [...entered, name];
        },
      });
      expect(entered).not.toContain('enableDownload');
    }));

  test('to who may not download is nothing', () =>
    withFolder((folder) =>
      withUploads({ store: join(folder, 'store') }, async ({ simulator, upload, remembered }) => {
        await upload(await writeOva(join(folder, 'box.ova'), packageOf([10])));
        remembered.current = NO_CHECKPOINT;
        const credentials = () =>
          Promise.resolve({ kind: 'password', user: 'reader', password: 'simulated' } as const);
        const vcd = clientOf(simulator, { credentials });
        const context = { signal: new AbortController().signal };
        const { items } = await vcd.getCatalog('appliances', context);
        const item = await vcd.getItem(items[0]?.href ?? '', context);
        const entity = await vcd.getEntity(item.entityHref, context);
        await expect(vcd.enableDownload(entity, context)).rejects.toMatchObject({
          code: 'DOWNLOAD_FORBIDDEN',
        });
        vcd.close();
      }),
    ));
});

test("another organisation's catalog is read until there is an own one of the name", () =>
  withUploads({}, async ({ simulator, vcd }) => {
    const context = { signal: new AbortController().signal };
    const read = () => vcd.getCatalog('tools', context, { toRead: true });
    const theirs = await read();
    await expect(vcd.getCatalog('tools', context)).rejects.toMatchObject({
      code: 'CATALOG_NOT_FOUND',
      message: expect.stringContaining('globex shares one of that name'),
    });
    addCatalog(simulator.world.org, 'tools');
    const ours = await read();
    expect(ours.href).not.toBe(theirs.href);
    expect((await vcd.getCatalog('tools', context)).href).toBe(ours.href);
  }));

describe('where something of that name is already, a download', () => {
  test('fails, leaves it, or replaces it, as it is told', () =>
    withItem([1_000], async (world) => {
      await world.download('box', world.to);
      const disk = join(world.to, 'box', 'box-disk1.vmdk');
      writeFileSync(disk, 'mine');
      const again = (ifExists: 'fail' | 'skip' | 'replace') => {
        world.remembered.current = NO_CHECKPOINT;
        return world.download('box', world.to, { ifExists });
      };
      await expect(again('fail')).rejects.toMatchObject({ code: 'DESTINATION_EXISTS' });
      await world.cleanUpDownload();
      expect((await again('skip')).warnings.join()).toContain('is there already');
      expect(readFileSync(disk, 'utf8')).toBe('mine');
      await again('replace');
      expectFolder(world);
    }));

  test('to a folder that may not be written says why', () =>
    withItem([1_000], async (world) => {
      writeFileSync(world.to, 'a file');
      await expect(world.download('box', world.to)).rejects.toMatchObject({
        code: 'DESTINATION_UNWRITABLE',
      });
    }));
});
