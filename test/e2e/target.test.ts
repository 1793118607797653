import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { RELEASES } from '../../src/simulator/releases.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { json, run } from '../helpers/cli.ts';
import { attribute, call, loggedIn, pathOf } from '../helpers/http.ts';
import { isoOf, packageOf, writeFolder, writeOva } from '../helpers/packages.ts';
import { enqueueMany, isUp, untilAllOver, untilJobs, withPlace } from '../helpers/place.ts';
import { withFolder } from '../helpers/temp.ts';
import { uploadTo } from '../helpers/upload.ts';

const MB = 1024 * 1024;

describe("a vCD's limits, with a worker", () => {
  test('on operations at once: the target gets fewer jobs, none fails, and it works its way up again', () =>
    withPlace(
      {
        operationsPerUser: 3,
        importTimeMs: 200,
        config: { more: '    concurrency: 8\n', tail: '  concurrency: 8\n' },
      },
      async (place) => {
        const ids = await enqueueMany(place, 16);
        await isUp(place.worker());
        const over = await untilAllOver(place, ids);
        expect(over.filter(({ state }) => state !== 'completed')).toEqual([]);
        const { requests } = place.simulator;
        const creations = requests.filter(({ path }) => path.endsWith('/action/upload'));
        const refused = creations.filter(({ status }) => status === 400);
        expect(refused.length).toBeGreaterThan(0);
        // Once it is known, hardly anybody runs into the limit: not each of the jobs, again and again.
        expect(refused.length).toBeLessThan(16);
        expect(creations.filter(({ status }) => status === 201)).toHaveLength(16);
      },
    ));

  test('on a storage profile: what fits together is sent, the rest waits, and goes on by itself', () =>
    withPlace(
      {
        storageProfiles: { Gold: 3 * MB },
        importTimeMs: 300,
        config: { more: '    concurrency: 6\n', tail: '  concurrency: 6\n' },
      },
      async (place) => {
        const { simulator } = place;
        const ids = await enqueueMany(place, 4, MB - 10_000);
        await isUp(place.worker());
        const waiting = await untilJobs(place, ids, 'three uploads, one that waits', (jobs) => {
          const done = jobs.filter(({ state }) => state === 'completed');
          const late = jobs.filter(({ error }) => error?.code === 'STORAGE_FULL');
          return done.length === 3 && late.length === 1 && late;
        });
        expect(waiting[0]).toMatchObject({ state: 'delayed', error: { permanent: false } });
        // Not one byte of it was sent in vain.
        expect(simulator.items()).toHaveLength(3);
        expect(simulator.items().every(({ status }) => status === 8)).toBe(true);
        const [profile] = simulator.world.org.vdc?.profiles ?? [];
        if (profile) profile.limitBytes = 10 * MB;
        await (await place.ferry()).retry([waiting[0]?.id ?? '']);
        await untilAllOver(place, ids);
        expect(simulator.items()).toHaveLength(4);
      },
    ));

  test("on its transfer store: uploads wait for each other's import, and none fails", () =>
    withPlace(
      {
        transferStoreBytes: 1.5 * MB,
        importTimeMs: 2_000,
        config: { more: '    concurrency: 1\n', tail: '  chunkSize: 256KiB\n' },
      },
      async (place) => {
        const ids = await enqueueMany(place, 2, MB);
        await isUp(place.worker());
        const over = await untilAllOver(place, ids);
        expect(over.filter(({ state }) => state !== 'completed')).toEqual([]);
      },
    ));

  test('on imports at once: one that waits for its turn does not time out', () =>
    withPlace({ importSlots: 1, importTimeMs: 1_200 }, async (place) => {
      const ids = await enqueueMany(place, 4, 1_000);
      await isUp(place.worker());
      const over = await untilAllOver(place, ids);
      expect(over.filter(({ state }) => state !== 'completed')).toEqual([]);
    }));
});

/** A folder with a configuration of several targets on one simulator. */
async function withTargets<T>(
  options: SimulatorOptions,
  use: (place: { folder: string; url: string; simulator: Simulator }) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator(options);
  try {
    return await withFolder(async (folder) => {
      const { url } = simulator;
      const target = (text: string): string => `{ url: "${url}", password: simulated, ${text} }`;
      writeFileSync(
        join(folder, 'ovaferry.yaml'),
        `dataDir: ${join(folder, 'data')}
targets:
  lab: ${target('org: acme, user: admin, catalog: appliances')}
  author: ${target('org: acme, user: author, catalog: appliances')}
  reader: ${target('org: acme, user: reader, catalog: appliances')}
  published: ${target('org: acme, user: admin, catalog: published')}
  subscribed: ${target('org: acme, user: admin, catalog: subscribed')}
  provider: ${target('org: System, user: administrator')}
  tenant: ${target('org: System, user: administrator, tenant: acme, catalog: appliances')}
`,
      );
      return use({ folder, url, simulator });
    });
  } finally {
    await simulator.close();
  }
}

interface Check {
  readonly of: string;
  readonly what: string;
  readonly state: string;
  readonly message: string;
  readonly code: string | null;
}

describe('doctor', () => {
  test.each(RELEASES.map(({ name }) => name))('finds nothing wrong with release %s', (release) =>
    withTargets({ release }, async ({ folder }) => {
      const targets = release === '10.6' ? ['lab', 'tenant'] : ['lab'];
      const { code, stdout } = await run(['doctor', ...targets, '--write', '--json'], folder);
      const checks = JSON.parse(stdout) as Check[];
      const wrong = checks.filter(({ state }) => state === 'failed');
      expect({ code, wrong }).toEqual({ code: 0, wrong: [] });
      const seen = checks.filter(({ of }) => of === 'lab').map(({ what }) => what);
      expect(seen).toEqual(
        expect.arrayContaining(['address', 'login', 'catalog appliances', 'upload']),
      );
    }),
  );

  test.each([
    ['reader', /lacks the right "vApp Template \/ Media: Create \/ Upload"/],
    ['published', /read-only for this user/],
    ['subscribed', /subscribed to another catalog/],
    ['provider', /shows no catalog/],
  ])('names what is missing: %s', (target, message) =>
    withTargets({}, async ({ folder }) => {
      const { code, stdout } = await run(['doctor', target, '--json'], folder);
      const failed = (JSON.parse(stdout) as Check[]).filter(({ state }) => state === 'failed');
      expect(failed).toEqual([
        expect.objectContaining({ message: expect.stringMatching(message) }),
      ]);
      expect(code).toBe(3);
    }),
  );

  test.each([
    ['that says so', { status: 413 }, /upload: 66 kB|upload: 65\.5 kB arrived/, /answered 413/],
    ['that cuts them', { resetAfterBytes: 0 }, /upload: .*arrived/, /connection is cut/],
  ])('finds the limit of a proxy %s, and leaves nothing', (_what, action, arrived, why) =>
    withTargets({}, async ({ folder, simulator }) => {
      simulator.world.faults.add({
        ...{ on: { method: 'PUT', file: '^file$', largerThan: 5_000_000 }, times: 0 },
        do: action,
      });
      const { code, stdout } = await run(['doctor', 'lab', '--write'], folder);
      expect(stdout).toMatch(arrived);
      expect(stdout).toMatch(/! size of requests: requests of 4 MiB pass, larger ones do not/);
      expect(stdout).toMatch(why);
      expect(code).toBe(0);
      expect(simulator.items()).toEqual([]);
    }),
  );

  test('does not take a line that breaks once for a limit', () =>
    withTargets({}, async ({ folder, simulator }) => {
      simulator.world.faults.add({
        on: { method: 'PUT', file: '^file$', largerThan: 5_000_000 },
        do: { resetAfterBytes: 10 },
      });
      const { code, stdout } = await run(['doctor', 'lab', '--write'], folder);
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.not.stringContaining('size of') });
    }));

  test('says in words what is wrong with an address, a login and the room that is left', () =>
    withTargets({ storageProfiles: { Gold: MB }, templateLeaseSeconds: 604_800 }, async (place) => {
      const { folder, simulator } = place;
      const config = join(folder, 'ovaferry.yaml');
      const text = `${readFileSync(config, 'utf8')}  nobody: { url: "http://127.0.0.1:1", org: a, user: b, password: c }
  wrong: { url: "${place.url}", org: acme, user: admin, password: wrong }
`;
      writeFileSync(config, text);
      await uploadTo(simulator, await writeOva(join(folder, 'b.ova'), packageOf([MB])));
      const { code, stdout } = await run(['doctor', 'nobody', 'wrong', 'lab'], folder);
      expect(stdout).toMatch(/✗ address: .*nothing listens at 127\.0\.0\.1:1/);
      expect(stdout).toMatch(/✗ login: .*rejected the login to organisation acme/);
      expect(stdout).toMatch(/! storage Gold: 0 B left of 1\.05 MB \(default\)/);
      expect(stdout).toMatch(/! lease: vCD removes templates after 7 days: .*on \d{4}-\d\d-\d\d/);
      expect(code).toBe(3);
    }));
});

describe('ls', () => {
  test.each(['5.5', '9.7', '10.6'])('lists catalogs and items of release %s', (release) =>
    withTargets({ release }, async ({ folder, simulator }) => {
      await writeOva(join(folder, 'box.ova'), packageOf([300_000]));
      writeFileSync(join(folder, 'disc.iso'), isoOf(70_000));
      for (const name of ['box.ova', 'disc.iso']) await uploadTo(simulator, join(folder, name));
      const catalogs = await json<Record<string, unknown>[]>(['ls', 'lab'], folder);
      expect(catalogs.map(({ org, name }) => `${org}/${name}`)).toEqual([
        'acme/appliances',
        'acme/archive',
        'acme/published',
        'acme/subscribed',
        // Older servers list an organisation's own catalogs, and nothing else.
        ...(release === '10.6' ? ['globex/appliances', 'globex/tools'] : []),
      ]);
      const items = await json<Record<string, unknown>[]>(['ls', 'lab/appliances'], folder);
      expect(items).toEqual([
        expect.objectContaining({
          ...{ name: 'box', kind: 'vAppTemplate', state: 'ready', owner: 'admin' },
          size: release === '10.6' ? 300_032 : null,
          created: expect.stringMatching(/^20\d\d-.*Z$/),
        }),
        expect.objectContaining({ name: 'disc', kind: 'media', state: 'ready', size: 70_000 }),
      ]);
      const { stdout } = await run(['ls', 'lab/appliances'], folder);
      expect(stdout).toMatch(/^item +kind +state +size +owner +created\nbox +template +ready/);
    }),
  );

  test('shows a provider all organisations, and each catalog once', () =>
    withTargets({}, async ({ folder }) => {
      const catalogs = await json<Record<string, unknown>[]>(['ls', 'provider'], folder);
      const names = catalogs.map(({ org, name }) => `${org}/${name}`);
      expect(names).toEqual(expect.arrayContaining(['acme/appliances', 'globex/appliances']));
      expect(new Set(names).size).toBe(names.length);
      const own = await json<Record<string, unknown>[]>(['ls', 'tenant'], folder);
      expect(new Set(own.map(({ org }) => org))).toEqual(new Set(['acme', 'globex']));
    }));

  test("reads a catalog that another organisation shares, and says whose it is where it can't be used", () =>
    withFolder((folder) =>
      withPlace({ store: join(folder, 'store') }, async (place) => {
        const { simulator } = place;
        const members = packageOf([100_000], 'theirs');
        const source = await writeOva(join(folder, 'theirs.ova'), members);
        await uploadTo(simulator, source, { catalog: 'tools' }, { org: 'globex' });
        const items = await json<{ name: string }[]>(['ls', 'lab/tools'], place.folder);
        expect(items).toMatchObject([{ name: 'theirs', state: 'ready' }]);
        const to = join(folder, 'to');
        const back = ['download', 'lab/tools/*', '--ova', '-o', to];
        expect(await run(back, place.folder)).toMatchObject({ code: 0 });
        expect(existsSync(join(to, 'theirs.ova'))).toBe(true);
        const copy = ['copy', 'lab/tools/theirs', 'lab', '--name', 'ours'];
        expect(await run(copy, place.folder)).toMatchObject({ code: 0 });
        const ours = simulator.items().filter(({ catalog }) => catalog === 'appliances');
        expect(ours).toMatchObject([{ name: 'ours', status: 8 }]);
        const put = await run(['upload', source, '--to', 'lab/tools'], place.folder);
        expect(put.code).toBe(1);
        expect(put.stdout).toMatch(/no catalog tools in organisation acme; globex shares one/);
        const gone = await run(['rm', 'lab/tools/theirs', '--yes'], place.folder);
        expect(gone).toMatchObject({ code: 2, stderr: expect.stringMatching(/globex shares one/) });
        // Of two of one name the own one is meant.
        expect(await json(['ls', 'lab/appliances'], place.folder)).toMatchObject([
          { name: 'ours' },
        ]);
      }),
    ));

  test('follows the pages of a catalog with many items', () =>
    withTargets({}, async ({ folder, url }) => {
      const headers = await loggedIn(url);
      const query = '/api/query?type=catalog&format=records&filter=name==appliances';
      const { body } = await call(url, query, { headers });
      const catalog = pathOf(attribute(body.split('CatalogRecord')[1] ?? '', 'href'));
      for (let i = 0; i < 300; i += 1) {
        await call(url, `${catalog}/action/upload`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/vnd.vmware.vcloud.media+xml' },
          body: `<Media xmlns="http://www.vmware.com/vcloud/v1.5" name="m${i}" size="${i}"/>`,
        });
      }
      const items = await json<{ name: string; state: string }[]>(['ls', 'lab/appliances'], folder);
      expect(new Set(items.map(({ name }) => name)).size).toBe(300);
      expect(items.every(({ state }) => state === 'unfinished')).toBe(true);
    }));
});

describe('a dry run', () => {
  test('says what would happen and what would fail, and does nothing', () =>
    withTargets(
      { storageProfiles: { Gold: 2 * MB }, templateLeaseSeconds: 604_800 },
      async ({ folder, url }) => {
        await writeOva(join(folder, 'one.ova'), packageOf([1_500_000]));
        await writeOva(join(folder, 'two.ova'), packageOf([1_500_000], 'two'));
        writeFileSync(join(folder, 'bad.ova'), 'not a tar');
        const args = ['upload', 'one.ova', 'two.ova', 'bad.ova', '--to', 'lab', '--dry-run'];
        const { code, stdout } = await run(args, folder);
        expect(code).toBe(1);
        expect(stdout).toMatch(
          /^✓ one → lab\/appliances: would be uploaded, 1\.5 MB; vCD would remove it on 20\d\d-/m,
        );
        expect(stdout).toMatch(/^✗ two → .*would fail, 1\.5 MB.*\n {4}STORAGE_FULL: two\.ova: /m);
        expect(stdout).toMatch(/^✗ bad → .*would fail.*\n {4}PACKAGE_CORRUPT: bad\.ova/m);
        expect(await json(['status'], folder)).toEqual([]);
        const seen = (await (await fetch(`${url}/_simulator/requests`)).json()) as {
          method: string;
        }[];
        expect(seen.filter(({ method }) => method === 'PUT')).toEqual([]);
        expect(seen.filter(({ method }) => method === 'POST')).toHaveLength(1); // the login
      },
    ));

  test("shows the organisation's own policy where it does not allow the lease that is wanted", () =>
    withTargets({ templateLeaseSeconds: 604_800 }, async ({ folder }) => {
      await writeOva(join(folder, 'box.ova'), packageOf([10]));
      const args = ['enqueue', 'box.ova', '--to', 'lab', '--dry-run', '--lease', 'never'];
      const [plan] = await json<{ removedAt: string; warnings: string[] }[]>(args, folder);
      const days = (Date.parse(plan?.removedAt ?? '') - Date.now()) / 86_400_000;
      expect(days).toBeCloseTo(7, 1);
      expect(plan?.warnings).toEqual([expect.stringMatching(/allows a lease of at most 604800/)]);
    }));

  test('sees a missing right and a name that is taken', () =>
    withTargets({}, async ({ folder, simulator }) => {
      await writeOva(join(folder, 'box.ova'), packageOf([10]));
      await uploadTo(simulator, join(folder, 'box.ova'));
      const dry = (to: string) =>
        json<{ problems: { code: string }[] }[]>(
          ['enqueue', 'box.ova', '--to', to, '--dry-run'],
          folder,
        );
      expect((await dry('reader'))[0]?.problems[0]?.code).toBe('CATALOG_FORBIDDEN');
      expect((await dry('author'))[0]?.problems[0]?.code).toBe('NAME_TAKEN');
    }));
});

describe('options of an upload', () => {
  test('reach the server', () =>
    withTargets({}, async ({ folder, url }) => {
      await writeOva(join(folder, 'box.ova'), packageOf([100_000]));
      const args = ['upload', 'box.ova', '--to', 'lab', '--description', 'A box'];
      const more = ['--storage-profile', 'Silver', '--lease', '30d', '--verify', 'server'];
      const notes = ['--metadata', 'owner=ops', '--metadata', 'cpus:number=4'];
      const [job] = await json([...args, ...more, ...notes], folder);
      expect(job).toMatchObject({ state: 'completed', error: null });
      const removed = Date.parse(job?.result?.removedAt ?? '') - Date.now();
      expect(removed / 86_400_000).toBeCloseTo(30, 1);
      const [item] = (await (await fetch(`${url}/_simulator/items`)).json()) as never[];
      expect(item).toMatchObject({
        description: 'A box',
        storageProfile: 'Silver',
        metadata: { owner: 'ops', cpus: '4' },
        status: 8,
      });
    }));

  test.each([
    [['--lease', 'soon'], /--lease: "soon" is neither never nor a time/],
    [['--metadata', 'cpus:number=many'], /expected a whole number/],
    [['--metadata', '=x'], /expected key=value/],
    [['--metadata', 'ovaferry.upload=x'], /keys that begin with ovaferry/],
    [['--media', '--lease', '3d'], /media images have no lease/],
    [['--media', '--verify', 'server'], /not those of media images/],
    [['--server-pull', 'http://h/x.ovf'], /--server-pull names the only source/],
  ])('that make no sense are refused: %j', (options, message) =>
    withTargets({}, async ({ folder }) => {
      await writeOva(join(folder, 'box.ova'), packageOf([10]));
      const { code, stderr } = await run(['enqueue', 'box.ova', '--to', 'lab', ...options], folder);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
    }),
  );

  test.each([
    ['ftp://h/x.ovf', /expected an http/],
    ['http://u:s3cret@h/x.ovf', /would be seen by everybody/],
    ['http://h/x.ova', /no \.ova/],
    ['http://h/x.ovf?sig=s3cret', /would be seen by everybody/],
  ])('an address that the server can not fetch is refused: %s', (url, message) =>
    withTargets({}, async ({ folder }) => {
      const { code, stderr } = await run(['enqueue', '--server-pull', url, '--to', 'lab'], folder);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
      expect(stderr).not.toContain('s3cret');
    }),
  );

  test('an address is fetched by the server', () =>
    withTargets({}, async ({ folder }) => {
      const members = packageOf([50_000]);
      await writeFolder(folder, members);
      const web = createServer((request, response) => {
        const member = members.find(({ name }) => `/${name}` === request.url);
        response.writeHead(member ? 200 : 404).end(member?.bytes);
      });
      await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
      try {
        const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/box.ovf`;
        const [job] = await json(['upload', '--server-pull', url, '--to', 'lab'], folder);
        expect(job).toMatchObject({ state: 'completed', name: 'box', source: url, bytesSent: 0 });
      } finally {
        web.closeAllConnections();
        web.close();
      }
    }));
});
