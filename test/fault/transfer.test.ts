import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  linkSync,
  openSync,
  renameSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { partName } from '../../src/ovf/digest-lines.ts';
import type { FaultRule } from '../../src/simulator/faults.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { until } from '../helpers/cli.ts';
import {
  descriptorOf,
  digest,
  isoOf,
  type Member,
  manifestOf,
  packageOf,
  writeFolder,
  writeOva,
} from '../helpers/packages.ts';
import { atOnce } from '../helpers/side-by-side.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadOptions, type UploadWorld, withUploads } from '../helpers/upload.ts';

const SIZE = 400_000;
const CHUNK = 100_000;
const onDisk = { method: 'PUT', path: 'box-disk1\\.vmdk$' };
const HTML = '<!DOCTYPE html><html><body>Blocked by policy</body></html>';

/** One item, ready, with the bytes of the source: however it got there. */
function expectWhole({ simulator }: UploadWorld, members: Member[]): void {
  const items = simulator.items();
  expect(items).toHaveLength(1);
  expect(items[0]?.status).toBe(8);
  expect(items[0]?.description).toBe('');
  const disk = items[0]?.files.find(({ name }) => name === 'box-disk1.vmdk');
  expect(disk?.sha256).toBe(digest(members[2]?.bytes as Buffer));
}

/** Every fault that was planned must have bitten. */
function expectBitten({ simulator }: UploadWorld): void {
  for (const { name, hits } of simulator.world.faults.counts()) {
    expect({ name, hits }).toMatchObject({ hits: expect.any(Number) });
    expect(hits).toBeGreaterThan(0);
  }
}

async function withFault(
  rules: FaultRule[],
  use: (world: UploadWorld, source: string, members: Member[]) => Promise<void>,
  options: SimulatorOptions = {},
): Promise<void> {
  await withFolder((folder) =>
    withUploads(
      options,
      async (world) => {
        for (const rule of rules) world.simulator.world.faults.add(rule);
        const members = packageOf([SIZE]);
        await use(world, await writeOva(join(folder, 'box.ova'), members), members);
        expectBitten(world);
      },
      { timeouts: { connectMs: 20_000, stallMs: 3_000 } },
    ),
  );
}

describe('one upload survives, without help and without a byte doubled', () => {
  const cases: [name: string, rule: FaultRule, code: string][] = [
    ['a busy cell', { on: onDisk, do: { status: 503 } }, 'SERVER_UNAVAILABLE'],
    ['a storage error without a body', { on: onDisk, do: { status: 500 } }, 'SERVER_UNAVAILABLE'],
    [
      'a range the server refuses',
      { on: onDisk, after: 1, do: { status: 416 } },
      'OFFSET_MISMATCH',
    ],
    [
      'a connection cut in the middle',
      { on: onDisk, after: 1, do: { resetAfterBytes: 50_000 } },
      'NETWORK',
    ],
    ['a connection cut at once', { on: onDisk, do: { resetAfterBytes: 0 } }, 'NETWORK'],
    ['a lost reply to a range', { on: onDisk, after: 1, do: { loseReply: true } }, 'NETWORK'],
    [
      'a lost reply to the last range',
      { on: onDisk, after: 3, do: { loseReply: true } },
      'NETWORK',
    ],
    [
      'a server that goes silent',
      { on: onDisk, after: 1, do: { stallAfterBytes: 30_000 } },
      'TRANSFER_STALLED',
    ],
    [
      'a firewall with an HTML page',
      { on: onDisk, do: { status: 403, body: HTML } },
      'SERVER_UNAVAILABLE',
    ],
    [
      'a lost reply to the descriptor',
      { on: { method: 'PUT', path: 'descriptor' }, do: { loseReply: true } },
      'NETWORK',
    ],
    [
      'a descriptor that never arrived',
      { on: { method: 'PUT', path: 'descriptor' }, do: { status: 502, body: HTML } },
      'SERVER_UNAVAILABLE',
    ],
    [
      'a descriptor that was cut off',
      { on: { method: 'PUT', path: 'descriptor' }, do: { resetAfterBytes: 100 } },
      'NETWORK',
    ],
    [
      'a lost reply to the creation',
      { on: { method: 'POST', path: 'action/upload' }, do: { loseReply: true } },
      'NETWORK',
    ],
    [
      'a creation that never happened',
      { on: { method: 'POST', path: 'action/upload' }, do: { status: 503 } },
      'SERVER_UNAVAILABLE',
    ],
    [
      'an outage while the import is followed',
      { on: { method: 'GET', path: '/api/vAppTemplate' }, after: 2, times: 2, do: { status: 503 } },
      'SERVER_UNAVAILABLE',
    ],
    [
      'a 200 that stored less',
      { on: onDisk, after: 1, do: { storeAtMost: 40_000 } },
      'OFFSET_MISMATCH',
    ],
    [
      'a 200 to the last range that stored less',
      { on: onDisk, after: 3, do: { storeAtMost: 40_000 } },
      '',
    ],
    [
      'a connection that is closed after each reply',
      { on: {}, times: 0, do: { closeAfter: true } },
      '',
    ],
    ['a line that is slow', { on: onDisk, do: { bytesPerSecond: 400_000 } }, ''],
    ['an outage of everything', { on: onDisk, after: 1, do: { outageMs: 400 } }, 'NETWORK'],
    [
      'a proxy that refuses bodies of that size',
      { on: { ...onDisk, largerThan: 70_000 }, times: 0, do: { status: 413 } },
      '',
    ],
    [
      'a proxy that cuts bodies of that size without a word',
      { on: { ...onDisk, largerThan: 70_000 }, times: 0, do: { resetAfterBytes: 0 } },
      'NETWORK',
    ],
    [
      'bytes of a broken connection that arrive later',
      { on: onDisk, after: 1, do: { landLater: { bytes: 60_000, ms: 150 } } },
      'NETWORK',
    ],
    [
      'a catalog that does not answer at first',
      { on: { method: 'GET', path: '/api/catalog/' }, do: { status: 500 } },
      'SERVER_UNAVAILABLE',
    ],
  ];

  test.each(cases)('%s', async (_name, rule, code) => {
    await withFault([rule], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      if (code !== '') expect(world.retried.map((error) => error.code)).toContain(code);
      const stored = world.simulator.items()[0]?.files[1]?.ranges ?? [];
      const kept = stored.reduce((sum, range) => sum + range.stored, 0);
      expect(kept).toBe(SIZE);
      const posts = world.simulator.requests.filter(
        ({ method, path, status }) =>
          method === 'POST' && path.includes('upload') && status === 201,
      );
      expect(posts.length).toBeLessThanOrEqual(1);
    });
  });

  test('a counter that lags behind, as of another cell', async () => {
    const lagging: FaultRule = {
      on: { method: 'GET', path: '/api/vAppTemplate' },
      after: 3,
      times: 3,
      do: { counterLagMs: 60_000 },
    };
    const cut: FaultRule = { on: onDisk, after: 1, do: { resetAfterBytes: 50_000 } };
    await withFault([lagging, cut], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      expect(world.retried.map(({ code }) => code)).toContain('OFFSET_MISMATCH');
    });
  });

  test('a counter that is too large, until it is right again', async () => {
    const lying: FaultRule = {
      on: { method: 'GET', path: '/api/vAppTemplate' },
      after: 3,
      times: 4,
      do: { counterOffset: 10_000_000 },
    };
    const cut: FaultRule = { on: onDisk, after: 1, do: { resetAfterBytes: 50_000 } };
    await withFault([lying, cut], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
    });
  });

  test('a server that says 416 for ever is not asked for ever', async () => {
    const refusing: FaultRule = { on: onDisk, after: 1, times: 0, do: { status: 416 } };
    await withFault([refusing], async (world, source) => {
      const upload = world.upload(source, { chunkBytes: CHUNK, patienceMs: 1_500 });
      await expect(upload).rejects.toMatchObject({ code: 'OFFSET_MISMATCH' });
      expect(world.retried.length).toBeLessThan(12);
    });
  });

  test('a wish to come again later is respected', async () => {
    const busy: FaultRule = {
      on: onDisk,
      after: 1,
      do: { status: 503, headers: { 'retry-after': '1' } },
    };
    await withFault([busy], async (world, source, members) => {
      const startedAt = performance.now();
      await world.upload(source, { chunkBytes: CHUNK });
      expect(performance.now() - startedAt).toBeGreaterThan(1_000);
      expectWhole(world, members);
    });
  });

  test('a session that ends in the middle is renewed without anybody noticing', async () => {
    const rule = { on: onDisk, after: 1, do: { expireSessions: true } } as const;
    await withFault([rule], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      expect(world.retried).toEqual([]);
    });
  });

  test('sessions that end again right after each login', async () => {
    const rule = {
      on: { path: '/api/vAppTemplate' },
      times: 3,
      do: { expireSessions: true },
    } as const;
    await withFault([rule], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      expect(world.retried).toEqual([]);
      expect(world.simulator.world.sessions.attempts).toBe(4);
    });
  });

  test('many faults at once', async () => {
    const rules: FaultRule[] = [
      { on: onDisk, do: { resetAfterBytes: 10 } },
      { on: onDisk, after: 1, do: { status: 500 } },
      { on: onDisk, after: 2, do: { loseReply: true } },
      { on: onDisk, after: 3, do: { resetAfterBytes: 1_000 } },
      { on: { method: 'GET', path: 'vAppTemplate' }, after: 4, do: { status: 502 } },
    ];
    await withFault(rules, async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
    });
  });

  test('an empty file whose only reply was lost', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        world.simulator.world.faults.add({ on: onDisk, do: { loseReply: true } });
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([0, 10])));
        expect(world.simulator.items()[0]?.status).toBe(8);
        expectBitten(world);
      }),
    ));
});

test.each([0, 1, 2])(
  'an empty file is sent, also if the server counts too much from its look %i on',
  (after) =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        world.simulator.world.faults.add({
          ...{ on: { method: 'GET', path: '/api/vAppTemplate' }, after, times: 2 },
          do: { counterOffset: 10_000_000 },
        });
        const source = await writeOva(join(folder, 'box.ova'), packageOf([0, 10]));
        await world.upload(source, { signal: AbortSignal.timeout(4_000) });
        expect(world.simulator.items()[0]?.status).toBe(8);
        expectBitten(world);
      }),
    ),
);

describe('a file that is not what its digest says never completes', () => {
  test('not even an empty one', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const [descriptor, manifest, disk] = packageOf([100]) as [Member, Member, Member];
        const members = [descriptor, manifest, { ...disk, bytes: Buffer.alloc(0) }];
        const source = await writeOva(join(folder, 'box.ova'), members);
        await expect(world.upload(source)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
        expect(world.simulator.items()[0]?.status).toBe(0);
      }),
    ));

  test('nor a folder of which a file was replaced between two runs', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const [descriptor, , disk] = packageOf([300_000]) as [Member, Member, Member];
        const source = await writeFolder(folder, [descriptor, disk]);
        world.simulator.world.faults.add({ on: onDisk, after: 1, times: 0, do: { status: 503 } });
        await expect(
          world.upload(source, { chunkBytes: CHUNK, patienceMs: 50 }),
        ).rejects.toMatchObject({ code: 'SERVER_UNAVAILABLE' });
        await writeFolder(folder, [{ ...disk, bytes: Buffer.alloc(300_000, 7) }]);
        world.simulator.world.faults.clear();
        await expect(world.upload(source)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
        await world.cleanUp();
        expect(world.simulator.items()).toEqual([]);
      }),
    ));
});

describe('a file that somebody writes to while its only range is on the way', () => {
  /** More than is read ahead. */
  const BIG = 2_000_000;
  const [, , disk] = packageOf([BIG]) as [Member, Member, Member];
  const parts = [0, 1].map((i) => ({
    name: partName(disk.name, i),
    bytes: disk.bytes.subarray(i * (BIG / 2), (i + 1) * (BIG / 2)),
  }));
  const describing = (extra = ''): Member => ({
    name: 'box.ovf',
    bytes: descriptorOf([{ href: disk.name, extra }]),
  });
  const whole = [describing(), disk];
  const vouched = [describing(), { name: 'box.mf', bytes: manifestOf([disk]) }, disk];
  const ofMedia = {
    kind: 'media',
    written: 'box.iso',
    files: [{ name: 'box.iso', bytes: isoOf(BIG) }],
  };
  type Case = {
    written: string;
    at?: number;
    files: Member[];
    asked?: UploadOptions;
    isArchive?: boolean;
  };
  const cases: [name: string, one: Case][] = [
    ['a media image', ofMedia],
    ['a disk of an OVA', { written: 'box.ova', files: whole, isArchive: true }],
    ['a disk of a folder', { written: disk.name, files: whole }],
    [
      'a part of a disk',
      {
        written: parts[0]?.name ?? '',
        files: [describing(` ovf:chunkSize="${BIG / 2}"`), ...parts],
      },
    ],
    ['with --verify off', { written: disk.name, files: vouched, asked: { verify: 'off' } }],
    ['after it was hashed', { ...ofMedia, asked: { ifExists: 'skip' } }],
    // What was read before is what the digest says.
    ['with a digest', { written: disk.name, files: vouched, at: BIG - 100 }],
  ];

  /** Does something to the file between two blocks of it. */
  async function whileSending(
    { written, files, asked, isArchive = false }: Case,
    disturb: (path: string) => void,
    check: (world: UploadWorld, uploading: Promise<unknown>) => Promise<void>,
  ): Promise<void> {
    await withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = isArchive
          ? await writeOva(join(folder, 'box.ova'), files)
          : await writeFolder(folder, files);
        utimesSync(join(folder, written), 1_000, 1_000); // times are no finer than a tick of the clock
        let calls = 0;
        const assertOwned = (): void => {
          if (world.meter.current.snapshot().stage !== 'transferring') return;
          calls += 1;
          if (calls === 2) disturb(join(folder, written));
        };
        await check(world, world.upload(source, { ...asked, assertOwned }));
        expect(calls).toBeGreaterThanOrEqual(2);
      }),
    );
  }

  test.each(cases)('is never mixed: %s', (_name, one) =>
    whileSending(
      one,
      (path) => {
        const file = openSync(path, 'r+');
        writeSync(file, 'written by another', one.at ?? 10);
        closeSync(file);
      },
      async (world, uploading) => {
        await expect(uploading).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
        expect(world.simulator.items().filter(({ status }) => status > 0)).toEqual([]);
        await world.cleanUp();
        expect(world.simulator.items()).toEqual([]);
      },
    ),
  );

  const touches: [name: string, touch: (path: string) => void][] = [
    ['another mode', (path) => chmodSync(path, 0o640)],
    ['a link for a backup', (path) => linkSync(path, `${path}.backup`)],
    [
      'another file of the same bytes and time',
      (path) => {
        execFileSync('cp', ['-p', path, `${path}.copy`]);
        renameSync(`${path}.copy`, path);
      },
    ],
  ];
  test.each(touches)('goes on if all that has changed is %s', (_name, touch) =>
    whileSending(ofMedia, touch, async (world, uploading) => {
      await uploading;
      expect(world.simulator.items()).toMatchObject([{ status: 1 }]);
    }),
  );

  const touch = (path: string): void => utimesSync(path, 1, 1);

  test('goes on with another time where digests of everything say that it is the same', () =>
    whileSending({ written: disk.name, files: vouched }, touch, async (world, uploading) => {
      await uploading;
      expect(world.simulator.items()[0]?.files[1]?.sha256).toBe(digest(disk.bytes));
    }));

  test('ends with another time where nothing says that it is the same', () =>
    whileSending({ written: disk.name, files: whole }, touch, async (_world, uploading) => {
      await expect(uploading).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    }));

  test('ends with another time where bytes have gone twice, which no digest speaks of', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        const source = await writeFolder(folder, vouched);
        world.simulator.world.faults.add({ on: onDisk, do: { resetAfterBytes: 100_000 } });
        const uploading = world.upload(source);
        uploading.catch(() => undefined);
        while (world.retried.length === 0) await new Promise(setImmediate);
        touch(join(folder, disk.name));
        await expect(uploading).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
      }),
    ));
});

describe('a process that dies', () => {
  /** Dies just before the n-th write to the target, as a lost lease or a SIGKILL would have it. */
  function dyingAt(n: number): UploadOptions & { readonly seen: () => number } {
    let writes = 0;
    return {
      chunkBytes: CHUNK,
      seen: () => writes,
      assertOwned() {
        writes += 1;
        if (writes > n) throw new FerryError('LOCK_LOST', 'died here');
      },
    };
  }

  test('before any write of an upload is followed by one that ends it: whole, once', async () => {
    const whole = dyingAt(Number.POSITIVE_INFINITY);
    await withFault([], async (world, source) => {
      await world.upload(source, whole);
    });
    expect(whole.seen()).toBeGreaterThan(8);
    const deaths = Array.from({ length: whole.seen() }, (_, n) => n);
    await atOnce(6, deaths, (n) =>
      withFault([], async (world, source, members) => {
        const dying = dyingAt(n);
        await expect(world.upload(source, dying)).rejects.toMatchObject({ code: 'LOCK_LOST' });
        await world.upload(source, { chunkBytes: CHUNK });
        expectWhole(world, members);
        const ranges = world.simulator.items()[0]?.files[1]?.ranges ?? [];
        expect(ranges.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(SIZE);
      }),
    );
  });

  test('after the creation, before it could remember it, is found by its mark', async () => {
    await withFault([], async (world, source, members) => {
      await expect(world.upload(source, dyingAt(2))).rejects.toThrow('died here');
      // What Redis had when the process died: that something was about to be created.
      world.remembered.current = { ...world.remembered.current, creating: true, item: null };
      await world.upload(source);
      expectWhole(world, members);
    });
  });

  test("never takes somebody else's item of the same name for its own", async () => {
    await withFault([], async (world, source) => {
      await world.upload(source);
      world.remembered.current = { ...world.remembered.current, creating: true, item: null };
      const other = world.upload(source, { jobId: 'lab-2', installation: 'def456' });
      await expect(other).rejects.toMatchObject({ code: 'NAME_TAKEN' });
      expect(world.simulator.items()).toHaveLength(1);
    });
  });

  test("is resumed from the server's count, checking digests of what it did not send", async () => {
    await withFault([], async (world, source, members) => {
      await expect(world.upload(source, dyingAt(9))).rejects.toThrow('died here');
      const before = world.simulator.items()[0]?.files[1]?.received ?? 0;
      expect(before).toBeGreaterThan(0);
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      const ranges = world.simulator.items()[0]?.files[1]?.ranges ?? [];
      expect(ranges.some(({ start }) => start === before)).toBe(true);
    });
  });
});

describe('the server', () => {
  test('that ends the transfer session gets a new item, once', async () => {
    await withFault(
      [],
      async (world, source, members) => {
        const slow = { on: onDisk, after: 1, do: { delayMs: 1_500 } };
        world.simulator.world.faults.add(slow);
        await world.upload(source, { chunkBytes: CHUNK });
        expectWhole(world, members);
      },
      { transferIdleMs: 1_000 },
    );
  });

  test('that loses a transfer session is sent it once more, and then somebody has to decide', async () => {
    const expiring: FaultRule = { on: onDisk, after: 3, times: 0, do: { expireTransfer: true } };
    await withFault([expiring], async (world, source) => {
      const upload = world.upload(source, { chunkBytes: CHUNK });
      await expect(upload).rejects.toMatchObject({ code: 'RESEND_LIMIT' });
      // 3 of 4 chunks, then nothing fits any more: less than the upload's own size again.
      expect(world.simulator.world.totals.arrived).toBeLessThan(2.2 * SIZE);
      await world.cleanUp();
      expect(world.simulator.items()).toEqual([]);
    });
  });

  test.each([
    ['for longer than its sessions live is sent everything again, as often as that is', 500],
    ['for less has lost what it was sent', 3_600_000],
  ])('that is out of reach %s', async (_what, sessionIdleMs) => {
    const outages = [3, 6, 9].map(
      (after): FaultRule => ({
        ...{ name: `outage ${after}`, on: onDisk, after, do: { outageMs: 800 } },
      }),
    );
    const use = async (world: UploadWorld, source: string, members: Member[]): Promise<void> => {
      const upload = world.upload(source, { chunkBytes: CHUNK, pace: { sessionIdleMs } });
      if (sessionIdleMs > 500) {
        await expect(upload).rejects.toMatchObject({ code: 'RESEND_LIMIT' });
        world.simulator.world.faults.clear();
        return;
      }
      await upload;
      expectWhole(world, members);
      expect(world.simulator.world.totals.discarded).toBeGreaterThan(2 * SIZE);
      expect(world.remembered.current).toMatchObject({ restarts: 0, bytesLost: 0 });
    };
    await withFault(outages, use, { transferIdleMs: 500 });
  });

  test('may lose small uploads several times over, and is given ten of them', async () => {
    const expiring: FaultRule = { on: onDisk, after: 3, times: 0, do: { expireTransfer: true } };
    await withFault([expiring], async (world, source) => {
      const upload = world.upload(source, { chunkBytes: CHUNK, pace: { resendFloorBytes: 1e9 } });
      await expect(upload).rejects.toMatchObject({ code: 'RESEND_LIMIT', facts: { restarts: 11 } });
      expect(world.remembered.current).toMatchObject({ restarts: 11 });
    });
  });

  test('whose import fails by its own fault is sent everything once more; then it is over', async () => {
    const error = { majorCode: 500, minorCode: 'INTERNAL_SERVER_ERROR', message: 'no host' };
    const failing: FaultRule = { on: onDisk, times: 2, do: { failImport: error } };
    await withFault([failing], async (world, source) => {
      await expect(world.upload(source)).rejects.toMatchObject({ code: 'IMPORT_FAILED' });
      expect(world.simulator.items()).toEqual([]);
      await expect(world.upload(source)).rejects.toMatchObject({ code: 'RESEND_LIMIT' });
    });
  });

  test('that names the package as the cause is believed', async () => {
    const error = { majorCode: 400, minorCode: 'BAD_REQUEST', message: 'unsupported hardware' };
    await withFault([{ on: onDisk, do: { failImport: error } }], async (world, source) => {
      await expect(world.upload(source)).rejects.toMatchObject({
        code: 'IMPORT_REJECTED',
        message: expect.stringContaining('unsupported hardware'),
      });
    });
  });

  test('whose quota is full keeps the job', async () => {
    const error = { majorCode: 400, minorCode: 'VDC_STORAGE_QUOTA_EXCEEDED', message: 'full' };
    await withFault([{ on: onDisk, do: { failImport: error } }], async (world, source) => {
      await expect(world.upload(source)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
    });
  });

  test('whose catalog can not be read does not prove that the item is gone', async () => {
    await withFault([], async (world, source, members) => {
      const cut: FaultRule = { on: onDisk, after: 1, do: { resetAfterBytes: 10 } };
      const forbidden: FaultRule = {
        on: { method: 'GET', path: '/api/(vAppTemplate|catalog|query)' },
        after: 6,
        times: 6,
        do: { status: 403 },
      };
      for (const rule of [forbidden, cut]) world.simulator.world.faults.add(rule);
      const upload = world.upload(source, { chunkBytes: CHUNK });
      await expect(upload).rejects.toMatchObject({ code: 'CATALOG_FORBIDDEN' });
      world.simulator.world.faults.clear();
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
    });
  });

  test('whose catalog is out of sight when a run begins is waited for, as a fault of its own', async () => {
    await withFault([], async (world, source, members) => {
      const cut: FaultRule = { on: onDisk, after: 1, times: 0, do: { status: 503 } };
      world.simulator.world.faults.add(cut);
      const first = world.upload(source, { chunkBytes: CHUNK, patienceMs: 30 });
      await expect(first).rejects.toMatchObject({ code: 'SERVER_UNAVAILABLE' });
      world.simulator.world.faults.clear();
      const [catalog] = world.simulator.world.org.catalogs;
      const items = catalog?.items.splice(0) ?? [];
      const hidden = world.simulator.world.org.catalogs.shift();
      const second = world.upload(source, { chunkBytes: CHUNK });
      await expect(second).rejects.toMatchObject({ code: 'CATALOG_FORBIDDEN' });
      if (hidden) world.simulator.world.org.catalogs.unshift(hidden);
      hidden?.items.push(...items);
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
    });
  });

  test('on which bytes of a dead writer arrive after the take-over keeps them: none is sent again', async () => {
    const late: FaultRule = {
      on: onDisk,
      after: 1,
      do: { landLater: { bytes: 100_000, ms: 300 } },
    };
    await withFault([late], async (world, source, members) => {
      // The writer dies with its connection.
      await expect(
        world.upload(source, { chunkBytes: CHUNK, patienceMs: 1 }),
      ).rejects.toMatchObject({ code: 'NETWORK' });
      await world.upload(source, { chunkBytes: CHUNK, settleMs: 500 });
      expectWhole(world, members);
      expect(world.simulator.world.totals.thrownAway).toBe(0);
      const ranges = world.simulator.items()[0]?.files[1]?.ranges ?? [];
      expect(ranges.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(SIZE);
    });
  });

  test('that refuses the address for a while loses nothing of what it has', async () => {
    const refusing: FaultRule = { on: onDisk, after: 2, times: 4, do: { status: 404 } };
    await withFault([refusing], async (world, source, members) => {
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
      expect(world.retried.map(({ code }) => code)).toContain('TRANSFER_REFUSED');
      const posts = world.simulator.requests.filter(
        ({ method, path }) => method === 'POST' && path.includes('action/upload'),
      );
      expect(posts).toHaveLength(1);
    });
  });

  test('whose task was cancelled by a person is believed', async () => {
    await withFault([], async (world, source) => {
      world.simulator.world.faults.add({ on: onDisk, after: 1, do: { resetAfterBytes: 10 } });
      const uploading = world.upload(source, { chunkBytes: CHUNK });
      uploading.catch(() => undefined);
      while (world.retried.length === 0) await new Promise(setImmediate);
      for (const { entity } of world.simulator.world.items()) entity.task.status = 'canceled';
      await expect(uploading).rejects.toMatchObject({ code: 'REMOVED_ON_SERVER' });
    });
  });

  test('whose task ended without the item being ready is not waited for for ever', async () => {
    await withFault(
      [],
      async (world, source) => {
        const uploading = world.upload(source);
        uploading.catch(() => undefined);
        const isImporting = () => world.meter.current.snapshot().stage === 'importing';
        await until('the import', isImporting);
        for (const { entity } of world.simulator.world.items()) {
          entity.task.status = 'success';
          entity.files = [];
        }
        await expect(uploading).rejects.toMatchObject({
          code: 'IMPORT_FAILED',
          message: expect.stringMatching(/ended as success, but the item is not ready/),
        });
      },
      { importTimeMs: 60_000 },
    );
  });

  test('which has given up an item that is only remembered as just created is given another', async () => {
    await withFault([], async (world, source, members) => {
      // As a Redis that was put back to the moment after the creation: nobody has seen the item since.
      const died = world.upload(source, {
        around(_call, when, name) {
          if (name === 'getEntity' && when === 'before') throw new FerryError('LOCK_LOST', 'died');
        },
      });
      await expect(died).rejects.toMatchObject({ code: 'LOCK_LOST' });
      expect(world.remembered.current.item).toMatchObject({ taskHref: null });
      for (const item of [...world.simulator.world.items()]) world.simulator.world.remove(item);
      await world.upload(source);
      expectWhole(world, members);
      expect(world.remembered.current.restarts).toBe(1);
    });
  });

  test('on which somebody removed the item is not given another', async () => {
    await withFault([], async (world, source) => {
      world.simulator.world.faults.add({ on: onDisk, after: 1, do: { resetAfterBytes: 10 } });
      const uploading = world.upload(source, { chunkBytes: CHUNK });
      uploading.catch(() => undefined);
      while (world.retried.length === 0) await new Promise(setImmediate);
      for (const item of [...world.simulator.world.items()]) world.simulator.world.remove(item);
      await expect(uploading).rejects.toMatchObject({ code: 'REMOVED_ON_SERVER' });
      expect(world.simulator.items()).toEqual([]);
    });
  });

  test('that is away for longer than the patience gets its slot back, and later the rest', async () => {
    const outage = { on: onDisk, after: 1, times: 3, do: { status: 503 } };
    await withFault([outage], async (world, source, members) => {
      await expect(
        world.upload(source, { chunkBytes: CHUNK, patienceMs: 60 }),
      ).rejects.toMatchObject({ code: 'SERVER_UNAVAILABLE' });
      await world.upload(source, { chunkBytes: CHUNK });
      expectWhole(world, members);
    });
  });

  test('is never sent a file that changed under us', async () => {
    await withFault([], async (world, source) => {
      world.simulator.world.faults.add({ on: onDisk, after: 1, do: { resetAfterBytes: 10 } });
      const uploading = world.upload(source, { chunkBytes: CHUNK });
      uploading.catch(() => undefined);
      while (world.retried.length === 0) await new Promise(setImmediate);
      await writeFile(source, 'something else');
      await expect(uploading).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
      await world.cleanUp();
      expect(world.simulator.items()).toEqual([]);
    });
  });
});

test('cleaning up survives a server that is away', async () => {
  const away: FaultRule = { on: { path: '/api/task' }, do: { status: 503 } };
  await withFault([away], async (world, source) => {
    world.simulator.world.faults.add({ on: onDisk, after: 2, times: 0, do: { status: 400 } });
    await expect(world.upload(source, { chunkBytes: CHUNK })).rejects.toMatchObject({
      code: 'VCD_REJECTED',
    });
    expect(world.simulator.items()).toHaveLength(1);
    await world.cleanUp();
    expect(world.simulator.items()).toEqual([]);
  });
});
