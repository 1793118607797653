import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FerryError } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import {
  descriptorOf,
  digest,
  type Member,
  manifestOf,
  packageOf,
  writeOva,
} from '../helpers/packages.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadOptions, type UploadWorld, withUploads } from '../helpers/upload.ts';

const MiB = 1024 * 1024;
const DEPLOY = { vdc: 'acme-vdc', powerOn: false, acceptEulas: false, networks: [] };

/** A package with a network and, where it is wanted, a licence. */
function appliance(size: number, hasLicence = false): Member[] {
  const [, , disk] = packageOf([size]);
  const plain = descriptorOf([{ href: 'box-disk1.vmdk', size }]).toString();
  const networks =
    '<NetworkSection><Info>n</Info><Network ovf:name="VM Network"/></NetworkSection>';
  const licence = '<EulaSection><Info>e</Info><License>Pay.</License></EulaSection>';
  const text = plain
    .replace('<VirtualSystem', `${networks}<VirtualSystem`)
    .replace('</VirtualSystem>', `${hasLicence ? licence : ''}</VirtualSystem>`);
  const descriptor = { name: 'box.ovf', bytes: Buffer.from(text) };
  const members = [descriptor, disk as Member];
  return [descriptor, { name: 'box.mf', bytes: manifestOf(members) }, disk as Member];
}

interface Deploying extends UploadWorld {
  readonly members: Member[];
  deploy(options?: Partial<typeof DEPLOY>, more?: UploadOptions): ReturnType<UploadWorld['upload']>;
}

function withPackage<T>(
  use: (world: Deploying) => Promise<T>,
  { size = 50_000, hasLicence = false, ...options } = {},
): Promise<T> {
  return withFolder((folder) =>
    withUploads(options, async (world) => {
      const members = appliance(size, hasLicence);
      const source = await writeOva(join(folder, 'box.ova'), members);
      return use({
        ...{ ...world, members },
        deploy: (more = {}, upload = {}) =>
          world.upload(source, { catalog: 'acme-vdc', deploy: { ...DEPLOY, ...more }, ...upload }),
      });
    }),
  );
}

const NETWORKS = [{ source: 'VM Network', target: 'office' }] as never[];

describe('deploying a package', () => {
  test('makes a vApp that is off, with the bytes of the package', () =>
    withPackage(
      async ({ simulator, deploy, members }) => {
        const result = await deploy({ networks: NETWORKS }, { description: 'an appliance' });
        expect(simulator.items()).toEqual([
          expect.objectContaining({
            name: 'box',
            kind: 'vApp',
            status: 8,
            description: 'an appliance',
          }),
        ]);
        const [vApp] = simulator.items();
        expect(vApp?.files[1]?.sha256).toBe(digest(members[2]?.bytes as Buffer));
        expect(result.entity).toMatch(/\/api\/vApp\/vapp-/);
      },
      { size: 3 * MiB },
    ));

  test('powers it on where that is asked for, and ends when it runs', () =>
    withPackage(
      async ({ simulator, deploy }) => {
        await deploy({ powerOn: true });
        expect(simulator.items()[0]).toMatchObject({ status: 4, description: '' });
      },
      { importTimeMs: 50 } as never,
    ));

  test('says what the server refused when it powers on; the vApp stays, and retry sends nothing', () =>
    withPackage(async ({ simulator, deploy }) => {
      const failure = { majorCode: 400, minorCode: 'NO_MEMORY', message: 'not enough memory' };
      simulator.world.faults.add({ on: { path: 'powerOn' }, do: { failImport: failure } });
      await expect(deploy({ powerOn: true })).rejects.toMatchObject({
        ...{ code: 'POWER_ON_REJECTED', message: expect.stringContaining('not enough memory') },
      });
      expect(simulator.items()[0]).toMatchObject({ status: 8 });
      const { arrived } = simulator.world.totals;
      await deploy({ powerOn: true });
      expect(simulator.items()).toEqual([expect.objectContaining({ status: 4 })]);
      expect(simulator.world.totals.arrived).toBe(arrived);
    }));

  test('goes on where it was stopped', () =>
    withPackage(
      async ({ simulator, deploy, meter }) => {
        const stopped = deploy(
          {},
          {
            chunkBytes: MiB,
            around(_call, when, name) {
              const received = simulator.items()[0]?.files[1]?.received ?? 0;
              if (when === 'after' && name === 'putRange' && received >= MiB) {
                throw new FerryError('LOCK_LOST', 'died');
              }
            },
          },
        );
        await expect(stopped).rejects.toMatchObject({ code: 'LOCK_LOST' });
        await deploy();
        expect(simulator.items()).toEqual([expect.objectContaining({ kind: 'vApp', status: 8 })]);
        expect(meter.current.snapshot().bytesResent).toBe(0);
      },
      { size: 3 * MiB },
    ));

  test('makes one, whatever call was the last of a worker that died', async () => {
    let calls = 0;
    const at = (when: number, moment: 'before' | 'after') =>
      withPackage(async ({ simulator, deploy }) => {
        const died = deploy(
          { powerOn: true },
          {
            around(call, seen) {
              calls = Math.max(calls, call);
              if (call === when && seen === moment) throw new FerryError('LOCK_LOST', 'died');
            },
          },
        );
        await died.catch(() => undefined);
        await deploy({ powerOn: true });
        expect(simulator.items()).toEqual([
          expect.objectContaining({ name: 'box', status: 4, description: '' }),
        ]);
      });
    await at(Number.POSITIVE_INFINITY, 'before');
    for (let call = 1; call <= calls; call += 1) {
      await at(call, 'before');
      await at(call, 'after');
    }
    expect(calls).toBeGreaterThan(8);
  });

  test('asks for licences to be accepted before anything is sent', () =>
    withPackage(
      async ({ simulator, deploy, remembered }) => {
        await expect(deploy()).rejects.toMatchObject({ code: 'EULA_NOT_ACCEPTED' });
        expect(simulator.items()).toEqual([]);
        remembered.current = NO_CHECKPOINT;
        await deploy({ acceptEulas: true });
        expect(simulator.items()[0]).toMatchObject({ status: 8 });
      },
      { hasLicence: true },
    ));

  test.each([
    ['VM Netwrk', 'office', 'the package has no network VM Netwrk; it has: VM Network'],
    ['VM Network', 'ofice', 'acme-vdc has no network ofice; there are: office, lab-net'],
  ])('maps no network %s to %s, and says those there are', (source, target, message) =>
    withPackage(async ({ simulator, deploy }) => {
      const networks = [{ source, target }] as never[];
      await expect(deploy({ networks })).rejects.toMatchObject({
        code: 'NETWORK_NOT_FOUND',
        message,
      });
      expect(simulator.items()).toEqual([]);
    }),
  );

  test('names the data centres there are, and heeds a name that is taken', () =>
    withPackage(async ({ deploy, remembered }) => {
      await expect(deploy({ vdc: 'none' }, { catalog: 'none' })).rejects.toMatchObject({
        ...{ code: 'VDC_NOT_FOUND', message: expect.stringContaining('acme-vdc') },
      });
      await deploy();
      remembered.current = NO_CHECKPOINT;
      const other = deploy({}, { jobId: 'lab-2', installation: 'def456' });
      await expect(other).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    }));

  test('that is given up leaves nothing', () =>
    withPackage(
      async ({ simulator, deploy, cleanUp }) => {
        const failed = deploy(
          {},
          {
            chunkBytes: MiB,
            around(_call, when, name) {
              const received = simulator.items()[0]?.files[1]?.received ?? 0;
              if (when === 'after' && name === 'putRange' && received >= MiB) {
                throw new FerryError('CANCELLED', 'cancelled');
              }
            },
          },
        );
        await expect(failed).rejects.toMatchObject({ code: 'CANCELLED' });
        await cleanUp();
        expect(simulator.items()).toEqual([]);
      },
      { size: 3 * MiB },
    ));
});
