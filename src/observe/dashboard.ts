import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import Fastify, { type FastifyInstance } from 'fastify';
import { classify } from '../errors.ts';
import type { JobDetails } from '../jobs/job-view.ts';
import type { QueueSet } from '../jobs/queue-set.ts';
import { type DashboardLogin, guard } from './dashboard-access.ts';
import { createDashboardLook, type DashboardSource } from './dashboard-state.ts';
import type { ListenAddress } from './endpoints.ts';
import { BOARD_PATH, mountQueueBoard } from './queue-board.ts';

/** What can be seen, and what can be done: the same as with the commands of these names. */
export interface DashboardDeps extends DashboardSource {
  retry(ids: readonly string[]): Promise<readonly JobDetails[]>;
  retryFailed(query: { batch?: string | undefined }): Promise<{
    readonly jobs: readonly JobDetails[];
    readonly replaced: readonly JobDetails[];
  }>;
  /** Returns them as they were before; of a batch those that had not ended. */
  cancel(wanted: { ids: readonly string[] } | { batch: string }): Promise<readonly JobDetails[]>;
  /** @returns false if nothing kept the target's jobs back */
  resume(target: string): Promise<boolean>;
  readonly queues: Pick<QueueSet, 'names' | 'of'>;
}

/** `npm run build` has put it there. */
const PAGE = fileURLToPath(new URL('./page/', import.meta.url));

/** Nothing from elsewhere, and in nobody's frame. */
const POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE_POLICY = `${POLICY}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'`;
/** Bull Board has styles and a script in its page. It also asks for fonts elsewhere, which it does not get. */
const BOARD_POLICY = `${POLICY.replace("base-uri 'none'", "base-uri 'self'")}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'`;

/**
 * Serves the dashboard: the page, what it shows as JSON, its buttons, and Bull Board beside it.
 *
 * @throws the system's error if the address is taken
 */
export async function serveDashboard(
  { host, port }: ListenAddress,
  deps: DashboardDeps,
  login?: DashboardLogin,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = Fastify({
    forceCloseConnections: true,
    bodyLimit: 1024 * 1024,
    // A key that is not known is a mistake, and not passed over: what is left may mean something else.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  });
  server.removeContentTypeParser('text/plain'); // a form of another page could send it
  server.setNotFoundHandler((_request, reply) => reply.status(404).send({ error: 'not found' }));
  server.addHook('onSend', async (request, reply) => {
    const isBoard = request.routeOptions.url?.startsWith(BOARD_PATH);
    reply.header('content-security-policy', isBoard ? BOARD_POLICY : PAGE_POLICY);
    reply.header('x-content-type-options', 'nosniff');
    reply.header('referrer-policy', 'no-referrer');
  });
  server.setErrorHandler((error, _request, reply) => {
    const { statusCode } = error as { statusCode?: number };
    if (statusCode !== undefined && statusCode < 500) {
      return reply.status(statusCode).send({ error: (error as Error).message });
    }
    const { code, message, hint } = classify(error);
    return reply.status(STATUS[code] ?? 500).send({ error: message, code, hint });
  });
  await guard(server, login);
  await server.register(fastifyStatic, { root: PAGE, cacheControl: false });
  addApi(server, deps);
  await mountQueueBoard(server, deps.queues);
  const url = await server.listen({ host, port });
  return { url, close: () => server.close() };
}

const STATUS: Readonly<Record<string, number>> = {
  REDIS_UNAVAILABLE: 503,
  JOB_NOT_FOUND: 404,
  BATCH_NOT_FOUND: 404,
  TARGET_UNKNOWN: 404,
  USAGE: 409,
};

const ids = {
  type: 'array',
  items: { type: 'string', maxLength: 256 },
  minItems: 1,
  maxItems: 1_000,
};
const text = { type: 'string', minLength: 1, maxLength: 256 };

/** A request's body: exactly one of these keys, and no other. */
function body(properties: Readonly<Record<string, object>>) {
  const oneOf = Object.keys(properties).map((key) => ({ required: [key] }));
  return { schema: { body: { type: 'object', properties, additionalProperties: false, oneOf } } };
}

/** What has ended is neither put back nor cancelled. */
function isOpen({ state }: JobDetails): boolean {
  return state !== 'completed';
}

function addApi(server: FastifyInstance, deps: DashboardDeps): void {
  const look = createDashboardLook(deps);
  server.get('/api/state', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
    return look();
  });
  server.post<{ Body: { ids?: string[]; batch?: string } }>(
    '/api/retry',
    body({ ids, batch: text }),
    async ({ body: { ids: named, batch } }) => {
      if (named) return { done: (await deps.retry(named)).filter(isOpen).length };
      const { jobs, replaced } = await deps.retryFailed({ batch });
      return { done: jobs.length, replaced: replaced.length };
    },
  );
  server.post<{ Body: { ids: string[] } | { batch: string } }>(
    '/api/cancel',
    body({ ids, batch: text }),
    async (request) => ({ done: (await deps.cancel(request.body)).filter(isOpen).length }),
  );
  server.post<{ Body: { target: string } }>(
    '/api/resume',
    body({ target: text }),
    async (request) => ({ resumed: await deps.resume(request.body.target) }),
  );
}
