import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import type { TransferWindow } from '../../src/jobs/limits/transfer-window.ts';
import { until } from '../helpers/cli.ts';
import { expectWhole } from '../helpers/expect-whole.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;

/** A window that a test opens and closes. */
function toggled(phase: ReturnType<TransferWindow['phase']>) {
  const window = { phase: () => now, closedForMs: () => 3_600_000 };
  let now = phase;
  return {
    window,
    set(next: typeof phase) {
      now = next;
    },
  };
}

describe('the end of a window for transfers', () => {
  test('trickles: a little often enough, then the rest, and not a byte twice', () =>
    withFolder((folder) =>
      withUploads({ rateBytesPerSecond: 16 * MiB, transferIdleMs: 2_000 }, async (world) => {
        const { simulator, upload } = world;
        const members = packageOf([32 * MiB]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        const { window, set } = toggled('open');
        const done = upload(source, { window, chunkBytes: 64 * MiB });
        const disk = () => simulator.items()[0]?.files[1];
        await until('the first bytes', () => (disk()?.received ?? 0) > MiB / 2);
        set('trickle');
        const ranges = () => disk()?.ranges ?? [];
        await until('trickling', () => ranges().length > 8);
        // Longer than a transfer may be idle: it lives by what trickles.
        await sleep(2_500);
        const little = ranges().slice(2, -1);
        expect(little.length).toBeGreaterThan(8);
        for (const { stored } of little) expect(stored).toBe(4096);
        expect(disk()?.received).toBeLessThan(32 * MiB);
        set('open');
        await done;
        expectWhole({ simulator, members });
        const sent = ranges().reduce((sum, { arrived }) => sum + arrived, 0);
        const kept = ranges().reduce((sum, { stored }) => sum + stored, 0);
        expect(sent - kept).toBe(0);
        expect(simulator.items()).toHaveLength(1);
      }),
    ));

  test('drops: what was begun is removed, nothing is counted against the upload, and it begins anew', () =>
    withFolder((folder) =>
      withUploads({ rateBytesPerSecond: 16 * MiB }, async ({ simulator, upload, remembered }) => {
        const members = packageOf([24 * MiB]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        for (let night = 0; night < 3; night += 1) {
          const { window, set } = toggled('open');
          const dropped = upload(source, { window });
          const outcome = expect(dropped).rejects.toMatchObject({
            code: 'WINDOW_CLOSED',
            kind: 'transient',
            retryAfterMs: 3_600_000,
          });
          await until('bytes', () => (simulator.items()[0]?.files[1]?.received ?? 0) > MiB);
          set('closed');
          await outcome;
          expect(simulator.items()).toEqual([]);
          expect(remembered.current).toMatchObject({ item: null, restarts: 0, bytesLost: 0 });
        }
        await upload(source);
        expectWhole({ simulator, members });
      }),
    ));

  test('what has sent everything only waits for its import, whatever the window', () =>
    withFolder((folder) =>
      withUploads({ importTimeMs: 300 }, async ({ simulator, upload }) => {
        const source = await writeOva(join(folder, 'box.ova'), packageOf([1_000]));
        const { window, set } = toggled('open');
        const done = upload(source, { window });
        await until('the import', () => {
          const disk = simulator.items()[0]?.files[1];
          return disk !== undefined && disk.received === disk.size;
        });
        set('closed');
        await done;
        expect(simulator.items()).toHaveLength(1);
      }),
    ));
});
