import { randomBytes, randomUUID } from 'node:crypto';
import { ApiError, badRequest, forbidden } from './errors.ts';

export interface Session {
  readonly token: string;
  readonly user: string;
  readonly org: string;
  readonly provider: boolean;
  readonly started: number;
  lastUsed: number;
}

export interface Account {
  readonly org: string;
  readonly user: string;
  readonly password: string;
}

export interface SessionLimits {
  readonly idleMs: number;
  readonly absoluteMs: number;
}

/** Who is logged in. Transfers do not count as use: a session idles while bytes flow. */
export class Sessions {
  readonly #accounts: readonly Account[];
  readonly #limits: SessionLimits;
  readonly #open = new Map<string, Session>();
  /** Logins that were tried, right or wrong: a test asserts that nobody locks an account. */
  attempts = 0;

  constructor(accounts: readonly Account[], limits: SessionLimits) {
    this.#accounts = accounts;
    this.#limits = limits;
  }

  /**
   * Basic `user@org:password`. A wrong one is a 401 without a body.
   *
   * @param kind which endpoint was asked: a provider can't log in as a tenant, nor the reverse
   */
  login(authorization: string | undefined, kind: 'tenant' | 'provider' | 'legacy'): Session {
    this.attempts += 1;
    const encoded = /^Basic\s+(\S+)$/i.exec(authorization ?? '')?.[1];
    if (encoded === undefined) throw new ApiError(401, undefined, 'no credentials');
    const text = Buffer.from(encoded, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    const at = text.lastIndexOf('@', colon);
    const account = this.#accounts.find(
      ({ org, user, password }) =>
        user === text.slice(0, at) &&
        org.toLowerCase() === text.slice(at + 1, colon).toLowerCase() &&
        password === text.slice(colon + 1),
    );
    if (at < 0 || !account) throw new ApiError(401, undefined, 'wrong credentials');
    const provider = account.org.toLowerCase() === 'system';
    if (kind !== 'legacy' && provider !== (kind === 'provider')) {
      throw new ApiError(401, undefined, 'the other endpoint');
    }
    const now = Date.now();
    // Legacy tokens have 32 digits; a JWT is far longer, and real clients tell them apart so.
    const token =
      kind === 'legacy'
        ? randomUUID().replaceAll('-', '')
        : `eyJ${randomBytes(120).toString('base64url')}`;
    const session: Session = {
      token,
      user: account.user,
      org: account.org,
      provider,
      started: now,
      lastUsed: now,
    };
    this.#open.set(token, session);
    return session;
  }

  /** @throws ApiError 403 without a token (the guide's rule), 401 with one that is not valid (any more) */
  authenticate(headers: NodeJS.Dict<string | string[]>): Session {
    const bearer = /^Bearer\s+(\S+)$/i.exec(String(headers['authorization'] ?? ''))?.[1];
    // Two Authorization headers arrive as one with a comma; load balancers answer 400 to that.
    if (String(headers['authorization'] ?? '').includes(',')) throw badRequest('duplicate header');
    const token =
      bearer ??
      headers['x-vmware-vcloud-access-token']?.toString() ??
      headers['x-vcloud-authorization']?.toString();
    if (token === undefined) throw forbidden('login');
    const session = this.#open.get(token);
    const now = Date.now();
    if (
      !session ||
      now - session.lastUsed > this.#limits.idleMs ||
      now - session.started > this.#limits.absoluteMs
    ) {
      this.#open.delete(token);
      throw new ApiError(401, undefined, 'the session is over');
    }
    session.lastUsed = now;
    return session;
  }

  logout(session: Session): void {
    this.#open.delete(session.token);
  }

  /** Ends every session at once, as a restart of the cells does. */
  expireAll(): void {
    this.#open.clear();
  }
}
