import type { TargetConfig } from './config/load.ts';
import { splitItem } from './download-orders.ts';
import { FerryError } from './errors.ts';
import type { WantedUpload } from './jobs/enqueue.ts';
import type { UploadRequest } from './jobs/job-request.ts';
import { checkName, findTarget, type JobTerms, placeOf, termsOf, turnOf } from './order-parts.ts';

/** One copy as a user asks for it. */
export interface CopyOrder extends JobTerms {
  /** `TARGET/CATALOG/ITEM`. */
  readonly item: string;
  /** `TARGET` or `TARGET/CATALOG`. */
  readonly to: string;
  /** In the other catalog; by default as it is called. */
  readonly name?: string | undefined;
  /** By default the item's own. */
  readonly description?: string | undefined;
  readonly storageProfile?: string | undefined;
  /**
   * What to do when the catalog has an item of that name. 'update': nothing if it holds the same, else
   * replace it.
   */
  readonly ifExists?: 'fail' | 'skip' | 'replace' | 'update' | undefined;
  /** The job that brings the item there: the copy waits for it. */
  readonly after?: string | undefined;
  /** Let the other server fetch it by itself, where it can. */
  readonly pull?: boolean | undefined;
  /** Bytes, where they are known: for forecasts. */
  readonly expectedBytes?: number | undefined;
}

/**
 * Checks orders and completes them with defaults.
 *
 * @throws FerryError USAGE, TARGET_UNKNOWN
 */
export async function toCopies(
  orders: readonly CopyOrder[],
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<WantedUpload[]> {
  const taken = new Map<string, string>();
  return orders.map((order) => {
    const wanted = toCopy(order, targets);
    const { target, catalog, name, source } = wanted.request;
    const place = JSON.stringify([target, catalog, name]);
    const other = taken.get(place);
    if (other !== undefined && other !== source) {
      throw new FerryError('USAGE', `${other} and ${source} would both be ${name} in ${catalog}`, {
        hint: 'Give one of them another name with --name.',
      });
    }
    taken.set(place, source);
    return wanted;
  });
}

function toCopy(order: CopyOrder, targets: ReadonlyMap<string, TargetConfig>): WantedUpload {
  const from = splitItem(order.item);
  findTarget(from.target, targets);
  const { target, catalog } = placeOf(order.to, targets);
  const name = (order.name ?? from.name).trim();
  checkName(name, order.item);
  if (from.target === target && from.catalog === catalog && from.name === name) {
    throw new FerryError('USAGE', `${order.item} is there already: give the copy another name`);
  }
  const request: UploadRequest = {
    ...{ operation: 'upload', kind: null, source: order.item, path: order.item },
    ...{ target, catalog, name, description: order.description ?? '' },
    deploy: null,
    from: { ...from, after: order.after ?? null, pull: order.pull ?? false },
    ifExists: order.ifExists ?? 'fail',
    storageProfile: order.storageProfile ?? null,
    ...{ leaseSeconds: null, metadata: [], pull: false, verify: 'full' },
    identity: { size: 0, mtimeMs: 0 },
    expectedBytes: order.expectedBytes ?? 0,
    ...termsOf(order),
  };
  // Whether it is there and the same, the server knows; that it once was, says little.
  const again = request.ifExists !== 'fail';
  return { request, ...turnOf(order), again };
}
