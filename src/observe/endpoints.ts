import Fastify from 'fastify';

/** What a worker says of itself. */
export interface Watched {
  /** Undefined while all is well, else what is wrong: it should be restarted. */
  unhealthy(): string | undefined;
  /** The same for what passes by itself: it takes no jobs meanwhile. */
  unready(): Promise<string | undefined>;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** An address like `127.0.0.1:9464`, `[::1]:9464` or `:9464` for all addresses. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Serves /metrics, /healthz and /readyz.
 *
 * @throws the system's error if the address is taken
 */
export async function serveEndpoints(
  { host, port }: ListenAddress,
  watched: Watched,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = Fastify({ forceCloseConnections: true });
  server.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await watched.metrics();
    return reply.header('content-type', contentType).send(text);
  });
  server.get('/healthz', async (_request, reply) => {
    const why = watched.unhealthy();
    return reply.status(why === undefined ? 200 : 503).send({ status: why ?? 'ok' });
  });
  server.get('/readyz', async (_request, reply) => {
    const why = await watched.unready();
    return reply.status(why === undefined ? 200 : 503).send({ status: why ?? 'ok' });
  });
  const url = await server.listen({ host, port });
  return { url, close: () => server.close() };
}
