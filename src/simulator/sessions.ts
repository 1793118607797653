import { randomBytes, randomUUID } from 'node:crypto';
import { type Account, ROLES } from './accounts.ts';
import { ApiError, forbidden } from './errors.ts';

export interface Session {
  readonly token: string;
  readonly user: string;
  readonly role: string;
  /** Where the user is at home. */
  readonly home: string;
  /** The organisation that is acted for: another than `home` for a provider with a tenant context. */
  readonly org: string;
  readonly provider: boolean;
}

interface OpenSession {
  readonly account: Account;
  readonly started: number;
  lastUsed: number;
}

export interface SessionLimits {
  readonly idleMs: number;
  readonly absoluteMs: number;
}

type TokenKind = 'legacy' | 'jwt';

/** Who is logged in. Transfers do not count as use: a session idles while bytes flow. */
export class Sessions {
  readonly accounts: readonly Account[];
  readonly limits: SessionLimits;
  readonly #open = new Map<string, OpenSession>();
  /** Logins that were tried, right or wrong: a test asserts that nobody locks an account. */
  attempts = 0;

  constructor(accounts: readonly Account[], limits: SessionLimits) {
    this.accounts = accounts;
    this.limits = limits;
  }

  /** Opens a session; several tokens may stand for it. */
  open(account: Account, kinds: readonly TokenKind[]): string[] {
    const now = Date.now();
    const opened: OpenSession = { account, started: now, lastUsed: now };
    return kinds.map((kind) => {
      const token = kind === 'legacy' ? randomUUID().replaceAll('-', '') : this.#jwt(account, now);
      this.#open.set(token, opened);
      return token;
    });
  }

  /** As long as a real one: clients tell it from a legacy token by that, and read its `exp`. */
  #jwt({ user, org }: Account, now: number): string {
    const part = (value: unknown): string =>
      Buffer.from(JSON.stringify(value)).toString('base64url');
    const exp = Math.floor((now + this.limits.absoluteMs) / 1000);
    const payload = {
      sub: user,
      iss: `${org}@simulated`,
      exp,
      version: 'vcloud_1.0',
      jti: randomUUID(),
    };
    return `${part({ alg: 'RS256' })}.${part(payload)}.${randomBytes(256).toString('base64url')}`;
  }

  /**
   * @throws ApiError 403 without a token (the guide's rule), 401 with one that is not valid (any more)
   */
  authenticate(
    headers: NodeJS.Dict<string | string[]>,
    orgOfId: (id: string) => string | undefined,
  ): Session {
    const token = tokenOf(headers);
    if (token === undefined) throw forbidden('login');
    const open = this.#open.get(token);
    const now = Date.now();
    const { idleMs, absoluteMs } = this.limits;
    if (!open || now - open.lastUsed > idleMs || now - open.started > absoluteMs) {
      this.#open.delete(token);
      throw new ApiError(401, undefined, 'the session is over');
    }
    open.lastUsed = now;
    const { user, org: home, role } = open.account;
    const provider = home.toLowerCase() === 'system';
    return {
      token,
      user,
      role,
      home,
      provider,
      org: contextOf(headers, provider, orgOfId) ?? home,
    };
  }

  logout({ token }: Session): void {
    const session = this.#open.get(token);
    for (const [key, value] of this.#open) if (value === session) this.#open.delete(key);
  }

  /** Ends every session at once, as a restart of the cells does. */
  expireAll(): void {
    this.#open.clear();
  }
}

function tokenOf(headers: NodeJS.Dict<string | string[]>): string | undefined {
  const bearer = /^Bearer\s+(\S+)$/i.exec(String(headers['authorization'] ?? ''))?.[1];
  return (
    bearer ??
    headers['x-vmware-vcloud-access-token']?.toString() ??
    headers['x-vcloud-authorization']?.toString() ??
    /(?:^|;\s*)vcloud-token=([^;]+)/.exec(headers['cookie']?.toString() ?? '')?.[1]
  );
}

/** A provider may act for a tenant; a tenant may name its own organisation alone. */
function contextOf(
  headers: NodeJS.Dict<string | string[]>,
  provider: boolean,
  orgOfId: (id: string) => string | undefined,
): string | undefined {
  const context = headers['x-vmware-vcloud-tenant-context']?.toString();
  if (context === undefined || !provider) return undefined;
  const org = orgOfId(context.replace(/^urn:vcloud:org:/, ''));
  if (org === undefined) throw forbidden('tenant context');
  return org;
}

export function hasRight({ role }: Pick<Session, 'role'>, right: string): boolean {
  return ROLES[role]?.includes(right) ?? false;
}
