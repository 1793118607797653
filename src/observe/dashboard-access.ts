import { createHash, timingSafeEqual } from 'node:crypto';
import basicAuth from '@fastify/basic-auth';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** What lets somebody in. A token is the password of any user, or a bearer token. */
export type DashboardLogin =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string };

/**
 * Guards every request: who it is from, and that it is meant. Another page in the same browser could
 * send requests here, too, or give its own name this address.
 *
 * @param login undefined to let in whoever can reach the address; on loopback alone
 */
export async function guard(
  server: FastifyInstance,
  login: DashboardLogin | undefined,
): Promise<void> {
  server.addHook('onRequest', async (request, reply) => {
    if (login === undefined && !isLoopback(hostOf(request))) {
      return reply.status(421).send({ error: 'this address is not called by that name' });
    }
    if (request.method !== 'GET' && request.method !== 'HEAD' && !isSameOrigin(request)) {
      return reply.status(403).send({ error: 'the request comes from another page' });
    }
  });
  if (login === undefined) return;
  await server.register(basicAuth, {
    authenticate: { realm: 'ovaferry' },
    strictCredentials: false,
    async validate(user, password) {
      const isUser = login.kind === 'token' || isSame(user, login.user);
      const isPassword = isSame(password, login.kind === 'token' ? login.token : login.password);
      if (!isUser || !isPassword) throw new Error('wrong user or password');
    },
  });
  server.addHook('onRequest', (request, reply, done) => {
    // Headers are read as Latin-1; what was sent is UTF-8.
    const header = Buffer.from(request.headers.authorization ?? '', 'latin1').toString('utf8');
    const [, bearer] = /^Bearer (.+)$/i.exec(header) ?? [];
    if (login.kind === 'token' && bearer !== undefined && isSame(bearer, login.token)) done();
    else server.basicAuth(request, reply, done);
  });
}

/** Whether only processes of this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i.test(host);
}

function hostOf({ headers }: FastifyRequest): string {
  return (headers.host ?? '').replace(/:\d+$/, '');
}

/** Browsers say where a request comes from; what says nothing is no browser. */
function isSameOrigin({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  // Where it is said, it is right also behind a proxy that calls us by another name.
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  const { origin } = headers;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === headers.host);
}

/** Takes the same time wherever they differ, and however long they are. */
function isSame(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
