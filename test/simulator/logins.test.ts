import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { tokenFile } from '../../src/config/token-file.ts';
import { RELEASES } from '../../src/simulator/releases.ts';
import type { VcdOptions } from '../../src/vcd/client.ts';
import type { Credentials } from '../../src/vcd/login.ts';
import { until } from '../helpers/cli.ts';
import { withClock } from '../helpers/clock.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { assertionFor, HOLDER } from '../helpers/saml.ts';
import { withFolder } from '../helpers/temp.ts';
import { clientOf, type UploadWorld, withUploads } from '../helpers/upload.ts';

const PASSWORD = 'simulated';
const context = { signal: new AbortController().signal };

/** Every way to log in, and the releases that know it. */
const LOGINS: readonly {
  readonly how: string;
  readonly org?: string;
  readonly tenant?: string;
  readonly since?: string;
  readonly credentials: (folder: string, release: string) => Credentials;
}[] = [
  {
    how: 'a user and a password',
    credentials: () => ({ kind: 'password', user: 'admin', password: PASSWORD }),
  },
  {
    how: 'a provider acting for a tenant',
    org: 'system',
    tenant: 'ACME',
    credentials: () => ({ kind: 'password', user: 'administrator', password: PASSWORD }),
  },
  {
    how: 'an API token',
    since: '10.3',
    credentials: () => ({ kind: 'apiToken', token: `${PASSWORD}-token-acme-admin` }),
  },
  {
    how: "a provider's API token, acting for a tenant",
    org: 'System',
    tenant: 'acme',
    since: '10.3',
    credentials: () => ({ kind: 'apiToken', token: `${PASSWORD}-token-system-administrator` }),
  },
  {
    how: 'a service account',
    since: '10.4',
    credentials: (folder, release) => {
      const file = join(folder, `account-${release}`);
      writeFileSync(file, `${PASSWORD}-service-acme\n`);
      return { kind: 'serviceAccount', rotate: tokenFile(file) };
    },
  },
  {
    how: 'a SAML assertion',
    credentials: () => ({ kind: 'saml', assertion: assertionFor('author') }),
  },
  {
    how: 'a SAML assertion for a holder of key',
    credentials: () => ({
      kind: 'saml',
      assertion: assertionFor('author', { holder: true }),
      key: HOLDER.key,
    }),
  },
];

const isSince = (release: string, since = '5.5'): boolean => {
  const names = RELEASES.map(({ name }) => name);
  return names.indexOf(release) >= names.indexOf(since);
};

describe.each(RELEASES.map(({ name }) => name))('release %s', (release) => {
  test.each(LOGINS)('by $how', ({ org = 'acme', tenant, since, credentials }) =>
    withFolder((folder) =>
      withUploads(
        { release },
        async (world) => {
          const source = await writeOva(join(folder, 'box.ova'), packageOf([10]));
          if (!isSince(release, since)) {
            await expect(world.vcd.connect()).rejects.toMatchObject({ code: expect.any(String) });
            return;
          }
          await world.upload(source);
          const [item] = world.simulator.items();
          expect(item).toMatchObject({ status: 8, catalog: 'appliances', org: 'acme' });
          // Nobody sends what vCD and balancers refuse: the older token and the newer at once.
          for (const { headers } of world.simulator.requests) {
            expect(headers['authorization'] ?? '').not.toContain(',');
          }
        },
        {
          org,
          ...(tenant === undefined ? {} : { tenant }),
          credentials: memo(() => credentials(folder, release)),
        },
      ),
    ),
  );

  test('a wrong password is tried once, however many ask', () =>
    withUploads(
      { release },
      async ({ vcd, simulator }) => {
        for (let i = 0; i < 5; i += 1) {
          await expect(vcd.connect()).rejects.toMatchObject({ code: 'AUTH_REJECTED' });
        }
        expect(simulator.world.sessions.attempts).toBe(1);
      },
      { credentials: async () => ({ kind: 'password', user: 'admin', password: 'wrong' }) },
    ));
});

/** Made once, and given at every login. */
function memo(make: () => Credentials): () => Promise<Credentials> {
  let made: Credentials | undefined;
  return async () => {
    made ??= make();
    return made;
  };
}

describe('versions', () => {
  test.each([
    ['39.1', '/cloudapi/1.0.0/sessions'],
    ['35.0', '/cloudapi/1.0.0/sessions'],
    ['33.0', '/cloudapi/1.0.0/sessions'],
    ['32.0', '/api/sessions'],
    ['27.0', '/api/sessions'],
    ['5.5', '/api/sessions'],
  ])('with API %s sessions begin at %s, and the catalog is found', (version, path) =>
    withFolder((folder) =>
      withUploads({ api: [version] }, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([10])));
        expect(world.simulator.items()[0]).toMatchObject({ status: 8 });
        expect(world.simulator.requests.find(({ method }) => method === 'POST')?.path).toBe(path);
      }),
    ),
  );

  test.each([
    ['5.5', '5.5'],
    ['9.7', '32.0'],
    ['10.3', '36.3'],
    ['10.4', '37.3'],
    ['10.5', '38.1'],
    ['10.6', '39.1'],
  ])('of release %s %s is spoken: no deprecated one, no alpha', (release, version) =>
    withUploads({ release }, async ({ vcd }) => {
      expect(await vcd.connect()).toEqual({ version });
    }),
  );

  test('40.0 alone is another product', () =>
    withUploads({ api: ['40.0'] }, async ({ vcd }) => {
      await expect(vcd.connect()).rejects.toMatchObject({
        code: 'VERSION_UNSUPPORTED',
        message: expect.stringContaining('VCF Automation'),
      });
    }));
});

describe('sessions', () => {
  test('a provider logs in at its own address', () =>
    withUploads(
      {},
      async ({ vcd, simulator }) => {
        await vcd.connect();
        expect(simulator.requests.at(-1)).toMatchObject({
          path: '/cloudapi/1.0.0/sessions/provider',
          status: 200,
        });
      },
      {
        org: 'System',
        credentials: async () => ({ kind: 'password', user: 'administrator', password: PASSWORD }),
      },
    ));

  test('where /api/sessions is switched off, the newer login is tried with what was rejected', () =>
    withUploads({ release: '10.3', api: ['32.0'], legacyLogin: false }, async (world) => {
      expect(await world.vcd.connect()).toEqual({ version: '32.0' });
      const logins = world.simulator.requests.filter(({ method }) => method === 'POST');
      expect(logins.map(({ path, status }) => [path, status])).toEqual([
        ['/api/sessions', 401],
        ['/cloudapi/1.0.0/sessions', 200],
      ]);
    }));

  test('a token that was handed in is used as it is, and never renewed', () =>
    withUploads({}, async ({ simulator }) => {
      const [account] = simulator.world.sessions.accounts;
      const [token = ''] = simulator.world.sessions.open(account as never, ['jwt']);
      const client = { credentials: async () => ({ kind: 'bearer', token }) as const };
      await withClient(simulator, client, async (vcd) => {
        expect(await vcd.getCatalog('appliances', context)).toMatchObject({ name: 'appliances' });
        simulator.world.sessions.expireAll();
        await expect(vcd.getCatalog('appliances', context)).rejects.toMatchObject({
          code: 'AUTH_REJECTED',
        });
        expect(simulator.world.sessions.attempts).toBe(0);
      });
    }));

  test('live on while bytes flow, which vCD does not count as use: one that was handed in, too', () =>
    withUploads({ sessionIdleMs: 2_000 }, async ({ simulator }) => {
      const [account] = simulator.world.sessions.accounts;
      const [token = ''] = simulator.world.sessions.open(account as never, ['jwt']);
      const credentials = async () => ({ kind: 'bearer', token }) as const;
      await withClient(simulator, { credentials, idleMs: 400 }, async (vcd) => {
        const { addMediaHref = '' } = await vcd.getCatalog('appliances', context);
        const media = { name: 'm', description: '', size: 40_000, imageType: undefined } as const;
        const made = await vcd.createMedia(addMediaHref, { ...media, operationKey: 'k' }, context);
        const [file] = (await vcd.getEntity(made.entityHref, context)).files;
        const slow = { on: { method: 'PUT' }, do: { bytesPerSecond: 20_000 } };
        simulator.world.faults.add(slow);
        const body = (async function* () {
          for (let i = 0; i < 20; i += 1) {
            yield Buffer.alloc(2_000);
            await new Promise((resolve) => setTimeout(resolve, 150));
          }
        })();
        const range = { start: 0, end: 40_000, total: 40_000 };
        await vcd.putRange(file?.uploadHref ?? '', body, range, context);
        expect((await vcd.getEntity(made.entityHref, context)).status).toBe(1);
        expect(simulator.requests.filter(({ status }) => status === 401)).toEqual([]);
      });
    }));

  test('that run out are renewed once, by one login for all who noticed', () =>
    withUploads({}, async ({ vcd, simulator }) => {
      await vcd.getCatalog('appliances', context);
      simulator.world.sessions.expireAll();
      const before = simulator.world.sessions.attempts;
      await Promise.all(Array.from({ length: 8 }, () => vcd.getCatalog('appliances', context)));
      expect(simulator.world.sessions.attempts).toBe(before + 1);
    }));

  test.each([
    ['by its JWT', { kind: 'password', user: 'admin', password: PASSWORD }],
    ['by what came with it', { kind: 'apiToken', token: `${PASSWORD}-token-acme-admin` }],
  ] as const)('are renewed before they run out, as is known %s', (_how, credentials) =>
    withClock((clock) =>
      withUploads(
        // A JWT's end is given in whole seconds.
        { sessionAbsoluteMs: 3_000 },
        async ({ vcd, simulator }) => {
          for (let ms = 0; ms < 4_500; ms += 100) {
            // A renewal goes on beside the call at which it was due: the next ones give it time.
            for (let i = 0; i < 3; i += 1) await vcd.getCatalog('appliances', context);
            clock.forward(100);
          }
          expect(simulator.world.sessions.attempts).toBeGreaterThan(1);
          expect(simulator.requests.filter(({ status }) => status === 401)).toEqual([]);
        },
        { credentials: async () => credentials },
      ),
    ),
  );

  test('an assertion that has run out does not end a session that lives', () =>
    withClock((clock) =>
      withUploads({ sessionAbsoluteMs: 3_000 }, async ({ simulator }) => {
        const assertion = assertionFor('author', { until: new Date(Date.now() + 1_000) });
        const client = { credentials: async () => ({ kind: 'saml', assertion }) as const };
        await withClient(simulator, client, async (vcd) => {
          for (let ms = 0; ms < 2_900; ms += 50) {
            await vcd.getCatalog('appliances', context);
            clock.forward(50);
          }
          clock.forward(400);
          await expect(vcd.getCatalog('appliances', context)).rejects.toMatchObject({
            code: 'AUTH_REJECTED',
          });
        });
      }),
    ));

  test('a tenant that is not there is named', () =>
    withUploads(
      {},
      async ({ vcd }) => {
        await expect(vcd.connect()).rejects.toMatchObject({
          code: 'ORG_NOT_FOUND',
          message: expect.stringContaining('initech'),
        });
      },
      {
        org: 'System',
        tenant: 'initech',
        credentials: async () => ({ kind: 'password', user: 'administrator', password: PASSWORD }),
      },
    ));

  test('below 33.0 a wrong password is tried by the newer login once, where there is none', () =>
    withUploads(
      { release: '9.7' },
      async ({ vcd, simulator }) => {
        for (let i = 0; i < 3; i += 1) {
          await expect(vcd.connect()).rejects.toMatchObject({ code: 'AUTH_REJECTED' });
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        const logins = simulator.requests.filter(({ method }) => method === 'POST');
        expect(logins.filter(({ path }) => path.startsWith('/cloudapi/'))).toHaveLength(1);
      },
      {
        rejectedPauseMs: 10,
        credentials: async () => ({ kind: 'password', user: 'admin', password: 'wrong' }),
      },
    ));

  test('one Authorization header, on transfers, too', () =>
    withFolder((folder) =>
      withUploads({}, async (world) => {
        await world.upload(await writeOva(join(folder, 'box.ova'), packageOf([10])));
        const puts = world.simulator.requests.filter(({ path }) => path.startsWith('/transfer/'));
        expect(puts.length).toBeGreaterThan(0);
        for (const { headers } of puts) expect(headers['authorization']).toBe('Bearer');
      }),
    ));
});

describe("a service account's token", () => {
  const json = (token: string): string => JSON.stringify({ token_type: 'x', refresh_token: token });
  const first = `${PASSWORD}-service-acme`;

  test.each([
    ['alone', `${first}\n`, (text: string) => text.trim()],
    ['in JSON', json(first), (text: string) => JSON.parse(text).refresh_token],
  ])('is replaced in its file, %s, which others may not read', (_form, text, read) =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, text, { mode: 0o644 });
        for (let i = 0; i < 3; i += 1) {
          const before = read(readFileSync(file, 'utf8'));
          await withAccount(simulator, file, (vcd) => vcd.connect());
          expect(read(readFileSync(file, 'utf8'))).not.toBe(before);
          expect(statSync(file).mode & 0o777).toBe(0o600);
        }
        if (text.startsWith('{')) expect(readFileSync(file, 'utf8')).toContain('"token_type"');
      }),
    ),
  );

  test('is spent by one at a time, however many share the file', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        const each = Array.from({ length: 5 }, () =>
          withAccount(simulator, file, (vcd) => vcd.connect()),
        );
        expect(await Promise.all(each)).toHaveLength(5);
      }),
    ));

  /** As a process leaves it that dies when it has the next token, and the file not yet. */
  const leaveBeside = (file: string, text: string, token: string): void => {
    const replaces = createHash('sha256').update(text).digest('hex');
    writeFileSync(`${file}.next`, JSON.stringify({ refresh_token: token, replaces }));
  };

  test.each([['burnt'], [json('burnt')]])(
    'that was stored beside its file (%s) by a process that died is found',
    (text) =>
      withFolder((folder) =>
        withUploads({}, async ({ simulator }) => {
          const file = join(folder, 'account');
          writeFileSync(file, text);
          leaveBeside(file, text, first);
          await withAccount(simulator, file, (vcd) => vcd.connect());
          expect(simulator.world.sessions.attempts).toBe(1);
          await withAccount(simulator, file, (vcd) => vcd.connect());
          expect(existsSync(`${file}.next`)).toBe(false);
        }),
      ),
  );

  test('that somebody puts into the file goes before what was left beside it', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        leaveBeside(file, 'what it was', 'of another account');
        writeFileSync(file, first);
        await withAccount(simulator, file, (vcd) => vcd.connect());
        expect(simulator.world.sessions.attempts).toBe(1);
      }),
    ));

  test('is written into a file that can not be replaced', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        for (let i = 0; i < 3; i += 1) {
          const { ino } = statSync(file);
          const before = readFileSync(file, 'utf8');
          mkdirSync(join(`${file}.new`, 'x'), { recursive: true }); // in the way of a rename
          await withAccount(simulator, file, (vcd) => vcd.connect());
          expect(statSync(file).ino).toBe(ino);
          expect(readFileSync(file, 'utf8')).not.toBe(before);
        }
        expect(simulator.world.sessions.attempts).toBe(3);
      }),
    ));

  test('that can not be stored is kept by the process, which goes on with it', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        mkdirSync(`${file}.next`);
        for (let i = 0; i < 2; i += 1) await withAccount(simulator, file, (vcd) => vcd.connect());
        rmSync(`${file}.next`, { recursive: true });
        await withAccount(simulator, file, (vcd) => vcd.connect());
        expect(readFileSync(file, 'utf8')).not.toContain(first);
        expect(simulator.world.sessions.attempts).toBe(3);
      }),
    ));

  test('is not spent where its file is broken', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, `{"refresh_token": "${first}"`);
        writeFileSync(`${file}.next`, first);
        const failed = withAccount(simulator, file, (vcd) => vcd.connect());
        await expect(failed).rejects.toMatchObject({ code: 'CREDENTIALS_MISSING' });
        expect(simulator.world.sessions.attempts).toBe(0);
        expect(readFileSync(`${file}.next`, 'utf8')).toBe(first);
      }),
    ));

  test('is stored although the lock was lost meanwhile, as after a freeze', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        simulator.world.faults.add({ on: { path: '/oauth/' }, do: { delayMs: 6_000 } });
        const slow = withAccount(simulator, file, (vcd) => vcd.connect());
        await until('the lock, while it is asked', () => {
          const isAsked = simulator.requests.some(({ path }) => path.startsWith('/oauth/'));
          return isAsked && existsSync(`${file}.lock`);
        });
        rmSync(`${file}.lock`, { recursive: true });
        await slow;
        await withAccount(simulator, file, (vcd) => vcd.connect());
      }),
    ));

  test('that was cut short beside its file does no harm', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        writeFileSync(`${file}.next`, first.slice(0, 5));
        await withAccount(simulator, file, (vcd) => vcd.connect());
        await withAccount(simulator, file, (vcd) => vcd.connect());
      }),
    ));

  test('whose successor never arrived is an error that says what to do', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        const file = join(folder, 'account');
        writeFileSync(file, first);
        simulator.world.faults.add({ on: { path: '/oauth/' }, do: { loseReply: true } });
        await expect(withAccount(simulator, file, (vcd) => vcd.connect())).rejects.toMatchObject({
          code: 'NETWORK',
        });
        await expect(withAccount(simulator, file, (vcd) => vcd.connect())).rejects.toMatchObject({
          code: 'AUTH_REJECTED',
          hint: expect.stringContaining(file),
        });
      }),
    ));

  test('is not spent where its successor could not be stored', () =>
    withFolder((folder) =>
      withUploads({}, async ({ simulator }) => {
        await expect(
          withAccount(simulator, join(folder, 'none'), (vcd) => vcd.connect()),
        ).rejects.toMatchObject({ code: 'CREDENTIALS_MISSING' });
        expect(simulator.world.sessions.attempts).toBe(0);
      }),
    ));
});

function withAccount<T>(
  simulator: UploadWorld['simulator'],
  file: string,
  use: (vcd: UploadWorld['vcd']) => Promise<T>,
): Promise<T> {
  const credentials = { kind: 'serviceAccount', rotate: tokenFile(file) } as const;
  return withClient(simulator, { credentials: async () => credentials }, use);
}

async function withClient<T>(
  simulator: UploadWorld['simulator'],
  options: Partial<VcdOptions>,
  use: (vcd: UploadWorld['vcd']) => Promise<T>,
): Promise<T> {
  const vcd = clientOf(simulator, options);
  try {
    return await use(vcd);
  } finally {
    vcd.close();
  }
}
