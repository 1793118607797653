import { describe, expect, test } from '@jest/globals';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { attribute, basic, call } from '../helpers/http.ts';

/** What each release has, as its clients see it: every cell is a test. */
const TABLE = [
  {
    release: '5.5',
    versions: '1.5 5.1 5.5',
    deprecated: '',
    hasAlpha: false,
    legacy: true,
    legacyJwt: false,
    cloudapi: false,
    apiToken: false,
    serviceAccount: false,
    orgListsCatalogs: true,
    stackTrace: true,
    deletesSession: true,
  },
  {
    release: '9.7',
    versions: '27.0 28.0 29.0 30.0 31.0 32.0',
    deprecated: '27.0 28.0',
    hasAlpha: false,
    legacy: true,
    legacyJwt: true,
    cloudapi: false,
    apiToken: false,
    serviceAccount: false,
    orgListsCatalogs: true,
    stackTrace: false,
    deletesSession: true,
  },
  {
    release: '10.3',
    versions: '31.0 32.0 33.0 34.0 35.0 35.2 36.0 36.1 36.2 36.3',
    deprecated: '31.0 32.0 33.0',
    hasAlpha: true,
    legacy: true,
    legacyJwt: true,
    cloudapi: true,
    apiToken: true,
    serviceAccount: false,
    orgListsCatalogs: false,
    stackTrace: false,
    deletesSession: true,
  },
  {
    release: '10.4',
    versions: '34.0 35.0 35.2 36.0 36.1 36.2 36.3 37.0 37.1 37.2 37.3',
    deprecated: '34.0 35.0 35.2',
    hasAlpha: true,
    legacy: true,
    legacyJwt: true,
    cloudapi: true,
    apiToken: true,
    serviceAccount: true,
    orgListsCatalogs: false,
    stackTrace: false,
    deletesSession: true,
  },
  {
    release: '10.5',
    versions: '36.0 36.1 36.2 36.3 37.0 37.1 37.2 37.3 38.0 38.1',
    deprecated: '36.0 36.1 36.2 36.3',
    hasAlpha: true,
    legacy: false,
    legacyJwt: false,
    cloudapi: true,
    apiToken: true,
    serviceAccount: true,
    orgListsCatalogs: false,
    stackTrace: false,
    deletesSession: false,
  },
  {
    release: '10.6',
    versions: '37.0 37.1 37.2 37.3 38.0 38.1 39.0 39.1',
    deprecated: '37.0 37.1 37.2 37.3',
    hasAlpha: true,
    legacy: false,
    legacyJwt: false,
    cloudapi: true,
    apiToken: true,
    serviceAccount: true,
    orgListsCatalogs: false,
    stackTrace: false,
    deletesSession: false,
  },
] as const;

async function withSimulator<T>(
  options: SimulatorOptions,
  use: (simulator: Simulator) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator(options);
  try {
    return await use(simulator);
  } finally {
    await simulator.close();
  }
}

const AUTHORIZATION = basic('admin@acme', 'simulated');

describe.each(TABLE)('release $release', ({ release, ...cells }) => {
  const newest = cells.versions.split(' ').at(-1) ?? '';
  const xml = `application/*+xml;version=${newest}`;
  const ask = <T>(use: (simulator: Simulator) => Promise<T>): Promise<T> =>
    withSimulator({ release }, use);
  const post = ({ url }: Simulator, path: string, accept = xml, authorization = AUTHORIZATION) =>
    call(url, path, { method: 'POST', headers: { accept, authorization } });
  const exchange = ({ url }: Simulator, token: string) =>
    call(url, '/oauth/tenant/acme/token', {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
      body: `grant_type=refresh_token&refresh_token=${token}`,
    });
  const headersOf = async (simulator: Simulator): Promise<Record<string, string>> => {
    const { accounts } = simulator.world.sessions;
    const account = accounts.find(({ org, user }) => org === 'acme' && user === 'admin');
    const [token = ''] = simulator.world.sessions.open(account as never, ['legacy']);
    return { accept: xml, 'x-vcloud-authorization': token };
  };

  test('lists its versions, deprecated ones as such', () =>
    ask(async ({ url }) => {
      const { body } = await call(url, '/api/versions');
      const listed = [...body.matchAll(/<VersionInfo deprecated="(\w+)"><Version>([\d.]+)</g)];
      expect(listed.map(([, , version]) => version).join(' ')).toBe(cells.versions);
      const old = listed.filter(([, deprecated]) => deprecated === 'true');
      expect(old.map(([, , version]) => version).join(' ')).toBe(cells.deprecated);
      expect(body.includes('<AlphaVersion ')).toBe(cells.hasAlpha);
      expect(body.includes('<ProviderLoginUrl>')).toBe(Number.parseInt(newest, 10) >= 36);
    }));

  test(`${cells.legacy ? 'has' : 'has no'} POST /api/sessions for its newest version`, () =>
    ask(async (simulator) => {
      const { status, headers } = await post(simulator, '/api/sessions');
      expect(status === 200).toBe(cells.legacy);
      expect(headers['x-vcloud-authorization'] !== undefined).toBe(cells.legacy);
      expect(headers['x-vmware-vcloud-access-token'] !== undefined).toBe(cells.legacyJwt);
    }));

  test(`${cells.cloudapi ? 'has' : 'has no'} login by the cloudapi`, () =>
    ask(async (simulator) => {
      const accept = `application/json;version=${newest}`;
      const { status, body } = await post(simulator, '/cloudapi/1.0.0/sessions', accept);
      expect(status).toBe(cells.cloudapi ? 200 : 404);
      if (!cells.cloudapi) expect(body).toMatch(/^<html>/);
    }));

  test(`${cells.cloudapi ? 'lets' : 'does not let'} providers log in at an address of their own`, () =>
    ask(async (simulator) => {
      const accept = `application/json;version=${newest}`;
      const provider = basic('administrator@System', 'simulated');
      const path = '/cloudapi/1.0.0/sessions/provider';
      expect((await post(simulator, path, accept, provider)).status).toBe(
        cells.cloudapi ? 200 : 404,
      );
      // Nor may a tenant come in by the provider's door.
      const tenant = await post(simulator, path, accept);
      expect(tenant.status).toBe(cells.cloudapi ? 401 : 404);
    }));

  test(`${cells.apiToken ? 'knows' : 'does not know'} API tokens`, () =>
    ask(async (simulator) => {
      const { status, body } = await exchange(simulator, 'simulated-token-acme-admin');
      expect(status).toBe(cells.apiToken ? 200 : 404);
      if (cells.apiToken) expect(JSON.parse(body)).toMatchObject({ refresh_token: null });
    }));

  test(`${cells.serviceAccount ? 'knows' : 'does not know'} service accounts, whose token works once`, () =>
    ask(async (simulator) => {
      const { status, body } = await exchange(simulator, 'simulated-service-acme');
      expect(status === 200).toBe(cells.serviceAccount);
      if (!cells.serviceAccount) return;
      const { refresh_token: next } = JSON.parse(body) as { refresh_token: string };
      const again = await exchange(simulator, 'simulated-service-acme');
      expect(again).toMatchObject({ status: 400, body: expect.stringContaining('invalid_grant') });
      expect((await exchange(simulator, next)).status).toBe(200);
    }));

  test(`${cells.orgListsCatalogs ? 'lists' : 'does not list'} an organisation's catalogs in it`, () =>
    ask(async (simulator) => {
      const headers = await headersOf(simulator);
      const { id } = simulator.world.org;
      const { body } = await call(simulator.url, `/api/org/${id}`, { headers });
      expect(/rel="down"[^>]*vcloud\.catalog\+xml" name="appliances"/.test(body)).toBe(
        cells.orgListsCatalogs,
      );
    }));

  test(`says what is wrong ${cells.stackTrace ? 'with' : 'without'} a stack trace`, () =>
    ask(async (simulator) => {
      const headers = await headersOf(simulator);
      const { status, body } = await call(simulator.url, '/api/catalog/none', { headers });
      expect(status).toBe(403);
      expect(attribute(body, 'minorErrorCode')).toBe('ACCESS_TO_RESOURCE_IS_FORBIDDEN');
      expect(attribute(body, 'message')).toMatch(/^\[ [\w-]+ \] /);
      expect(body.includes(' stackTrace="')).toBe(cells.stackTrace);
    }));

  test(`${cells.deletesSession ? 'ends' : 'does not end'} a session by DELETE /api/session`, () =>
    ask(async (simulator) => {
      const headers = await headersOf(simulator);
      const path = '/api/session';
      const { status } = await call(simulator.url, path, { method: 'DELETE', headers });
      expect(status === 204).toBe(cells.deletesSession);
      const after = await call(simulator.url, '/api/org', { headers });
      expect(after.status).toBe(cells.deletesSession ? 401 : 200);
    }));

  test('answers a wrong password, a version it does not serve and no token as every release does', () =>
    ask(async (simulator) => {
      const wrong = basic('admin@acme', 'wrong');
      const path = cells.legacy ? '/api/sessions' : '/cloudapi/1.0.0/sessions';
      expect(await post(simulator, path, xml, wrong)).toMatchObject({
        status: 401,
        body: '',
        headers: { 'www-authenticate': 'BASIC realm="vCloud"' },
      });
      const other = { accept: 'application/*+xml;version=19.0' };
      expect((await call(simulator.url, '/api/org', { headers: other })).status).toBe(406);
      expect((await call(simulator.url, '/api/org', { headers: { accept: xml } })).status).toBe(
        403,
      );
    }));
});

test('a release that is not there is an error that lists those there are', async () => {
  await expect(startSimulator({ release: '11' })).rejects.toThrow(/5\.5, 9\.7, 10\.3/);
});
