import { type Config, loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { type Ferry, type JobDetails, openFerry } from '../index.ts';
import { followJobs, isOver, jobsOf } from '../job-changes.ts';
import { QueueSet } from '../jobs/queue-set.ts';
import { serveDashboard } from '../observe/dashboard.ts';
import { isLoopback } from '../observe/dashboard-access.ts';
import type { ListenAddress } from '../observe/endpoints.ts';
import { connectTo } from '../redis-of.ts';
import { type GlobalOptions, printJson } from './output.ts';
import { OwnWorker } from './own-worker.ts';
import { interruption, untilAborted } from './signals.ts';
import { listenOf } from './values.ts';

interface DashboardOptions extends GlobalOptions {
  readonly listen?: string;
}

/** A cancelled job of a target that no worker serves is cleaned up here, within this time. */
const CANCEL_MS = 60_000;

/** The web page, until it is interrupted. */
export async function dashboard(_args: string[], options: DashboardOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const address = listenOf(options.listen, '127.0.0.1:9465') ?? config.dashboard.listen;
  const login = await config.dashboard.login();
  if (!isLoopback(address.host)) {
    if (login === undefined) {
      throw new FerryError('CONFIG_INVALID', `who may see the dashboard on ${address.host}?`, {
        hint: 'Give `dashboard` a user and a password, or a token; or let it listen on 127.0.0.1.',
      });
    }
    process.stderr.write('warning: passwords go over the line in clear; put TLS before it\n');
  }
  const ferry = await openFerry(config);
  const interrupt = interruption();
  const { queues, leave } = await openQueues(config);
  const own = (): OwnWorker => new OwnWorker(ferry, config, options);
  const cancelling = new Cancelling(ferry, own, interrupt.signal);
  try {
    const served = await serve(address, () =>
      serveDashboard(
        address,
        {
          targets: () => ferry.targets(),
          batches: (atMost) => ferry.batches(atMost),
          list: (query) => ferry.list(query),
          retry: (ids) => ferry.retry(ids),
          retryFailed: (query) => ferry.retryFailed(query),
          cancel: (wanted) => cancelling.cancel(wanted),
          resume: (target) => ferry.resume(target),
          queues,
        },
        login,
      ),
    );
    if (options.json) printJson({ url: served.url });
    else process.stdout.write(`the dashboard is at ${served.url}\n`);
    await untilAborted(interrupt.signal);
    await served.close();
    await cancelling.ended();
    return 0;
  } finally {
    interrupt.close();
    await leave();
    await ferry.close();
  }
}

async function serve<T>({ host, port }: ListenAddress, begin: () => Promise<T>): Promise<T> {
  try {
    return await begin();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall !== 'listen' && syscall !== 'getaddrinfo') throw error;
    throw new FerryError('USAGE', `${host} port ${port} can't be listened on (${code})`, {
      hint: 'Say another address with --listen, or `dashboard.listen` in the configuration.',
    });
  }
}

/** The queue's own view has a connection of its own. */
async function openQueues(
  config: Config,
): Promise<{ readonly queues: QueueSet; leave(): Promise<void> }> {
  const redis = await connectTo(config, 'ovaferry-dashboard');
  const queues = new QueueSet(redis);
  return {
    queues,
    async leave() {
      await queues.close();
      redis.disconnect();
    },
  };
}

/** Cancels as the command does, which waits for the end: here nobody does. */
class Cancelling {
  readonly #ferry: Ferry;
  readonly #begin: () => OwnWorker;
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<void>>();

  /** @param signal ends the waiting; the wishes stay where they are */
  constructor(ferry: Ferry, begin: () => OwnWorker, signal: AbortSignal) {
    this.#ferry = ferry;
    this.#begin = begin;
    this.#signal = signal;
  }

  async cancel(
    wanted: { readonly ids: readonly string[] } | { readonly batch: string },
  ): Promise<JobDetails[]> {
    const before =
      'ids' in wanted
        ? await this.#ferry.getMany(wanted.ids)
        : (await jobsOf(this.#ferry, wanted.batch)).filter((job) => !isOver(job));
    const ids = before.map(({ id }) => id);
    await this.#ferry.requestCancel(ids);
    const running = this.#cleanUp(ids)
      .catch((error: Error) => void process.stderr.write(`cancelling: ${error.message}\n`))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    return before;
  }

  async #cleanUp(ids: readonly string[]): Promise<void> {
    const own = this.#begin();
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(CANCEL_MS)]);
    try {
      for await (const jobs of followJobs(this.#ferry, ids, signal)) await own.standIn(jobs);
    } finally {
      await own.stop();
    }
  }

  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }
}
