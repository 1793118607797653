import type { Config } from '../config/load.ts';
import type { Ferry, JobDetails } from '../index.ts';
import { isOver } from '../job-changes.ts';
import { queueOfJob } from '../jobs/names.ts';
import { createLog } from '../observe/log.ts';
import { type RunningWorker, startWorker } from '../worker.ts';
import type { GlobalOptions } from './output.ts';

/**
 * Works on a command's own jobs wherever no worker serves their target. Asked again and again: a
 * worker that was there may have died, and one may have come.
 */
export class OwnWorker {
  readonly #ferry: Ferry;
  readonly #config: Config;
  readonly #options: GlobalOptions;
  readonly #workers = new Map<string, Promise<RunningWorker>>();

  constructor(ferry: Ferry, config: Config, options: GlobalOptions) {
    this.#ferry = ferry;
    this.#config = config;
    this.#options = options;
  }

  /** @throws FerryError REDIS_UNSUITABLE */
  async standIn(jobs: readonly JobDetails[]): Promise<void> {
    const open = jobs.filter((job) => !isOver(job));
    for (const queue of new Set(open.map(({ id }) => queueOfJob(id)))) {
      const [job] = open.filter(({ id }) => queueOfJob(id) === queue);
      if (!job || this.#workers.has(queue) || (await this.#isServed(job))) continue;
      const { target } = job;
      for (const warning of this.#config.targets.get(target)?.warnings ?? []) {
        process.stderr.write(`warning: ${warning}\n`);
      }
      const ids = new Set(jobs.filter(({ id }) => queueOfJob(id) === queue).map(({ id }) => id));
      const log = createLog(this.#options.logLevel ?? 'silent', process.stderr.isTTY);
      const worker = startWorker(this.#config, log, { only: { ids, queue } });
      this.#workers.set(queue, worker);
      await worker;
    }
  }

  /** While Redis is away nobody can be told apart, and nobody can stand in either. */
  #isServed({ target, pool }: JobDetails): Promise<boolean> {
    return this.#ferry.isServed(target, pool ?? undefined).catch(() => true);
  }

  /** Hands back what is not finished. */
  async stop(): Promise<void> {
    for (const worker of this.#workers.values()) {
      const running = await worker.catch(() => undefined); // `standIn` has said why
      await running?.stop();
    }
  }
}
