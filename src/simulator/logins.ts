import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Account } from './accounts.ts';
import { type Call, type Reply, type Route, readBody } from './call.ts';
import { sessionJson } from './cloudapi.ts';
import { ApiError } from './errors.ts';
import { sessionReply } from './organization.ts';
import { samlAccount } from './saml.ts';
import { atLeast } from './versions.ts';
import type { World } from './world.ts';

const isProvider = ({ org }: Account): boolean => org.toLowerCase() === 'system';

/**
 * The ways to log in that need no version: `/oauth/…/token`, for API tokens and service accounts.
 * Undefined for what is none of them.
 */
export async function exchangeToken(
  world: World,
  request: IncomingMessage,
  path: string,
): Promise<Reply | undefined> {
  const [, provider, org] = /^\/oauth\/(?:(provider)|tenant\/([^/]+))\/token$/.exec(path) ?? [];
  if ((provider ?? org) === undefined || request.method !== 'POST') return undefined;
  if (!world.release.apiTokens) return undefined;
  world.sessions.attempts += 1;
  const form = new URLSearchParams((await readBody(request)).toString());
  if (form.get('grant_type') !== 'refresh_token') return refused('unsupported_grant_type');
  const token = form.get('refresh_token') ?? '';
  const account = world.sessions.accounts.find(
    (candidate) =>
      (token === candidate.apiToken && candidate.serviceToken === undefined) ||
      (token === candidate.serviceToken && world.release.serviceAccounts),
  );
  const home = provider === undefined ? decodeURIComponent(org ?? '') : 'System';
  if (!account || account.org.toLowerCase() !== home.toLowerCase()) return refused('invalid_grant');
  // From this moment on the old token of a service account is worth nothing.
  if (account.serviceToken !== undefined) account.serviceToken = randomUUID();
  const [access] = world.sessions.open(account, ['jwt']);
  return {
    status: 200,
    json: {
      access_token: access,
      token_type: 'Bearer',
      expires_in: Math.floor(world.sessions.limits.absoluteMs / 1000),
      refresh_token: account.serviceToken ?? null,
    },
  };
}

function refused(error: string): Reply {
  return { status: 400, json: { error, error_description: 'The token is not valid.' } };
}

/**
 * The ways to log in with a user or an assertion; undefined for what is none of them, or none any
 * more: 38.0 removed `/api/sessions`.
 *
 * @throws ApiError 401 without a body
 */
export function logIn(
  world: World,
  { headers, method }: IncomingMessage,
  { path, version }: { path: string; version: string },
): Reply | undefined {
  if (method !== 'POST') return undefined;
  const authorization = headers.authorization ?? '';
  const { cloudapi, legacyJwt } = world.release;
  if (/^\/api\/(sessions|login)$/.test(path)) {
    if (atLeast(version, '38.0')) throw new ApiError(405, undefined, 'removed by 38.0');
    world.sessions.attempts += 1;
    // An administrator may switch it off; it then says what it says to a wrong password.
    if (!world.options.legacyLogin) throw new ApiError(401, undefined, 'switched off');
    const account = accountOf(world, authorization);
    const withJwt = legacyJwt && atLeast(version, '30.0');
    const [token = '', jwt] = world.sessions.open(
      account,
      withJwt ? ['legacy', 'jwt'] : ['legacy'],
    );
    return {
      ...sessionReply({ world, version, session: sessionOf(world, token) }),
      headers: {
        'x-vcloud-authorization': token,
        'set-cookie': `vcloud-token=${token}; Secure; Path=/`,
        ...(jwt === undefined ? {} : jwtHeaders(jwt)),
      },
    };
  }
  const cloud = /^\/cloudapi\/1\.0\.0\/sessions(\/provider)?$/.exec(path);
  if (!cloud || !cloudapi) return undefined;
  world.sessions.attempts += 1;
  const account = accountOf(world, authorization);
  // A provider can't log in as a tenant, nor the reverse.
  if (isProvider(account) !== (cloud[1] !== undefined)) {
    throw new ApiError(401, undefined, 'the other endpoint');
  }
  const [token = ''] = world.sessions.open(account, ['jwt']);
  return { status: 200, json: sessionJson(account), headers: jwtHeaders(token) };
}

function jwtHeaders(token: string): Record<string, string> {
  return { 'X-VMWARE-VCLOUD-ACCESS-TOKEN': token, 'X-VMWARE-VCLOUD-TOKEN-TYPE': 'Bearer' };
}

function sessionOf(world: World, token: string): ReturnType<World['sessions']['authenticate']> {
  return world.sessions.authenticate({ 'x-vcloud-authorization': token }, () => undefined);
}

/** By Basic `user@org:password`, or by an assertion. */
function accountOf(world: World, authorization: string): Account {
  const { accounts } = world.sessions;
  if (/^SIGN\s/i.test(authorization)) return samlAccount(authorization, accounts);
  const encoded = /^Basic\s+(\S+)$/i.exec(authorization)?.[1];
  if (encoded === undefined) throw new ApiError(401, undefined, 'no credentials');
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const at = text.lastIndexOf('@', colon);
  const account = accounts.find(
    ({ org, user, password }) =>
      password !== '' &&
      user === text.slice(0, at) &&
      org.toLowerCase() === text.slice(at + 1, colon).toLowerCase() &&
      password === text.slice(colon + 1),
  );
  if (at >= 0 && account) return account;
  throw new ApiError(401, undefined, 'wrong credentials');
}

/** How a session ends. */
export const logoutRoutes: readonly Route[] = [
  { method: 'DELETE', path: /^\/api\/session$/, handle: logOutOld },
  { method: 'DELETE', path: /^\/cloudapi\/1\.0\.0\/sessions(\/.*)?$/, handle: logOut },
];

/** Removed by 38.0, with the login of its age. */
function logOutOld(call: Call): Reply {
  if (atLeast(call.version, '38.0')) throw new ApiError(405, undefined, 'no such operation');
  return logOut(call);
}

function logOut({ world, session }: Call): Reply {
  world.sessions.logout(session);
  return { status: 204 };
}
