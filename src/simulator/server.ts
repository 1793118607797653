import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { cut, type Reply, type Route, readBody, reset } from './call.ts';
import { catalogRoutes } from './catalog.ts';
import { entityRoutes } from './entity.ts';
import { ApiError } from './errors.ts';
import type { FaultAction } from './faults.ts';
import { type SeenItem, seenItems } from './introspection.ts';
import { metadataRoutes } from './metadata.ts';
import { organizationRoutes, sessionReply } from './organization.ts';
import { serveOwn } from './own.ts';
import { queryRoutes } from './query.ts';
import { requestId, respond } from './respond.ts';
import type { Session } from './sessions.ts';
import { taskRoutes } from './task.ts';
import { putTransfer } from './transfer.ts';
import { atLeast, requestedVersion, versionsDocument } from './versions.ts';
import { type LoggedRequest, type SimulatorOptions, World } from './world.ts';
import { element, VCLOUD } from './xml.ts';

/** A running simulator. */
export interface Simulator {
  readonly url: string;
  readonly org: string;
  readonly user: string;
  readonly password: string;
  readonly catalog: string;
  readonly requests: readonly LoggedRequest[];
  readonly world: World;
  items(): SeenItem[];
  /** As a cell that goes down and comes up again: connections and sessions end, items stay. */
  restart(downMs: number): Promise<void>;
  close(): Promise<void>;
}

const ROUTES: readonly Route[] = [
  ...organizationRoutes,
  ...queryRoutes,
  ...catalogRoutes,
  ...entityRoutes,
  ...metadataRoutes,
  ...taskRoutes,
];

/** Starts a vCD on this machine's loopback. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const world = new World(options);
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    void serve(world, request, response);
  };
  const server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener);
  // Uploads take hours: no limit on the time of a request.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  await listen(server, options.port ?? 0);
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  const { port } = server.address() as AddressInfo;
  world.base = `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  return {
    url: world.base,
    org: 'acme',
    user: 'admin',
    password: world.options.password,
    catalog: 'appliances',
    requests: world.requests,
    world,
    items: () => seenItems(world),
    async restart(downMs) {
      await stop();
      world.sessions.expireAll();
      await new Promise((resolve) => setTimeout(resolve, downMs));
      await listen(server, port);
    },
    async close() {
      await stop();
      for (const item of [...world.items()]) world.remove(item);
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function serve(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url = '' } = request;
  const own = url.startsWith('/_simulator/');
  const logged: LoggedRequest = { method, path: url, headers: flat(request.headers), status: 0 };
  if (!own) world.log(logged);
  if (!own && Date.now() < world.outageUntil) return void cut(request);
  response.once('finish', () => {
    logged.status = response.statusCode;
  });
  try {
    const fault = own ? undefined : world.faults.match(method, url);
    if (fault?.outageMs) {
      world.outageUntil = Date.now() + fault.outageMs;
      return void cut(request);
    }
    if (fault?.expireSessions) world.sessions.expireAll();
    if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (fault?.status !== undefined) answerFault(response, fault);
    else if (own) await serveOwn(world, request, response);
    else if (!url.startsWith('/transfer/')) await serveApi(world, request, response, fault);
    else if (method === 'PUT') await putTransfer(world, request, response, fault);
    else respond(response, { status: 405 }, '');
  } catch (error) {
    if (response.headersSent || response.destroyed) return;
    respondError(response, error, request);
  }
}

async function serveApi(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
  fault: FaultAction | undefined,
): Promise<void> {
  const { reply, version } = await answer(world, request, fault);
  if (fault?.loseReply || fault?.resetAfterBytes !== undefined) {
    reset(request);
    return;
  }
  if (fault?.closeAfter) response.shouldKeepAlive = false;
  respond(response, reply, version, request);
}

function flat(headers: IncomingMessage['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      // Secrets stay out of the log: it is served to anybody on this machine.
      /authorization|token/.test(name) ? (String(value).split(' ')[0] ?? '') : String(value),
    ]),
  );
}

/** Everything below /api and /cloudapi, up to the reply. */
async function answer(
  world: World,
  request: IncomingMessage,
  fault: FaultAction | undefined,
): Promise<{ reply: Reply; version: string }> {
  const { method = '', url = '' } = request;
  const [path = '', search = ''] = split(url);
  if (path === '/api/versions' && method === 'GET') {
    const body = versionsDocument(world.options.api, world.base);
    return { reply: { status: 200, xml: { markup: body } }, version: '' };
  }
  const version = requestedVersion(request.headers.accept, world.options.api);
  const login = loginKind(method, path, version);
  if (login) return { reply: logIn(world, request, login), version };
  const session = world.sessions.authenticate(request.headers);
  if (method === 'DELETE' && /^\/(api\/session|cloudapi\/1\.0\.0\/sessions(\/.*)?)$/.test(path)) {
    world.sessions.logout(session);
    return { reply: { status: 204 }, version };
  }
  if (path === '/cloudapi/1.0.0/sessions/current' && method === 'GET') {
    return {
      reply: { status: 200, json: { user: { name: session.user }, org: { name: session.org } } },
      version,
    };
  }
  const body = await readBody(request);
  for (const route of ROUTES) {
    const match = route.path.exec(path);
    if (!match || route.method !== method) continue;
    const { headers } = request;
    const call = { world, session, version, params: match.slice(1), search, headers, body, fault };
    return { reply: route.handle(call), version };
  }
  const known = ROUTES.some((route) => route.path.test(path));
  throw new ApiError(known ? 405 : 404, undefined, 'no such operation');
}

/** At the first `?` only: filters may hold more. */
function split(url: string): [string, string] {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

type LoginKind = 'tenant' | 'provider' | 'legacy';

function loginKind(method: string, path: string, version: string): LoginKind | undefined {
  if (method !== 'POST') return undefined;
  const cloudapi = atLeast(version, '33.0');
  if (path === '/cloudapi/1.0.0/sessions' && cloudapi) return 'tenant';
  if (path === '/cloudapi/1.0.0/sessions/provider' && cloudapi) return 'provider';
  // API 38.0 removed the old login.
  if (path === '/api/sessions' && !atLeast(version, '38.0')) return 'legacy';
  return undefined;
}

function logIn(world: World, request: IncomingMessage, kind: LoginKind): Reply {
  const session = world.sessions.login(request.headers.authorization, kind);
  if (kind === 'legacy') {
    return {
      ...sessionReply({ world, session }),
      headers: { 'x-vcloud-authorization': session.token },
    };
  }
  return {
    status: 200,
    json: sessionJson(session),
    headers: {
      'X-VMWARE-VCLOUD-ACCESS-TOKEN': session.token,
      'X-VMWARE-VCLOUD-TOKEN-TYPE': 'Bearer',
    },
  };
}

function sessionJson(session: Session): unknown {
  return {
    id: `urn:vcloud:session:${randomUUID()}`,
    user: { name: session.user },
    org: { name: session.org },
    location: 'site',
    roles: [session.provider ? 'System Administrator' : 'Organization Administrator'],
  };
}

function respondError(response: ServerResponse, error: unknown, request: IncomingMessage): void {
  const { status, minorCode, message } =
    error instanceof ApiError
      ? error
      : new ApiError(500, 'INTERNAL_SERVER_ERROR', (error as Error).message);
  const headers: Record<string, string> =
    status === 401 ? { 'www-authenticate': 'BASIC realm="vCloud"' } : {};
  if (minorCode === undefined) {
    respond(response, { status, headers }, '', request);
    return;
  }
  const id = requestId(request);
  const xml = element('Error', {
    xmlns: VCLOUD,
    majorErrorCode: status,
    minorErrorCode: minorCode,
    message: `[ ${id} ] ${message}`,
  });
  respond(response, { status, type: 'error', xml, headers }, '', request);
}

function answerFault(response: ServerResponse, fault: FaultAction): void {
  if (fault.reason !== undefined) response.statusMessage = fault.reason;
  const body = fault.body ?? '';
  response.writeHead(fault.status ?? 500, {
    'content-length': String(Buffer.byteLength(body)),
    ...fault.headers,
  });
  response.end(body);
}
