import { FerryError } from '../errors.ts';
import { parseXml, REPLY_LIMITS } from '../xml.ts';
import { atOrigin } from './address.ts';
import { errorOfAnswer } from './answer.ts';
import type { HttpAnswer, HttpRequest, VcdHttp } from './http.ts';
import { type Credentials, type Door, isProvider, logIn, type Token } from './login.ts';
import { orgNamed, parseOrgs } from './org-list.ts';
import { chooseVersion, type OfferedVersion, parseVersions } from './versions.ts';

export interface SessionOptions {
  readonly url: URL;
  readonly org: string;
  /** The organisation that a provider acts for. */
  readonly tenant?: string;
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
  /** The token alone, as transfers carry it. */
  readonly token: Readonly<Record<string, string>>;
  /** All of a request to the API. */
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch: from then on another login is made, before this one runs out. */
  readonly renewAt: number;
}

const LONGEST_MARGIN_MS = 60_000;
const MARGIN = 0.1;
/** One that could not be renewed in advance is tried again after this. */
const RENEWAL_PAUSE_MS = 60_000;

/** Logins go through other servers at times, and each of them may be slow. */
const LIMIT_MS = 120_000;

/**
 * The login of one target, shared by all its uploads in this process. Only one login is under way
 * at any time, however many requests have met an expired token.
 */
export class VcdSession {
  readonly #http: VcdHttp;
  readonly #options: SessionOptions;
  #open: Promise<OpenSession> | undefined;
  #renewing = false;
  #renewalBlockedUntil = 0;
  #rejected: { error: FerryError; until: number } | undefined;
  /** What was learnt of the target's doors: no need to learn it by another login that fails. */
  readonly #doors: Door['known'] = { legacy: 'untried' };

  constructor(http: VcdHttp, options: SessionOptions) {
    this.#http = http;
    this.#options = options;
  }

  /** Whether requests are made as a provider, for nobody else. */
  get isProvider(): boolean {
    return isProvider(this.#options.org) && this.#options.tenant === undefined;
  }

  /** @throws FerryError AUTH_REJECTED, VERSION_UNSUPPORTED, NOT_VCD, NETWORK … */
  async get(): Promise<OpenSession> {
    if (this.#rejected && Date.now() < this.#rejected.until) throw this.#rejected.error;
    this.#open ??= this.#begin();
    const opening = this.#open;
    const session = await opening;
    if (Date.now() >= session.renewAt) void this.#renewInAdvance(opening);
    return session;
  }

  /** Forgets a session that was answered 401, unless it has been renewed meanwhile. */
  async renew(stale: OpenSession): Promise<OpenSession> {
    const opening = this.#open;
    const current = await opening?.catch(() => undefined);
    // Of several that met the same expired token only the first may forget it.
    if (current === stale && this.#open === opening) this.#open = undefined;
    return this.get();
  }

  #begin(): Promise<OpenSession> {
    const opening = this.#logIn();
    opening.catch((error: unknown) => {
      if (this.#open === opening) this.#open = undefined;
      if (error instanceof FerryError && error.code === 'AUTH_REJECTED') {
        const until = Date.now() + (this.#options.rejectedPauseMs ?? 60_000);
        this.#rejected = { error, until };
      }
    });
    return opening;
  }

  /** While it is made, and if it fails, requests go on with the session there is. */
  async #renewInAdvance(old: Promise<OpenSession>): Promise<void> {
    if (this.#renewing || Date.now() < this.#renewalBlockedUntil) return;
    this.#renewing = true;
    try {
      const renewed = Promise.resolve(await this.#logIn());
      if (this.#open === old) this.#open = renewed;
    } catch {
      this.#renewalBlockedUntil = Date.now() + RENEWAL_PAUSE_MS;
    } finally {
      this.#renewing = false;
    }
  }

  /**
   * Negotiates the version, then logs in where that version wants it.
   *
   * A login is no upload's own: it goes on when the job that asked for it is cancelled.
   */
  async #logIn(): Promise<OpenSession> {
    const { tenant, org, url } = this.#options;
    const { versions, version } = await this.#negotiate();
    const credentials = await this.#options.credentials();
    const alone = this.#options.alone ?? ((run) => run());
    const door: Door = {
      host: url.host,
      org,
      versions,
      version,
      known: this.#doors,
      post: (request) =>
        this.#send({ method: 'POST', label: `the login at ${url.host}`, ...request }),
    };
    const token = await alone(() => logIn(door, credentials));
    const accept = `application/*+xml;version=${version.version}`;
    const headers = { accept, ...token.headers };
    return {
      version: version.version,
      token: token.headers,
      headers:
        tenant === undefined
          ? headers
          : { ...headers, ...(await this.#contextOf(tenant, headers)) },
      renewAt: renewalOf(token, credentials),
    };
  }

  /** The version that both sides speak; needs no login. */
  async negotiate(signal?: AbortSignal, limitMs = LIMIT_MS): Promise<OfferedVersion> {
    return (await this.#negotiate(signal, limitMs)).version;
  }

  async #negotiate(
    signal?: AbortSignal,
    limitMs = LIMIT_MS,
  ): Promise<{ versions: readonly OfferedVersion[]; version: OfferedVersion }> {
    const { host } = this.#options.url;
    const label = `GET ${host}/api/versions`;
    const path = '/api/versions';
    const answer = await this.#send({ method: 'GET', path, label, signal, limitMs });
    if (answer.status === 429 || answer.status >= 500) throw errorOfAnswer(answer, 'object', label);
    if (answer.status !== 200) {
      const { message } = errorOfAnswer(answer, 'object', label);
      throw new FerryError('NOT_VCD', message, { facts: { status: answer.status } });
    }
    const versions = parseVersions(answer.body, host);
    return { versions, version: chooseVersion(versions, host) };
  }

  /** The headers by which a provider acts for a tenant. @throws FerryError ORG_NOT_FOUND */
  async #contextOf(
    tenant: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<Record<string, string>> {
    const label = 'GET /api/org';
    const answer = await this.#send({ method: 'GET', path: '/api/org', headers, label });
    if (answer.status !== 200) throw errorOfAnswer(answer, 'object', label);
    const found = orgNamed(parseOrgs(parseXml(answer.body, REPLY_LIMITS)), tenant);
    const id = found?.href.split('/').at(-1);
    if (!found || !id) {
      throw new FerryError('ORG_NOT_FOUND', `there is no organisation ${tenant} to act for`, {
        facts: { org: tenant },
      });
    }
    return {
      'x-vmware-vcloud-tenant-context': id,
      'x-vmware-vcloud-auth-context': found.name,
    };
  }

  async #send({
    path,
    headers = {},
    body,
    signal,
    ...request
  }: {
    path: string;
    headers?: Readonly<Record<string, string>>;
    body?: string | undefined;
    signal?: AbortSignal | undefined;
  } & Pick<HttpRequest, 'method' | 'label' | 'limitMs'>): Promise<HttpAnswer> {
    return this.#http.send({
      limitMs: LIMIT_MS,
      ...request,
      url: atOrigin(this.#options.url, path),
      headers,
      signal: signal ?? new AbortController().signal,
      ...(body === undefined ? {} : { body }),
    });
  }
}

/** A token that was handed to us can't be had anew. */
function renewalOf({ lifetimeMs }: Token, { kind }: Credentials): number {
  if (lifetimeMs === undefined || kind === 'bearer') return Number.POSITIVE_INFINITY;
  const margin = Math.min(LONGEST_MARGIN_MS, lifetimeMs * MARGIN);
  return Date.now() + lifetimeMs - margin;
}
