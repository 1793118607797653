import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { FastifyInstance } from 'fastify';
import type { QueueSet } from '../jobs/queue-set.ts';

export const BOARD_PATH = '/queues';
/** New targets and pools are looked for so often. */
const LOOK_MS = 5_000;

/** Mounts Bull Board, which shows the queues as BullMQ has them. It may look, and change nothing. */
export async function mountQueueBoard(
  server: FastifyInstance,
  queues: Pick<QueueSet, 'names' | 'of'>,
): Promise<void> {
  const adapter = new FastifyAdapter();
  adapter.setBasePath(BOARD_PATH);
  const shown = async (): Promise<BullMQAdapter[]> =>
    (await queues.names()).map(
      (name) => new BullMQAdapter(queues.of(name), { readOnlyMode: true }),
    );
  const board = createBullBoard({
    queues: await shown(),
    serverAdapter: adapter,
    options: { uiConfig: { boardTitle: 'ovaferry queues' } },
  });
  let lookedAt = performance.now();
  server.addHook('onRequest', async ({ routeOptions, method }, reply) => {
    // By the route, since an address has many spellings.
    if (!routeOptions.url?.startsWith(BOARD_PATH)) return;
    // It hides its buttons where it is read-only; nothing is left to what is hidden.
    if (method !== 'GET' && method !== 'HEAD') {
      return reply.status(405).send({ error: 'this view is read-only' });
    }
    if (performance.now() - lookedAt < LOOK_MS) return;
    lookedAt = performance.now();
    board.replaceQueues(await shown());
  });
  await server.register(adapter.registerPlugin(), { prefix: BOARD_PATH });
}
