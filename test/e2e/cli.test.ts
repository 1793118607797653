import { randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { KEEPER_LOCK, KEEPER_NAME, keeperStartPath, lockUsers } from '../../src/redis/embedded.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { configure, json, run, start, until, type WorkplaceOptions } from '../helpers/cli.ts';
import {
  digest,
  isoOf,
  type Member,
  manifestOf,
  packageOf,
  writeOva,
} from '../helpers/packages.ts';
import { isThere } from '../helpers/processes.ts';
import { withRedis } from '../helpers/redis.ts';
import { withFolder } from '../helpers/temp.ts';
import { SELF_SIGNED } from '../helpers/tls.ts';

interface Place {
  readonly folder: string;
  readonly simulator: Simulator;
  /** Of its Redis. */
  readonly socket: string;
  path(name: string): string;
}

/** A user's folder with a configuration and no worker. */
async function withPlace<T>(
  use: (place: Place) => Promise<T>,
  options: SimulatorOptions = {},
  config: Partial<WorkplaceOptions> = {},
): Promise<T> {
  return withFolder((folder) =>
    withRedis(folder, async ({ url, socket }) => {
      const simulator = await startSimulator(options);
      try {
        await configure(folder, { url: simulator.url, redis: url, ...config });
        return await use({ folder, simulator, socket, path: (name) => join(folder, name) });
      } finally {
        await simulator.close();
      }
    }),
  );
}

/** The same with nothing but a Redis binary: what a first try looks like. */
async function withEmbedded<T>(
  use: (place: Place) => Promise<T>,
  options: SimulatorOptions = {},
): Promise<T> {
  return withFolder(async (folder) => {
    const simulator = await startSimulator(options);
    try {
      await configure(folder, { url: simulator.url });
      const socket = join(folder, 'data', 'redis', 'redis.sock');
      return await use({ folder, simulator, socket, path: (name) => join(folder, name) });
    } finally {
      await untilRedisIsGone(folder);
      await simulator.close();
    }
  });
}

/** The private server stops when its last user has gone. */
async function untilRedisIsGone(folder: string): Promise<void> {
  const socket = join(folder, 'data', 'redis', 'redis.sock');
  await until('the private Redis to stop', () => !existsSync(socket));
}

const JOB_KEYS = [
  'id',
  'state',
  'kind',
  'source',
  'target',
  'catalog',
  'name',
  'batch',
  'existing',
  'stage',
  'bytesSent',
  'bytesTotal',
  'bytesResent',
  'attempts',
  'error',
  'warnings',
  'result',
  'enqueuedAt',
  'startedAt',
  'finishedAt',
  'pool',
  'deadline',
  'operation',
  'destination',
];

describe('upload', () => {
  test('works by itself on a machine with nothing but a Redis binary, and prints the job', () =>
    withEmbedded(async ({ folder, simulator, path }) => {
      const members = packageOf([300_000, 10]);
      await writeOva(path('box.ova'), members);
      const { code, stdout } = await run(['upload', 'box.ova', '--to', 'lab', '--json'], folder);
      expect(code).toBe(0);
      const [job] = JSON.parse(stdout);
      expect(Object.keys(job)).toEqual(JOB_KEYS);
      expect(job).toMatchObject({
        state: 'completed',
        kind: 'ovf',
        source: path('box.ova'),
        target: 'lab',
        catalog: 'appliances',
        name: 'box',
        batch: null,
        existing: false,
        stage: 'done',
        bytesSent: 300_010,
        bytesTotal: 300_010,
        bytesResent: 0,
        attempts: 1,
        error: null,
      });
      expect(job.enqueuedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(job.result.entity).toContain('/api/vAppTemplate/');
      expect(simulator.items()[0]?.files[1]?.sha256).toBe(digest(members[2]?.bytes as Buffer));
    }));

  test('of many sources shows each and fails if one does', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('a.ova'), packageOf([1_000], 'a'));
      await writeFile(path('b.iso'), isoOf());
      await writeFile(path('c.ova'), 'no archive');
      await writeFile(path('d.iso'), '<!doctype html><title>Log in</title>');
      await writeFile(Buffer.from(path('lat\u00fcn.ova'), 'latin1'), 'x');
      const { code, stdout } = await run(['upload', '*.ova', '*.iso', '--to', 'lab'], folder);
      expect(code).toBe(1);
      expect(stdout).toMatch(/✓ a → lab\/appliances: 1 kB arrived/);
      expect(stdout).toMatch(/✓ b → lab\/appliances/);
      expect(stdout).toMatch(
        /✗ c → lab\/appliances: failed\n +PACKAGE_CORRUPT: c\.ova is not an OVA/,
      );
      expect(stdout).toMatch(/✗ d → lab.*\n +PACKAGE_UNSUPPORTED: d\.iso is no ISO/);
      expect(stdout).toMatch(/✗ lat.n → lab.*\n +SOURCE_UNREADABLE: .*lat.n\.ova is not UTF-8/);
    }));

  test('again is the same upload; --again makes it anew; a changed file is another one', () =>
    withPlace(async ({ folder, simulator, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const [first] = await json(['upload', 'box.ova', '--to', 'lab/appliances'], folder);
      const [second] = await json(['upload', 'box.ova', '--to', 'lab'], folder);
      expect(second).toMatchObject({ id: first?.id, existing: true, state: 'completed' });
      const [again] = await json(['enqueue', 'box.ova', '--to', 'lab', '--again'], folder);
      expect(again).toMatchObject({ existing: false, state: 'waiting' });
      await writeOva(path('box.ova'), packageOf([200]));
      const [other] = await json(['enqueue', 'box.ova', '--to', 'lab'], folder);
      expect(other).toMatchObject({ existing: false });
      expect(simulator.items()).toHaveLength(1);
    }));

  test('that is interrupted leaves its job queued, and goes on the next time', () =>
    withPlace(
      async ({ folder, simulator, path }) => {
        await writeOva(path('box.ova'), packageOf([3_000_000]));
        const uploading = start(['upload', 'box.ova', '--to', 'lab'], folder);
        await until('some bytes', () => (simulator.items()[0]?.files[1]?.received ?? 0) > 500_000);
        uploading.kill('SIGINT');
        const { code, stderr } = await uploading.ended;
        expect(code).toBe(130);
        expect(stderr).toContain('stay queued');
        const [job] = await json(['upload', 'box.ova', '--to', 'lab'], folder);
        expect(job).toMatchObject({ state: 'completed', existing: true, bytesTotal: 3_000_000 });
        const ranges = simulator.items()[0]?.files[1]?.ranges ?? [];
        expect(ranges.reduce((sum, { stored }) => sum + stored, 0)).toBe(3_000_000);
        expect(ranges.length).toBeGreaterThan(1);
      },
      { rateBytesPerSecond: 2_000_000 },
    ));
});

describe('enqueue, status and watch', () => {
  test('accept a job, show it waiting, and follow it to its end', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const { stdout } = await run(['enqueue', 'box.ova', '--to', 'lab', '--batch', 'b1'], folder);
      const id = stdout.trim();
      expect(id).toMatch(/^lab-[0-9a-f]+$/);
      const [waiting] = await json(['status', id], folder);
      expect(waiting).toMatchObject({ id, state: 'waiting', stage: 'queued', batch: 'b1' });
      expect((await json(['status', '--batch', 'b1'], folder)).map((job) => job.id)).toEqual([id]);
      expect(await json(['status', '--batch', 'none'], folder)).toEqual([]);
      const worker = start(['worker'], folder);
      const watched = await run(['watch', id, '--json'], folder);
      worker.kill('SIGTERM');
      await worker.ended;
      expect(watched.code).toBe(0);
      const lines = watched.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(lines.at(-1)).toMatchObject({ id, state: 'completed' });
      const table = await run(['status'], folder);
      expect(table.stdout).toContain('1 completed');
    }));

  test('a job for later waits for its time, also for a command that works on it itself', () =>
    withPlace(async ({ folder, simulator, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const at = Date.now() + 8_000;
      const startAt = ['--start-at', new Date(at).toISOString()];
      const uploading = start(['upload', 'box.ova', '--to', 'lab', ...startAt], folder);
      const [waiting] = await until('it waits', async () => {
        const jobs = await json(['status'], folder);
        return jobs.length > 0 && jobs;
      });
      expect(waiting?.state).toBe('delayed');
      await until('an item', () => simulator.items().length > 0);
      expect(Date.now()).toBeGreaterThanOrEqual(at);
      expect((await uploading.ended).code).toBe(0);
    }));

  test('a command that waits for a job for later can be interrupted', () =>
    withPlace(async ({ folder, simulator, socket, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const later = ['--start-at', '2099-01-01'];
      const uploading = start(['upload', 'box.ova', '--to', 'lab', ...later], folder);
      await until('its own worker', async () =>
        (await connections(socket)).some((name) => name.startsWith('ovaferry-worker')),
      );
      uploading.kill('SIGINT');
      expect((await uploading.ended).code).toBe(130);
      expect(await json(['status'], folder)).toMatchObject([{ state: 'delayed' }]);
      expect(simulator.items()).toEqual([]);
    }));

  test('what was enqueued is there after a power cut', () =>
    withEmbedded(async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const [job] = await json(['enqueue', 'box.ova', '--to', 'lab'], folder);
      const socket = path('data/redis/redis.sock');
      const log = await readFile(path('data/redis/redis.log'), 'utf8');
      const pid = Number(/^(\d+):/.exec(log)?.[1]);
      process.kill(pid, 'SIGKILL');
      await until('it is dead', () => !existsSync(socket) || !isThere(pid));
      const [after] = await json(['status', job?.id ?? ''], folder);
      expect(after).toMatchObject({ id: job?.id, state: 'waiting' });
    }));

  test('two commands that enqueue the same at the same moment make one job', () =>
    withEmbedded(async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const jobs = await Promise.all(
        Array.from({ length: 4 }, () => json(['enqueue', 'box.ova', '--to', 'lab'], folder)),
      );
      expect(new Set(jobs.map(([job]) => job?.id)).size).toBe(1);
      expect(jobs.filter(([job]) => job?.existing === false)).toHaveLength(1);
    }));
});

/** The names of whoever is connected to a server; none while it does not answer. */
async function connections(socket: string): Promise<string[]> {
  const redis = new Redis(socket, { lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    const list = String(await redis.client('LIST'));
    return [...list.matchAll(/ name=(\S*)/g)].map(([, name = '']) => name);
  } catch {
    return [];
  } finally {
    redis.disconnect();
  }
}

describe('the private Redis', () => {
  const processes = (folder: string, what: string): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return command.includes(what) && command.includes(join(folder, 'data'));
        } catch {
          return false; // it has just ended
        }
      })
      .map(Number);

  test('is one, with one keeper, however many commands begin at once', () =>
    withEmbedded(async ({ folder, socket }) => {
      for (let i = 0; i < 3; i += 1) {
        // They stay connected, so that the server stays as well.
        const users = Array.from({ length: 4 }, () => start(['watch', '--json'], folder));
        const connected = async () =>
          (await connections(socket)).filter((name) => name === 'ovaferry').length;
        await until('all to be connected', async () => (await connected()) === 4);
        // Keepers that came too late have gone, or go now.
        await until('one keeper', () => processes(folder, 'keeper.js').length === 1);
        expect(processes(folder, 'redis-server')).toHaveLength(1);
        for (const user of users) user.kill('SIGKILL');
        for (const user of users) await user.ended;
        if (i === 1) await untilRedisIsGone(folder);
      }
    }));

  test('is started again when it is killed, and kept again when its keeper is', () =>
    withEmbedded(async ({ folder, socket, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const [job] = await json(['enqueue', 'box.ova', '--to', 'lab'], folder);
      for (const victim of ['redis-server', 'keeper.js', 'redis-server', 'keeper.js']) {
        // One that has just started is given the time to connect before it is missed.
        await until('a keeper', async () => (await connections(socket)).includes(KEEPER_NAME));
        for (const pid of processes(folder, victim)) process.kill(pid, 'SIGKILL');
        // By the next command, or the one after that.
        await until('one server and one keeper', async () => {
          const [after] = await json(['status', job?.id ?? ''], folder);
          expect(after?.state).toBe('waiting');
          const counts = ['redis-server', 'keeper.js'].map(
            (what) => processes(folder, what).length,
          );
          return counts.join() === '1,1';
        });
      }
    }));

  test('is stopped after its last user also by a keeper that has lost its lock meanwhile', () =>
    withEmbedded(async ({ folder, socket }) => {
      const user = start(['watch'], folder);
      await until('a keeper', async () => (await connections(socket)).includes(KEEPER_NAME));
      try {
        const data = join(folder, 'data', 'redis');
        await rm(keeperStartPath(data)); // written by whoever has taken the lock
        await rm(KEEPER_LOCK.path(data), { recursive: true }); // as another keeper that has gone
        await until('the lock again', () => existsSync(keeperStartPath(data)));
      } finally {
        user.kill('SIGKILL');
        await user.ended;
      }
      const left = () =>
        processes(folder, 'redis-server').length + processes(folder, 'keeper.js').length;
      await until('both to end', () => left() === 0);
    }));

  test('is kept on when somebody comes just as it was to be stopped', () =>
    withEmbedded(async ({ folder, socket }) => {
      const data = join(folder, 'data', 'redis');
      await run(['status'], folder);
      await until('a keeper', async () => (await connections(socket)).includes(KEEPER_NAME));
      const unlock = await lockUsers(data); // the keeper needs it as well before it stops anything
      const freshAt = (): number => statSync(KEEPER_LOCK.path(data)).mtimeMs;
      // Nobody counts who is called as it is.
      const looking = new Redis(socket, { connectionName: KEEPER_NAME });
      await until('a keeper that looks no more', async () => {
        const clients = String(await looking.client('LIST')).split('\n');
        return clients.some((line) => / idle=([2-9]|\d\d) /.test(line));
      });
      const user = new Redis(socket);
      await user.ping();
      await unlock();
      // Its lock is renewed once a second: twice more, and it has got over it.
      const since = Date.now();
      await until('a fresh lock', () => freshAt() > since + 1_500);
      expect(processes(folder, 'keeper.js')).toHaveLength(1);
      user.disconnect();
      looking.disconnect();
      const left = () =>
        processes(folder, 'redis-server').length + processes(folder, 'keeper.js').length;
      await until('both to end', () => left() === 0);
    }));

  test('and its keeper go when their folder is gone', () =>
    withFolder(async (folder) => {
      await configure(folder, { url: 'https://vcd.invalid' });
      await run(['status'], folder);
      await rm(join(folder, 'data'), { recursive: true });
      const left = () =>
        processes(folder, 'redis-server').length + processes(folder, 'keeper.js').length;
      await until('both to end', () => left() === 0);
    }));
});

test('what is odd about a package is said with its job, wherever that is shown', () =>
  withPlace(async ({ folder, path }) => {
    const [descriptor, , disk] = packageOf([1_000]) as [Member, Member, Member];
    const manifest = { name: 'box.mf', bytes: manifestOf([descriptor]) };
    await writeOva(path('box.ova'), [descriptor, manifest, disk]);
    const said = 'box-disk1.vmdk is not in the manifest, so it is sent unverified';
    const { code, stdout } = await run(['upload', 'box.ova', '--to', 'lab'], folder);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining(`warning: ${said}`),
    });
    const [job] = await json(['status'], folder);
    expect(job).toMatchObject({ state: 'completed', warnings: [said] });
    expect((await run(['status'], folder)).stdout).toContain(`warning: ${said}`);
    expect((await run(['report', job?.id ?? ''], folder)).stdout).toContain(`warning: ${said}`);
  }));

describe('bad input ends in a sentence, the right status, and nothing on the server', () => {
  const good = packageOf([50_000]);

  /** Files that exist but can't be uploaded: jobs that fail. */
  const files: [
    name: string,
    make: (path: string) => Promise<unknown>,
    code: string,
    message: RegExp,
  ][] = [
    [
      'a text file named .ova',
      (p) => writeFile(p, 'text '.repeat(300)),
      'PACKAGE_CORRUPT',
      /^box\.ova is not an OVA/,
    ],
    ['an empty file', (p) => writeFile(p, ''), 'PACKAGE_CORRUPT', /^box\.ova is empty/],
    [
      'a truncated OVA',
      async (p) => {
        await writeOva(p, good);
        await truncate(p, 20_000);
      },
      'PACKAGE_CORRUPT',
      /^box\.ova: box-disk1\.vmdk is cut short/,
    ],
    [
      'a digest mismatch',
      (p) =>
        writeOva(p, [...good.slice(0, 2), { ...(good[2] as Member), bytes: randomBytes(50_000) }]),
      'DIGEST_MISMATCH',
      /^box\.ova: box-disk1\.vmdk has the SHA256/,
    ],
    [
      'a descriptor that is HTML',
      (p) => writeOva(p, [{ name: 'box.ovf', bytes: Buffer.from('<html>Sign in</html>') }]),
      'DESCRIPTOR_INVALID',
      /^box\.ova: box\.ovf is an HTML page/,
    ],
    [
      'a folder with two descriptors',
      async (p) => {
        await mkdir(p);
        await writeFile(join(p, 'a.ovf'), '');
        await writeFile(join(p, 'b.ovf'), '');
      },
      'PACKAGE_AMBIGUOUS',
      /^box\.ova.*a\.ovf, b\.ovf/,
    ],
  ];

  test.each(files)('%s', (_name, make, code, message) =>
    withPlace(async ({ folder, simulator, path }) => {
      await make(path('box.ova'));
      const { code: status, stdout } = await run(
        ['upload', 'box.ova', '--to', 'lab', '--json'],
        folder,
      );
      expect(status).toBe(1);
      const [job] = JSON.parse(stdout);
      expect(job).toMatchObject({ state: 'failed', attempts: 1, error: { code, permanent: true } });
      expect(job.error.message).toMatch(message);
      expect(job.error.hint).not.toBe('');
      expect(simulator.items()).toEqual([]);
    }),
  );

  test.each([
    [
      'a file that is not there',
      ['upload', 'none.ova', '--to', 'lab'],
      'SOURCE_NOT_FOUND',
      /none\.ova/,
    ],
    [
      'an unknown target',
      ['upload', 'ovaferry.yaml', '--to', 'moon'],
      'TARGET_UNKNOWN',
      /moon.*lab/,
    ],
    ['an unknown option', ['upload', 'x', '--to', 'lab', '--fast'], 'USAGE', /--fast/],
    ['no --to', ['upload', 'x'], 'USAGE', /--to/],
    ['an unknown command', ['teleport'], 'USAGE', /teleport/],
    [
      'a bad priority',
      ['enqueue', 'ovaferry.yaml', '--to', 'lab', '--priority', 'x'],
      'USAGE',
      /priority/,
    ],
    ['a job that is not there', ['status', 'lab-0'], 'JOB_NOT_FOUND', /lab-0/],
    [
      'a configuration that is not there',
      ['status', '--config', 'no.yaml'],
      'CONFIG_INVALID',
      /no\.yaml/,
    ],
  ])('%s: exit 2', (_name, args, code, message) =>
    withPlace(async ({ folder }) => {
      const machine = await run([...args, '--json'], folder);
      expect(machine.code).toBe(2);
      expect(JSON.parse(machine.stdout).error).toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
      const people = await run(args, folder);
      expect(people).toMatchObject({ code: 2, stdout: '' });
      expect(people.stderr).toMatch(message);
    }),
  );

  test('two equal names for one catalog: exit 2, nothing enqueued', () =>
    withPlace(async ({ folder, path }) => {
      await mkdir(path('other'));
      await writeOva(path('box.ova'), good);
      await writeOva(path('other/box.ova'), good);
      const { code, stderr } = await run(
        ['enqueue', 'box.ova', 'other/box.ova', '--to', 'lab'],
        folder,
      );
      expect(code).toBe(2);
      expect(stderr).toContain('both be called box');
      expect(await json(['status'], folder)).toEqual([]);
    }));

  test('a catalog that does not exist fails the job', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('box.ova'), good);
      const { code, stdout } = await run(
        ['upload', 'box.ova', '--to', 'lab/none', '--json'],
        folder,
      );
      expect(code).toBe(1);
      expect(JSON.parse(stdout)[0].error).toMatchObject({
        code: 'CATALOG_NOT_FOUND',
        permanent: true,
      });
    }));

  test('a name that is taken fails the job and leaves the other item alone', () =>
    withPlace(async ({ folder, simulator, path }) => {
      await writeOva(path('box.ova'), good);
      await writeFile(path('box.iso'), isoOf());
      await run(['upload', 'box.iso', '--to', 'lab'], folder);
      const { code, stdout } = await run(['upload', 'box.ova', '--to', 'lab', '--json'], folder);
      expect(code).toBe(1);
      expect(JSON.parse(stdout)[0].error.code).toBe('NAME_TAKEN');
      expect(simulator.items()).toMatchObject([{ kind: 'media', status: 1 }]);
    }));

  test('a Redis that can not be reached: exit 3', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('box.ova'), good);
      const args = ['enqueue', 'box.ova', '--to', 'lab', '--redis', 'redis://:secret@127.0.0.1:1'];
      const { code, stdout, stderr } = await run([...args, '--json'], folder);
      expect(code).toBe(3);
      expect(JSON.parse(stdout).error.code).toBe('REDIS_UNAVAILABLE');
      expect(stdout + stderr).not.toContain('secret');
    }));
});

describe('a fault of the target fails no job: exit 3, and it stays queued', () => {
  const cases: [name: string, config: Partial<WorkplaceOptions>, to: string, code: string][] = [
    ['a wrong password', { password: 'wrong' }, 'lab', 'AUTH_REJECTED'],
    ['a host that does not resolve', { url: 'https://vcd.invalid' }, 'lab', 'HOST_NOT_FOUND'],
    ['a catalog that can not be written to', {}, 'lab/published', 'CATALOG_FORBIDDEN'],
    [
      'a secret that is not there',
      { password: `$${'{NO_SUCH_SECRET}'}` },
      'lab',
      'CREDENTIALS_MISSING',
    ],
  ];

  test.each(cases)('%s', (_name, config, to, code) =>
    withPlace(
      async ({ folder, simulator, path }) => {
        await writeOva(path('box.ova'), packageOf([100]));
        const { code: status, stdout } = await run(
          ['upload', 'box.ova', '--to', to, '--json'],
          folder,
        );
        expect(status).toBe(3);
        expect(JSON.parse(stdout).error).toMatchObject({ code, permanent: false });
        const people = await run(['upload', 'box.ova', '--to', to], folder);
        expect(people.code).toBe(3);
        expect(people.stderr).not.toBe('');
        const [queued] = await json(['status'], folder);
        expect(queued).toMatchObject({ state: 'delayed', error: { code, permanent: false } });
        expect(simulator.items()).toEqual([]);
        expect(simulator.world.sessions.attempts).toBeLessThanOrEqual(2); // one for each command
      },
      {},
      config,
    ),
  );
});

test('a command that needs its target at once ends with 3 where the login is rejected', () =>
  withPlace(
    async ({ folder }) => {
      expect(await run(['ls', 'lab'], folder)).toMatchObject({ code: 3 });
    },
    {},
    { password: 'wrong' },
  ));

test('a job that never reached its target is cancelled without it', () =>
  withPlace(
    async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      const [job] = await json(['enqueue', 'box.ova', '--to', 'lab'], folder);
      const [ended] = await json(['cancel', job?.id ?? ''], folder);
      expect(ended).toMatchObject({ state: 'failed', error: { code: 'CANCELLED' } });
    },
    {},
    { url: 'https://vcd.invalid' },
  ));

test('the next upload tries at once what waits for a mended target', () =>
  withPlace(
    async ({ folder, simulator, path }) => {
      await writeOva(path('box.ova'), packageOf([100]));
      expect((await run(['upload', 'box.ova', '--to', 'lab'], folder)).code).toBe(3);
      const yaml = await readFile(path('ovaferry.yaml'), 'utf8');
      await writeFile(path('ovaferry.yaml'), yaml.replace('wrong', 'simulated'));
      const { code, stdout } = await run(['upload', 'box.ova', '--to', 'lab', '--json'], folder);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)[0]).toMatchObject({ state: 'completed', existing: true });
      expect(simulator.items()).toHaveLength(1);
    },
    {},
    { password: 'wrong' },
  ));

test('a certificate that is not trusted is named; one that is named is trusted', () =>
  withFolder((folder) =>
    withRedis(folder, async ({ url: redis }) => {
      await writeFile(join(folder, 'cert.pem'), SELF_SIGNED.cert);
      const simulator = await startSimulator({ tls: SELF_SIGNED });
      try {
        await writeOva(join(folder, 'box.ova'), packageOf([1_000]));
        await configure(folder, { url: simulator.url, redis });
        const refused = await run(['upload', 'box.ova', '--to', 'lab', '--json'], folder);
        expect(refused.code).toBe(3);
        expect(JSON.parse(refused.stdout).error).toMatchObject({
          code: 'TLS_UNTRUSTED',
          message: expect.stringMatching(/self-signed/),
        });
        const sha256 = new X509Certificate(SELF_SIGNED.cert).fingerprint256;
        for (const [i, trust] of [
          'ca: ./cert.pem',
          `certificateSha256: "${sha256}"`,
          'insecure: true',
        ].entries()) {
          await configure(folder, { url: simulator.url, redis, more: `    ${trust}\n` });
          const args = ['upload', 'box.ova', '--to', 'lab', '--name', `box${i}`];
          expect(await run(args, folder)).toMatchObject({ code: 0 });
        }
        const wrong = `    certificateSha256: "${'00'.repeat(32)}"\n`;
        await configure(folder, { url: simulator.url, redis, more: wrong });
        const pinned = await run(
          ['upload', 'box.ova', '--to', 'lab', '--name', 'z', '--json'],
          folder,
        );
        expect(JSON.parse(pinned.stdout).error.message).toMatch(/other than the pinned one/);
        expect(simulator.items()).toHaveLength(3);
      } finally {
        await simulator.close();
      }
    }),
  ));

describe('inspect', () => {
  test('tells files, digests, and every problem at once', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([100, 200]));
      const good = await json<{ files: unknown[]; problems: unknown[] }>(
        ['inspect', 'box.ova'],
        folder,
      );
      expect(good.files).toHaveLength(2);
      expect(good.problems).toEqual([]);
      const [descriptor] = packageOf([100, 200]);
      await writeOva(path('bad.ova'), [descriptor as Member]);
      const { code, stdout } = await run(['inspect', 'bad.ova'], folder);
      expect(code).toBe(1);
      expect(stdout.match(/PACKAGE_INCOMPLETE/g)).toHaveLength(2);
    }));

  test('--verify reads every byte: what is right, what is not, and what it is where nothing says', () =>
    withPlace(async ({ folder, path }) => {
      interface Report {
        files: { verified: boolean | null; digests: { digest: string }[] }[];
        problems: { code: string; message: string }[];
      }
      const members = packageOf([100_000, 200_000]);
      await writeOva(path('box.ova'), members);
      const good = await json<Report>(['inspect', 'box.ova', '--verify'], folder);
      expect(good.files.map(({ verified }) => verified)).toEqual([true, true]);
      expect(good.problems).toEqual([]);
      const [, , disk] = members as [Member, Member, Member];
      disk.bytes[50_000] = (disk.bytes[50_000] ?? 0) ^ 1;
      await writeOva(path('box.ova'), members);
      const bad = await json<Report>(['inspect', 'box.ova', '--verify'], folder);
      expect(bad.files.map(({ verified }) => verified)).toEqual([false, true]);
      expect(bad.problems).toMatchObject([
        { code: 'DIGEST_MISMATCH', message: expect.stringContaining('box-disk1.vmdk') },
      ]);
      expect(await json<Report>(['inspect', 'box.ova'], folder)).toMatchObject({ problems: [] });
      const iso = isoOf();
      await writeFile(path('a.iso'), iso);
      const { files } = await json<Report>(['inspect', 'a.iso', '--verify'], folder);
      expect(files).toMatchObject([{ verified: null, digests: [{ digest: digest(iso) }] }]);
      const seen = await run(['inspect', 'box.ova', '--verify'], folder);
      expect(seen).toMatchObject({ code: 1, stderr: '' });
      expect(seen.stdout).toMatch(/box-disk1\.vmdk .*WRONG[\s\S]*box-disk2\.vmdk .*verified/);
    }));
});

test('--version and --help need no configuration, and no time', async () => {
  const version = await run(['--version'], '/');
  expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  const help = await run(['upload', '--help'], '/');
  expect(help.code).toBe(0);
  expect(help.stdout).toContain('--if-exists');
});

describe('what was uploaded once', () => {
  const items = ({ simulator }: Place): string[] => simulator.items().map(({ name }) => name);
  const images = ['box.ova', 'disc.iso'];
  const uploading = ['upload', ...images, '--to', 'lab'];

  async function withUploaded(use: (place: Place) => Promise<void>): Promise<void> {
    await withPlace(async (place) => {
      await writeOva(place.path('box.ova'), packageOf([10_000]));
      await writeFile(place.path('disc.iso'), isoOf());
      expect(await json(uploading, place.folder)).toMatchObject([
        { state: 'completed', existing: false, warnings: [] },
        { state: 'completed', existing: false, warnings: [] },
      ]);
      await use(place);
    });
  }

  test('is done while it is there, and uploaded again when somebody has removed it', () =>
    withUploaded(async (place) => {
      const { folder, simulator } = place;
      expect(await json(uploading, folder)).toMatchObject([{ existing: true }, { existing: true }]);
      const [box] = [...simulator.world.items()].filter(({ name }) => name === 'box');
      if (box) simulator.world.remove(box);
      const plans = await json<{ existing: object | null }[]>([...uploading, '--dry-run'], folder);
      expect(plans).toMatchObject([{ existing: null }, { existing: { state: 'completed' } }]);
      expect(await json(uploading, folder)).toMatchObject([
        { state: 'completed', existing: false },
        { state: 'completed', existing: true },
      ]);
      expect(items(place)).toEqual(expect.arrayContaining(['box', 'disc']));
    }));

  test('and is removed with rm is said to be removed, and is uploaded again', () =>
    withUploaded(async (place) => {
      const { folder } = place;
      await run(['rm', 'lab/appliances/*', '--yes'], folder);
      expect(items(place)).toEqual([]);
      expect((await run(['status'], folder)).stdout).toMatch(/completed, 10 kB; removed on \d/);
      const jobs = await json(uploading, folder);
      expect(jobs).toMatchObject([{ existing: false }, { existing: false }]);
      expect(items(place)).toHaveLength(2);
    }));

  test('is looked for by the worker where the producer has no secret', () =>
    withUploaded(async (place) => {
      const { folder, simulator, path } = place;
      const config = await readFile(path('ovaferry.yaml'), 'utf8');
      const sent = simulator.world.totals.arrived;
      await writeFile(
        path('ovaferry.yaml'),
        config.replace(/password: .*/, `password: '\${NONE}'`),
      );
      expect(await json(['enqueue', ...images, '--to', 'lab'], folder)).toMatchObject([
        { state: 'waiting', existing: false },
        { state: 'waiting', existing: false },
      ]);
      await writeFile(path('ovaferry.yaml'), config);
      const recognised = [expect.stringMatching(/^recognised: /)];
      expect(await json(uploading, folder)).toMatchObject([
        { state: 'completed', warnings: recognised },
        { state: 'completed', warnings: recognised },
      ]);
      expect(simulator.world.totals.arrived).toBe(sent);
    }));

  test('is recognised by the same command though Redis has lost everything', () =>
    withUploaded(async (place) => {
      const { folder, socket, simulator } = place;
      const sent = simulator.world.totals.arrived;
      const redis = new Redis(socket);
      const installation = await redis.get('{ovaferry}:installation');
      await redis.flushall();
      const recognised = [expect.stringMatching(/^recognised: /)];
      const { code, stdout } = await run(uploading, folder);
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/recognised: /) });
      expect(await json(['status'], folder)).toMatchObject([
        { state: 'completed', warnings: recognised },
        { state: 'completed', warnings: recognised },
      ]);
      expect(await redis.get('{ovaferry}:installation')).toBe(installation);
      redis.disconnect();
      expect(simulator.world.totals.arrived).toBe(sent);
    }));
});

describe('the same upload', () => {
  test('has one job, whichever of two commands gives it a pool', () =>
    withPlace(async ({ folder, path }) => {
      await writeOva(path('box.ova'), packageOf([10]));
      const enqueue = ['enqueue', 'box.ova', '--to', 'lab'];
      const both = await Promise.all([
        ...[1, 2, 3].map(() => json(enqueue, folder)),
        ...[1, 2, 3].map(() => json([...enqueue, '--pool', 'dc1'], folder)),
      ]);
      expect(new Set(both.flat().map(({ id }) => id)).size).toBe(1);
      expect(both.flat().filter(({ existing }) => !existing)).toHaveLength(1);
      expect(await json(['status'], folder)).toHaveLength(1);
    }));

  test('is added at once where a command died between taking its place and adding it', () =>
    withPlace(async ({ folder, path, socket }) => {
      await writeOva(path('box.ova'), packageOf([10]));
      const enqueue = ['enqueue', 'box.ova', '--to', 'lab'];
      const [job] = await json(enqueue, folder);
      const id = job?.id ?? '';
      const redis = new Redis(socket);
      await redis.del(`{ovaferry}:upload-lab:${id}`);
      await redis.zrem('{ovaferry}:upload-lab:prioritized', id);
      redis.disconnect();
      expect(await json(enqueue, folder)).toMatchObject([
        { id, existing: false, state: 'waiting' },
      ]);
      expect(await json(enqueue, folder)).toMatchObject([{ id, existing: true, state: 'waiting' }]);
    }));

  test('has another job after a failure, and each one when it is wanted again', () =>
    withPlace(async ({ folder, path }) => {
      await writeFile(path('box.ova'), 'no archive');
      const ids = new Set<string>();
      for (const _ of [1, 2, 3]) {
        const [job] = await json(['upload', 'box.ova', '--to', 'lab'], folder);
        expect(job).toMatchObject({ state: 'failed', existing: false });
        ids.add(job?.id ?? '');
      }
      expect(ids.size).toBe(3);
    }));
});
