import { FerryError } from '../errors.ts';
import type { HttpAnswer, VcdHttp } from './http.ts';
import { chooseVersion, compareVersions, type OfferedVersion, parseVersions } from './versions.ts';

export type Credentials =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'apiToken'; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

export interface SessionOptions {
  readonly url: URL;
  readonly org: string;
  /** Read when they are needed, so that a changed file is seen at the next login. */
  readonly credentials: () => Promise<Credentials>;
  /** A rejected login is not tried again before this has passed: it could lock the account. */
  readonly rejectedPauseMs?: number;
  /**
   * Does a login while nobody else, on any machine, does one for this target.
   *
   * @throws FerryError what the last login failed by, while that still holds
   */
  readonly alone?: <T>(logIn: () => Promise<T>) => Promise<T>;
}

/** An open API session: what every request needs. */
export interface OpenSession {
  readonly version: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The login of one target, shared by all its uploads in this process. Only one login is under way
 * at any time, however many requests have met an expired token.
 */
export class VcdSession {
  readonly #http: VcdHttp;
  readonly #options: SessionOptions;
  #open: Promise<OpenSession> | undefined;
  #rejected: { error: FerryError; until: number } | undefined;

  constructor(http: VcdHttp, options: SessionOptions) {
    this.#http = http;
    this.#options = options;
  }

  get isProvider(): boolean {
    return this.#options.org.toLowerCase() === 'system';
  }

  /** @throws FerryError AUTH_REJECTED, VERSION_UNSUPPORTED, NOT_VCD, NETWORK … */
  get(): Promise<OpenSession> {
    if (this.#rejected && Date.now() < this.#rejected.until) {
      return Promise.reject(this.#rejected.error);
    }
    if (!this.#open) {
      const opening = this.#logIn();
      this.#open = opening;
      opening.catch((error: unknown) => {
        if (this.#open === opening) this.#open = undefined;
        if (error instanceof FerryError && error.code === 'AUTH_REJECTED') {
          const until = Date.now() + (this.#options.rejectedPauseMs ?? 60_000);
          this.#rejected = { error, until };
        }
      });
    }
    return this.#open;
  }

  /** Forgets a session that was answered 401, unless it has been renewed meanwhile. */
  async renew(stale: OpenSession): Promise<OpenSession> {
    const opening = this.#open;
    const current = await opening?.catch(() => undefined);
    // Of several that met the same expired token only the first may forget it.
    if (current === stale && this.#open === opening) this.#open = undefined;
    return this.get();
  }

  /**
   * Negotiates the version, then logs in where that version wants it: by the cloudapi from 33.0 on
   * (38.0 removed the other), by `/api/sessions` below.
   *
   * A login is no upload's own: it goes on when the job that asked for it is cancelled.
   */
  async #logIn(): Promise<OpenSession> {
    const offered = await this.negotiate();
    const credentials = await this.#options.credentials();
    const alone = this.#options.alone ?? ((logIn) => logIn());
    const token = await alone(() => this.#tokenFor(credentials, offered));
    return {
      version: offered.version,
      headers: {
        accept: `application/*+xml;version=${offered.version}`,
        ...(token.legacy
          ? { 'x-vcloud-authorization': token.value }
          : { authorization: `Bearer ${token.value}` }),
      },
    };
  }

  /** The version that both sides speak; needs no login. */
  async negotiate(signal?: AbortSignal): Promise<OfferedVersion> {
    const { host } = this.#options.url;
    const label = `GET ${host}/api/versions`;
    const answer = await this.#send({ method: 'GET', path: '/api/versions', label, signal });
    if (answer.status >= 500) {
      throw new FerryError('SERVER_UNAVAILABLE', `${label} was answered ${answer.status}`, {
        facts: { status: answer.status },
      });
    }
    if (answer.status !== 200) {
      throw new FerryError('NOT_VCD', `${label} was answered ${answer.status}`, {
        facts: { status: answer.status },
      });
    }
    return chooseVersion(parseVersions(answer.body, host), host);
  }

  async #tokenFor(
    credentials: Credentials,
    offered: OfferedVersion,
  ): Promise<{ value: string; legacy: boolean }> {
    if (credentials.kind === 'bearer') return { value: credentials.token, legacy: false };
    if (credentials.kind === 'apiToken') return this.#exchange(credentials.token);
    if (compareVersions(offered.version, '33.0') < 0)
      return this.#legacyLogin(credentials, offered);
    return this.#cloudLogin(credentials, offered);
  }

  async #cloudLogin(
    credentials: { user: string; password: string },
    { version, loginPath, providerLoginPath }: OfferedVersion,
  ): Promise<{ value: string; legacy: boolean }> {
    const announced = this.isProvider ? providerLoginPath : loginPath;
    const usual = `/cloudapi/1.0.0/sessions${this.isProvider ? '/provider' : ''}`;
    const path = announced?.includes('/cloudapi/') ? announced : usual;
    const accept = `application/json;version=${version}`;
    const answer = await this.#post(path, { accept, ...this.#basic(credentials) });
    return this.#tokenOf(answer, 'x-vmware-vcloud-access-token', false);
  }

  async #legacyLogin(
    credentials: { user: string; password: string },
    { version, loginPath }: OfferedVersion,
  ): Promise<{ value: string; legacy: boolean }> {
    const accept = `application/*+xml;version=${version}`;
    const answer = await this.#post(loginPath ?? '/api/sessions', {
      accept,
      ...this.#basic(credentials),
    });
    return this.#tokenOf(answer, 'x-vcloud-authorization', true);
  }

  /** API tokens: `grant_type=refresh_token` at the organisation's token endpoint (10.3.1 on). */
  async #exchange(token: string): Promise<{ value: string; legacy: boolean }> {
    const { org } = this.#options;
    const path = this.isProvider
      ? '/oauth/provider/token'
      : `/oauth/tenant/${encodeURIComponent(org)}/token`;
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token });
    const headers = {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
    };
    const answer = await this.#post(path, headers, body.toString());
    const value = accessToken(answer.body);
    if (value === undefined) throw this.#notVcd(answer.status);
    return { value, legacy: false };
  }

  #basic({ user, password }: { user: string; password: string }): Record<string, string> {
    const text = `${user}@${this.#options.org}:${password}`;
    return { authorization: `Basic ${Buffer.from(text, 'utf8').toString('base64')}` };
  }

  /** A login that was accepted. @throws FerryError AUTH_REJECTED, SERVER_UNAVAILABLE, NOT_VCD */
  async #post(path: string, headers: Record<string, string>, body?: string): Promise<HttpAnswer> {
    const { host } = this.#options.url;
    const label = `the login at ${host}`;
    const answer = await this.#send({ method: 'POST', path, headers, label, body });
    const { status } = answer;
    if (status >= 200 && status < 300) return answer;
    if (status === 401 || status === 403 || status === 400) {
      throw new FerryError(
        'AUTH_REJECTED',
        `${host} rejected the login to organisation ${this.#options.org} (${status})`,
        { facts: { status, host, org: this.#options.org } },
      );
    }
    if (status >= 500 || status === 429) {
      throw new FerryError('SERVER_UNAVAILABLE', `${label} was answered ${status}`, {
        facts: { status },
      });
    }
    throw this.#notVcd(status);
  }

  #tokenOf(
    answer: HttpAnswer,
    header: string,
    legacy: boolean,
  ): { value: string; legacy: boolean } {
    const value = answer.headers[header]?.toString();
    if (!value) throw this.#notVcd(answer.status);
    return { value, legacy };
  }

  #notVcd(status: number): FerryError {
    const { host } = this.#options.url;
    return new FerryError('NOT_VCD', `the login at ${host} was answered ${status} without a token`);
  }

  async #send({
    method,
    path,
    headers = {},
    label,
    body,
    signal,
  }: {
    method: 'GET' | 'POST';
    path: string;
    headers?: Record<string, string>;
    label: string;
    body?: string | undefined;
    signal?: AbortSignal | undefined;
  }): Promise<HttpAnswer> {
    const url = new URL(path, this.#options.url);
    const limit = AbortSignal.timeout(120_000);
    try {
      return await this.#http.send({
        method,
        url,
        headers,
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        label,
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      if (error !== limit.reason) throw error;
      throw new FerryError('NETWORK', `${label} was not answered in time`, { cause: error });
    }
  }
}

function accessToken(body: string): string | undefined {
  try {
    const { access_token: token } = JSON.parse(body) as { access_token?: unknown };
    return typeof token === 'string' ? token : undefined;
  } catch {
    return undefined;
  }
}
