import { FerryError } from '../errors.ts';
import { errorOfAnswer, isForeignPage } from './answer.ts';
import type { HttpAnswer } from './http.ts';
import { type SamlAssertion, samlHeader } from './saml.ts';
import { compareVersions, type OfferedVersion } from './versions.ts';

/** Spends a refresh token that is worth nothing afterwards, and keeps the one that comes for it. */
type RotateToken = <T extends { readonly refreshToken: string }>(
  spend: (refreshToken: string) => Promise<T>,
) => Promise<T>;

export type Credentials =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'apiToken'; readonly token: string }
  | { readonly kind: 'serviceAccount'; readonly rotate: RotateToken }
  | { readonly kind: 'bearer'; readonly token: string }
  | ({ readonly kind: 'saml' } & SamlAssertion);

/** What a login gave: the token, and how to carry it. */
export interface Token {
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds that it lives at most, from now on; undefined if that is not said. */
  readonly lifetimeMs: number | undefined;
}

interface LoginRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One target as somebody who logs in sees it. */
export interface Door {
  readonly host: string;
  readonly org: string;
  /** All that the server offers, and the one that will be spoken. */
  readonly versions: readonly OfferedVersion[];
  readonly version: OfferedVersion;
  /** Shared by all logins to this target. */
  readonly known: { legacy: 'untried' | 'works' | 'off' };
  readonly post: (request: LoginRequest) => Promise<HttpAnswer>;
}

export function isProvider(org: string): boolean {
  return org.toLowerCase() === 'system';
}

/**
 * Logs in, by the endpoint that credentials and version want.
 *
 * @throws FerryError AUTH_REJECTED, SERVER_UNAVAILABLE, NOT_VCD, NETWORK …
 */
export async function logIn(door: Door, credentials: Credentials): Promise<Token> {
  switch (credentials.kind) {
    case 'bearer':
      return tokenFrom(credentials.token, undefined);
    case 'apiToken':
      return (await exchange(door, credentials.token)).token;
    case 'serviceAccount':
      return (await credentials.rotate((token) => spend(door, token))).token;
    case 'saml':
      return bySaml(door, credentials);
    case 'password':
      return byPassword(door, basic(credentials, door.org));
  }
}

function basic(
  { user, password }: { readonly user: string; readonly password: string },
  org: string,
): string {
  return `Basic ${Buffer.from(`${user}@${org}:${password}`, 'utf8').toString('base64')}`;
}

/** By the cloudapi from 33.0 on (38.0 removed the other), by `/api/sessions` below. */
async function byPassword(door: Door, authorization: string): Promise<Token> {
  const isNew = compareVersions(door.version.version, '33.0') >= 0;
  if (isNew || door.known.legacy === 'off') return byCloudapi(door, authorization);
  try {
    const token = await byLegacy(door, authorization);
    door.known.legacy = 'works';
    return token;
  } catch (error) {
    // Where an administrator has switched this endpoint off, it rejects whatever is right, too.
    const isRejected = error instanceof FerryError && error.facts['status'] === 401;
    if (!isRejected || door.known.legacy === 'works') throw error;
  }
  return instead(door, authorization);
}

/** By the newer door, of which it is then known whether it is there: no password is tried at both again. */
async function instead(door: Door, authorization: string): Promise<Token> {
  try {
    const token = await byCloudapi(door, authorization);
    door.known.legacy = 'off';
    return token;
  } catch (error) {
    const { code } = error as FerryError;
    if (code === 'AUTH_REJECTED') door.known.legacy = 'off';
    if (code !== 'NOT_VCD') throw error;
    door.known.legacy = 'works'; // the only one there is: the password was wrong
    throw rejected(door, 401);
  }
}

async function byCloudapi(door: Door, authorization: string): Promise<Token> {
  const { version, loginPath, providerLoginPath } = door.version;
  const announced = isProvider(door.org) ? providerLoginPath : loginPath;
  const usual = `/cloudapi/1.0.0/sessions${isProvider(door.org) ? '/provider' : ''}`;
  const path = announced?.includes('/cloudapi/') ? announced : usual;
  const accept = `application/json;version=${version}`;
  return tokenOf(door, await accepted(door, { path, headers: { accept, authorization } }));
}

async function byLegacy(
  door: Door,
  authorization: string,
  { version, loginPath }: OfferedVersion = door.version,
): Promise<Token> {
  const accept = `application/*+xml;version=${version}`;
  const path = loginPath?.includes('/api/') ? loginPath : '/api/sessions';
  return tokenOf(door, await accepted(door, { path, headers: { accept, authorization } }));
}

/**
 * An assertion goes to `/api/sessions` (guide, "Create a Login Session Using a SAML Identity
 * Provider"). A server that speaks newer versions besides still has it for the older ones.
 */
function bySaml(door: Door, assertion: SamlAssertion): Promise<Token> {
  const authorization = samlHeader(assertion, door.org);
  const isOld = ({ version }: OfferedVersion): boolean =>
    /^\d+\.\d+$/.test(version) && compareVersions(version, '38.0') < 0;
  const old = isOld(door.version)
    ? door.version
    : door.versions
        .filter(isOld)
        .sort((a, b) => compareVersions(b.version, a.version))
        .at(0);
  return old ? byLegacy(door, authorization, old) : byCloudapi(door, authorization);
}

/** Service accounts get another refresh token for the one that is burnt by this. */
async function spend(
  door: Door,
  refreshToken: string,
): Promise<{ token: Token; refreshToken: string }> {
  const { token, next } = await exchange(door, refreshToken);
  // A server that does not rotate it says nothing of another.
  return { token, refreshToken: next ?? refreshToken };
}

/** `grant_type=refresh_token` at the organisation's token endpoint (10.3.1 on). */
async function exchange(
  door: Door,
  refreshToken: string,
): Promise<{ token: Token; next: string | undefined }> {
  const path = isProvider(door.org)
    ? '/oauth/provider/token'
    : `/oauth/tenant/${encodeURIComponent(door.org)}/token`;
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken });
  const headers = {
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  };
  const answer = await accepted(door, { path, headers, body: body.toString() });
  const { access_token: access, expires_in: seconds, refresh_token: next } = parseJson(answer.body);
  if (typeof access !== 'string') throw withoutToken(door, answer.status);
  return {
    token: tokenFrom(access, typeof seconds === 'number' ? seconds * 1000 : undefined),
    next: typeof next === 'string' && next !== '' ? next : undefined,
  };
}

/** An answer of 2xx. @throws FerryError AUTH_REJECTED, SERVER_UNAVAILABLE, NOT_VCD */
async function accepted(door: Door, request: LoginRequest): Promise<HttpAnswer> {
  const { host } = door;
  const answer = await door.post(request);
  const { status } = answer;
  if (status >= 200 && status < 300) return answer;
  const label = `the login at ${host}`;
  if (isForeignPage(answer.body) && status !== 404) throw errorOfAnswer(answer, 'object', label);
  const { error } = parseJson(answer.body);
  const isRejected = request.body === undefined ? status === 400 : error !== undefined;
  if (status === 401 || status === 403 || (status === 400 && isRejected)) {
    throw rejected(door, status, error === 'invalid_grant');
  }
  if (status >= 500 || status === 429) {
    throw errorOfAnswer(answer, 'object', label);
  }
  throw withoutToken(door, status);
}

function rejected({ host, org }: Door, status: number, isGrant = false): FerryError {
  const why = isGrant ? ', whose token is not valid (any more)' : '';
  return new FerryError(
    'AUTH_REJECTED',
    `${host} rejected the login to organisation ${org}${why} (${status})`,
    { facts: { status, host, org } },
  );
}

function tokenOf(door: Door, { headers, status }: HttpAnswer): Token {
  const jwt = headers['x-vmware-vcloud-access-token']?.toString();
  const legacy = headers['x-vcloud-authorization']?.toString();
  const value = jwt ?? legacy;
  if (!value) throw withoutToken(door, status);
  return tokenFrom(value, undefined, headers['date']?.toString());
}

/** A JWT is carried as a bearer; the older kind, of 32 digits, has a header of its own. */
function tokenFrom(
  value: string,
  lifetimeMs: number | undefined,
  serverDate = new Date().toUTCString(),
): Token {
  const isJwt = value.length > 32;
  const ends = isJwt ? endOfJwt(value) : undefined;
  return {
    headers: isJwt ? { authorization: `Bearer ${value}` } : { 'x-vcloud-authorization': value },
    // Both are the server's times, so that our clock does not matter.
    lifetimeMs: lifetimeMs ?? (ends === undefined ? undefined : ends - Date.parse(serverDate)),
  };
}

/** Milliseconds since the epoch, by the server's clock. */
function endOfJwt(jwt: string): number | undefined {
  const { exp } = parseJson(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString());
  return typeof exp === 'number' ? exp * 1000 : undefined;
}

function parseJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function withoutToken({ host }: Door, status: number): FerryError {
  return new FerryError('NOT_VCD', `the login at ${host} was answered ${status} without a token`, {
    facts: { status },
  });
}
