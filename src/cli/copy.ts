import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import type { CopyOrder, Ferry, JobDetails } from '../index.ts';
import { splitPlace } from '../order-parts.ts';
import { enqueueAndLeave } from './enqueue.ts';
import { itemsOf, listReady } from './items.ts';
import { commonOptionsOf, type WaitingOptions } from './sources.ts';
import { enqueueAndWait } from './wait.ts';

export interface CopyOptions extends WaitingOptions {
  readonly ifExists?: 'fail' | 'skip' | 'replace' | 'update';
  readonly name?: string;
  readonly description?: string;
  readonly storageProfile?: string;
  readonly all?: boolean;
}

/** Copies items to another catalog, of the same vCD or another. */
export async function copy(args: string[], options: CopyOptions): Promise<number> {
  const to = args.at(-1) ?? '';
  const sources = args.slice(0, -1);
  const config = loadConfig({ file: options.config, redis: options.redis });
  const { enqueueOptions, ...common } = commonOptionsOf(options);
  const { name, description, storageProfile, all } = options;
  if (all) for (const source of sources) assertCatalog(source);
  const items = all
    ? (await Promise.all(sources.map((source) => listReady(config, source)))).flat()
    : await itemsOf(sources, config);
  if (name !== undefined && items.length > 1) {
    throw new FerryError('USAGE', `--name fits one item, not ${items.length}`);
  }
  // A whole catalog is mirrored: what holds the same stays, what has become another is replaced.
  const ifExists = options.ifExists ?? (all ? 'update' : 'fail');
  const orders = items.map(
    ({ item, size }): CopyOrder => ({
      ...{ ...common, item, to, name, description, storageProfile, ifExists, expectedBytes: size },
    }),
  );
  const enqueue = (ferry: Ferry): Promise<JobDetails[]> => ferry.copy(orders, enqueueOptions);
  if (options.detach) return enqueueAndLeave(config, options, enqueue);
  return enqueueAndWait(config, options, {
    enqueue,
    done: ({ name: done }) => `${done} was copied before; --again copies it anew`,
  });
}

function assertCatalog(place: string): void {
  const { catalog = '' } = splitPlace(place);
  if (catalog !== '' && !catalog.includes('/')) return;
  throw new FerryError('USAGE', `${place}: with --all expected TARGET/CATALOG`);
}
