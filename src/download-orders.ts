import { join, resolve } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { FerryError } from './errors.ts';
import { localName } from './jobs/download/local-plan.ts';
import type { WantedJob } from './jobs/enqueue.ts';
import type { DownloadRequest } from './jobs/job-request.ts';
import { findTarget, type JobTerms, termsOf, turnOf } from './order-parts.ts';
import { isLossy } from './source/local-file.ts';

/** One download as a user asks for it. */
export interface DownloadOrder extends JobTerms {
  /** `TARGET/CATALOG/ITEM`. */
  readonly item: string;
  /** The folder in which a file or folder of the item's name is made; by default the working folder. */
  readonly folder?: string | undefined;
  /** A package's files as they are, which is the default, or as one archive. */
  readonly format?: 'files' | 'ova' | undefined;
  /** What to do when there is something of that name. */
  readonly ifExists?: 'fail' | 'skip' | 'replace' | undefined;
  /** Bytes, where they are known: for forecasts. */
  readonly expectedBytes?: number | undefined;
}

/** An item, as users name it. */
export interface ItemPlace {
  readonly target: string;
  readonly catalog: string;
  /** May have slashes. */
  readonly name: string;
}

/** @throws FerryError USAGE */
export function splitItem(place: string): ItemPlace {
  const [target, catalog, ...name] = place.split('/');
  if (target && catalog && name.join('/') !== '') return { target, catalog, name: name.join('/') };
  throw new FerryError('USAGE', `${place}: expected TARGET/CATALOG/ITEM`, {
    hint: '`ovaferry ls TARGET/CATALOG` lists the items of a catalog.',
  });
}

/**
 * Checks orders and completes them with defaults.
 *
 * @throws FerryError USAGE, TARGET_UNKNOWN
 */
export async function toDownloads(
  orders: readonly DownloadOrder[],
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<WantedJob[]> {
  const taken = new Map<string, string>();
  return orders.map((order) => {
    const wanted = toDownload(order, targets);
    const { folder, name, source } = wanted.request;
    const plain = localName(name).toLowerCase();
    const path = join(folder, order.format === 'ova' ? plain.replace(/\.(ova|iso)$/, '') : plain);
    const other = taken.get(path);
    if (other !== undefined && other !== source) {
      throw new FerryError('USAGE', `${other} and ${source} would both become ${path}`, {
        hint: 'Fetch one of them to another folder with -o.',
      });
    }
    taken.set(path, source);
    return wanted;
  });
}

function toDownload(
  order: DownloadOrder,
  targets: ReadonlyMap<string, TargetConfig>,
): WantedJob & { readonly request: DownloadRequest } {
  const { target, catalog, name } = splitItem(order.item);
  findTarget(target, targets);
  const request: DownloadRequest = {
    operation: 'download',
    kind: null,
    source: order.item,
    target,
    catalog,
    name,
    folder: folderOf(order.folder ?? '.'),
    format: order.format ?? 'files',
    ifExists: order.ifExists ?? 'fail',
    expectedBytes: order.expectedBytes ?? 0,
    ...termsOf(order),
  };
  // What is to be replaced is to be fetched.
  return { request, ...turnOf(order), again: request.ifExists === 'replace' };
}

/** @throws FerryError USAGE for one that would be another one there */
function folderOf(path: string): string {
  if (!isLossy(path)) return resolve(path);
  throw new FerryError('USAGE', `the name of the folder ${path} is not UTF-8`, {
    hint: 'Rename it: names in other encodings can be listed, and not opened.',
  });
}
