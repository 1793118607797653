import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Faults } from '../faults.ts';
import { type LibraryItem, libraryItems } from './items.ts';
import { filterOf, orderOf, QueryError } from './query.ts';

export interface LibraryOptions {
  readonly port?: number;
  readonly password?: string;
  /** How many items it holds. */
  readonly items?: number;
  /** For how long a token is good. */
  readonly tokenLifeMs?: number;
}

/** A VSS content library that runs. */
export interface LibrarySimulator {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly items: readonly LibraryItem[];
  readonly faults: Faults;
  /** Method and path of each request, in order. */
  readonly requests: readonly string[];
  /** All tokens run out. */
  expireTokens(): void;
  close(): Promise<void>;
}

const MAX_PAGE = 250;
const DEFAULT_PAGE = 10;
const HOUR_MS = 3_600_000;

/**
 * The VSS API's content library: tokens, items, pages, filters, sorting, expansion.
 *
 * Differences from the real service, of which only its documentation is known: what it says of mistakes,
 * whether `like` heeds case (here it does not), and that an unexpanded list has links and names alone.
 */
export async function startLibrary(options: LibraryOptions = {}): Promise<LibrarySimulator> {
  const { password = 'simulated', tokenLifeMs = HOUR_MS } = options;
  const items = libraryItems(options.items ?? 1_000);
  const faults = new Faults();
  const requests: string[] = [];
  const tokens = new Map<string, number>();
  const world = { base: '', user: 'vss', password, items, tokens, tokenLifeMs };
  const server = createServer((request, response) => {
    const { method = '', url = '' } = request;
    requests.push(`${method} ${url}`);
    const fault = faults.match(method, url, request.headers);
    const { status, json } =
      fault?.status === undefined
        ? answerTo(world, request)
        : answer(fault.status, { message: fault.body ?? 'as a rule says' });
    reply(response, status, json);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  world.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    ...{ url: world.base, user: world.user, password, items, faults, requests },
    expireTokens: () => tokens.clear(),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface World {
  readonly base: string;
  readonly user: string;
  readonly password: string;
  readonly items: readonly LibraryItem[];
  /** Until when each is good, in milliseconds since the epoch. */
  readonly tokens: Map<string, number>;
  readonly tokenLifeMs: number;
}

function answerTo(world: World, request: IncomingMessage): Answer {
  const { method = '', headers } = request;
  const url = new URL(request.url ?? '', world.base);
  if (url.pathname === '/auth/request-token') {
    if (method !== 'POST') return answer(405, { message: 'Method Not Allowed' });
    return logIn(world, headers.authorization ?? '');
  }
  const [, token = ''] = /^Bearer (\S+)$/.exec(headers.authorization ?? '') ?? [];
  if ((world.tokens.get(token) ?? 0) < Date.now()) {
    return answer(401, { message: 'Invalid or expired token' });
  }
  if (method !== 'GET') return answer(405, { message: 'Method Not Allowed' });
  const found = /^\/v2\/contentlib\/item(?:\/([^/]+))?$/.exec(url.pathname);
  if (!found) return answer(404, { message: 'Not Found' });
  const [, id] = found;
  if (id === undefined) return list(world, url);
  const item = world.items.find((one) => one.id === decodeURIComponent(id));
  if (!item) return answer(404, { message: `Item ${id} not found` });
  return answer(200, { _links: { self: url.href }, data: item, meta: { user: world.user } });
}

function logIn({ user, password, tokens, tokenLifeMs }: World, header: string): Answer {
  const wanted = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (header !== wanted) return answer(401, { message: 'Wrong user or password' });
  const token = randomUUID();
  tokens.set(token, Date.now() + tokenLifeMs);
  return answer(200, { token });
}

function list(world: World, url: URL): Answer {
  const asked = url.searchParams;
  const [filter, sort] = [asked.get('filter'), asked.get('sort')];
  let found = [...world.items];
  try {
    if (filter !== null) found = found.filter(filterOf(filter));
    if (sort !== null) found.sort(orderOf(sort));
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    return answer(400, { message: error.message });
  }
  const [page, size] = [number(asked, 'page', 1), number(asked, 'per_page', DEFAULT_PAGE)];
  if (page === undefined || size === undefined) {
    return answer(400, { message: 'page and per_page are whole numbers from 1 on' });
  }
  const perPage = Math.min(MAX_PAGE, size);
  const pages = Math.max(1, Math.ceil(found.length / perPage));
  if (page > pages) return answer(404, { message: `Page ${page} not found` });
  const isExpanded = /^(1|true)$/i.test(asked.get('expand') ?? '');
  const at = (wanted: number): string => {
    const query = new URLSearchParams(asked);
    query.set('page', String(wanted));
    query.set('per_page', String(perPage));
    return `${world.base}${url.pathname}?${query}`;
  };
  const shown = found.slice((page - 1) * perPage, page * perPage);
  return answer(200, {
    _links: { self: url.href },
    data: isExpanded ? shown : shown.map((item) => briefOf(world, item)),
    meta: {
      count: shown.length,
      filter,
      pages: {
        ...{ first_url: at(1), last_url: at(pages) },
        next_url: page < pages ? at(page + 1) : null,
        prev_url: page > 1 ? at(page - 1) : null,
        ...{ page, pages, per_page: perPage, total: found.length },
      },
      user: world.user,
    },
  });
}

/** What is answered: a status and a body. */
interface Answer {
  readonly status: number;
  readonly json: unknown;
}

function answer(status: number, json: unknown): Answer {
  return { status, json };
}

function briefOf({ base }: World, { id, name }: LibraryItem): unknown {
  return { id, name, _links: { self: `${base}/v2/contentlib/item/${id}` } };
}

function number(asked: URLSearchParams, key: string, otherwise: number): number | undefined {
  const text = asked.get(key);
  if (text === null) return otherwise;
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
}

function reply(response: ServerResponse, status: number, json: unknown): void {
  const body = JSON.stringify(json);
  const headers: Record<string, string> =
    status === 401 ? { 'www-authenticate': 'Basic realm="vss"' } : {};
  response.writeHead(status, {
    ...{ ...headers, 'content-type': 'application/json' },
    'content-length': String(Buffer.byteLength(body)),
  });
  response.end(body);
}
