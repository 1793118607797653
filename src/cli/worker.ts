import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import { createLog } from '../observe/log.ts';
import { startWorker } from '../worker.ts';
import type { GlobalOptions } from './output.ts';
import { interruption, untilAborted } from './signals.ts';

/** The daemon. */
export async function worker(_args: string[], options: GlobalOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  if (config.targets.size === 0) {
    throw new FerryError('CONFIG_INVALID', 'no targets are configured, so there is nothing to do');
  }
  const log = createLog(options.logLevel ?? 'info', process.stderr.isTTY);
  const interrupt = interruption();
  const running = await startWorker(config, log);
  log.info({ targets: [...config.targets.keys()].join(', '), pid: process.pid }, 'worker is up');
  await untilAborted(interrupt.signal);
  log.info({}, 'stopping; jobs are handed back');
  await running.stop();
  // Whatever still holds the process (a proxy's socket, a slow close) must not keep it.
  setTimeout(() => process.exit(0), 500).unref();
  return 0;
}
