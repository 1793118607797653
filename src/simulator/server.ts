import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { contentType, cut, type Reply, readBody, reset } from './call.ts';
import { getTransfer } from './download.ts';
import { ApiError, badRequest } from './errors.ts';
import type { FaultAction } from './faults.ts';
import { type SeenItem, seenItems } from './introspection.ts';
import { exchangeToken, logIn } from './logins.ts';
import { serveOwn } from './own.ts';
import { requestId, respond } from './respond.ts';
import { ROUTES } from './routes.ts';
import { putTransfer } from './transfer.ts';
import { requestedVersion, versionsDocument } from './versions.ts';
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

/** Starts a vCD, on this machine's loopback unless another address is named. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const world = new World(options);
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    void serve(world, request, response);
  };
  const server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener);
  // Uploads take hours: no limit on the time of a request.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  const { host = '127.0.0.1' } = options;
  await listen(server, options.port ?? 0, host);
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  const { port } = server.address() as AddressInfo;
  const shown = host === '::1' ? '[::1]' : '127.0.0.1';
  world.base = options.publicUrl ?? `${options.tls ? 'https' : 'http'}://${shown}:${port}`;
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
      // The port stays ours meanwhile: whoever else got it would be sent what is meant for us.
      const refuse = (socket: Socket): void => void socket.resetAndDestroy();
      server.on('connection', refuse);
      server.closeAllConnections();
      world.sessions.expireAll();
      await new Promise((resolve) => setTimeout(resolve, downMs));
      server.off('connection', refuse);
    },
    async close() {
      await stop();
      for (const item of [...world.items()]) world.remove(item);
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
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
    const fault = own ? undefined : world.faults.match(method, url, request.headers);
    if (fault?.outageMs) {
      world.outageUntil = Date.now() + fault.outageMs;
      return void cut(request);
    }
    if (fault?.expireSessions) world.sessions.expireAll();
    if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (fault?.status !== undefined) answerFault(response, fault);
    else if (own) await serveOwn(world, request, response);
    else if (!url.startsWith('/transfer/')) await serveApi(world, request, response, fault);
    else if (method === 'GET') await getTransfer(world, request, response, fault);
    else if (method === 'PUT') await putTransfer(world, request, response, fault);
    else respond(response, { status: 405 }, '');
  } catch (error) {
    if (response.headersSent || response.destroyed) return;
    respondError(world, { request, response }, error);
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

/** `Bearer` of `Bearer …`; of what is a secret as a whole, nothing. */
function schemeOf(value: string): string {
  return /^(\S+)\s/.exec(value)?.[1] ?? '…';
}

function flat(headers: IncomingMessage['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      // Secrets stay out of the log: it is served to anybody on this machine.
      /authorization|token|cookie/.test(name) ? schemeOf(String(value)) : String(value),
    ]),
  );
}

/** Everything below /api, /cloudapi and /oauth, up to the reply. */
async function answer(
  world: World,
  request: IncomingMessage,
  fault: FaultAction | undefined,
): Promise<{ reply: Reply; version: string }> {
  const { method = '', url = '' } = request;
  const [path = '', search = ''] = split(url);
  if (path === '/api/versions' && method === 'GET') {
    const body = versionsDocument(world.release, world.base);
    return { reply: { status: 200, xml: { markup: body } }, version: '' };
  }
  // Balancers answer 400 to two of them; Node would silently take the first.
  if ((request.headersDistinct['authorization']?.length ?? 0) > 1) {
    throw badRequest('Bad request\n - More than one Authorization header');
  }
  const exchanged = await exchangeToken(world, request, path);
  if (exchanged) return { reply: exchanged, version: '' };
  if (!isApi(world, path)) return { reply: NOT_FOUND, version: '' };
  const version = requestedVersion(request.headers.accept, world.release);
  const loggedIn = logIn(world, request, { path, version });
  if (loggedIn) return { reply: loggedIn, version };
  const { headers } = request;
  const session = world.sessions.authenticate(
    headers,
    (id) => world.orgs.find((org) => org.id === id)?.name,
  );
  const body = await readBody(request);
  for (const route of ROUTES) {
    const match = route.path.exec(path);
    if (!match || route.method !== method) continue;
    if (method === 'PUT') assertXml(headers);
    const params = match.slice(1);
    const call = { world, session, version, path, params, search, headers, body, fault };
    return { reply: route.handle(call), version };
  }
  const known = ROUTES.some((route) => route.path.test(path));
  throw new ApiError(known ? 405 : 404, undefined, 'no such operation');
}

/** @throws ApiError 415 for an edit that is not said to be XML */
function assertXml(headers: IncomingMessage['headers']): void {
  if (/[/+]xml$/.test(contentType(headers))) return;
  throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', 'Unsupported content type');
}

/** What the web server says of addresses that no API has. */
const NOT_FOUND: Reply = {
  status: 404,
  html: '<html><head><title>Error 404 Not Found</title></head><body>HTTP ERROR 404</body></html>',
};

function isApi(world: World, path: string): boolean {
  if (path.startsWith('/cloudapi/')) return world.release.cloudapi;
  return path.startsWith('/api/') || path === '/api';
}

/** At the first `?` only: filters may hold more. */
function split(url: string): [string, string] {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

/** What is encoded wrongly is the client's mistake; the rest is ours. */
function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof URIError) return badRequest(`Bad request\n - ${error.message}`);
  return new ApiError(500, 'INTERNAL_SERVER_ERROR', (error as Error).message);
}

function respondError(
  world: World,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  error: unknown,
): void {
  const { status, minorCode, message } = asApiError(error);
  const headers: Record<string, string> =
    status === 401 ? { 'www-authenticate': 'BASIC realm="vCloud"' } : {};
  if (minorCode === undefined) {
    respond(response, { status, headers }, '', request);
    return;
  }
  const id = requestId(request);
  const said = `[ ${id} ] ${message}`;
  if (request.url?.startsWith('/cloudapi/')) {
    respond(
      response,
      { status, json: { minorErrorCode: minorCode, message: said }, headers },
      '',
      request,
    );
    return;
  }
  const stackTrace = `com.vmware.vcloud.api.presentation.service.BadRequestException: ${message}\n\tat java.lang.Thread.run(Unknown Source)`;
  const xml = element('Error', {
    xmlns: VCLOUD,
    majorErrorCode: status,
    minorErrorCode: minorCode,
    message: said,
    ...(world.release.stackTraces ? { vendorSpecificErrorCode: '', stackTrace } : {}),
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
