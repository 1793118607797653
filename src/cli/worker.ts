import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { createLog } from '../observe/log.ts';
import { startWorker } from '../worker.ts';
import type { GlobalOptions } from './output.ts';
import { interruption, untilAborted } from './signals.ts';
import { listenOf } from './values.ts';

interface WorkerCommandOptions extends GlobalOptions {
  readonly pool?: readonly string[];
  readonly listen?: string;
}

/** The daemon. */
export async function worker(_args: string[], options: WorkerCommandOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  if (config.targets.size === 0) {
    throw new FerryError('CONFIG_INVALID', 'no targets are configured, so there is nothing to do');
  }
  const log = createLog(options.logLevel ?? 'info', process.stderr.isTTY);
  const interrupt = interruption();
  const running = await startWorker(config, log, {
    pools: options.pool ?? config.worker.pools,
    listen: listenOf(options.listen, '127.0.0.1:9464') ?? config.worker.listen,
  }).catch((error: unknown) => {
    // Whatever was opened before it failed must not keep the process.
    setTimeout(() => process.exit(), 1_000).unref();
    throw error;
  });
  log.info({ targets: [...config.targets.keys()].join(', '), pid: process.pid }, 'worker is up');
  process.on('SIGHUP', () => void running.reload());
  await untilAborted(interrupt.signal);
  log.info({}, 'stopping; jobs are handed back');
  await running.stop();
  // Whatever still holds the process (a proxy's socket, a slow close) must not keep it.
  setTimeout(() => process.exit(0), 500).unref();
  return 0;
}
