import { basename, resolve } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { UploadRequest } from './jobs/job-data.ts';
import { defaultName, locateImage } from './ovf/image.ts';
import { identityOfFile } from './source/local-file.ts';

/** One upload as a user asks for it. */
export interface UploadOrder {
  /** An .ova, an .ovf, a folder holding one, an .iso; any file with `media`. */
  readonly source: string;
  /** `TARGET` or `TARGET/CATALOG`. */
  readonly to: string;
  readonly media?: boolean | undefined;
  /** In the catalog; by default the file's name without its ending. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly verify?: 'full' | 'off' | undefined;
  readonly batch?: string | undefined;
  /** What to do when the catalog has an item of that name. */
  readonly ifExists?: 'fail' | 'skip' | 'replace' | undefined;
  /** Leave on the server what failed for good, so that `retry` goes on with it. */
  readonly keepFailed?: boolean | undefined;
}

/**
 * Checks orders and completes them with defaults.
 *
 * A source that exists but is no package becomes a job all the same: one that fails and says why, so
 * that it is seen where all the others are.
 *
 * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE
 */
export async function toRequests(
  orders: readonly UploadOrder[],
  targets: ReadonlyMap<string, TargetConfig>,
): Promise<UploadRequest[]> {
  const requests: UploadRequest[] = [];
  const taken = new Map<string, string>();
  for (const order of orders) {
    const { target, catalog } = placeOf(order.to, targets);
    const source = resolve(order.source);
    const located = await locate(source, order.media ?? false);
    const name = (order.name ?? located.defaultName).trim();
    checkName(name, source);
    const place = JSON.stringify([target, catalog, name]);
    const other = taken.get(place);
    if (other !== undefined) {
      throw new FerryError(
        'USAGE',
        `${other} and ${source} would both be called ${name} in ${catalog}`,
        {
          hint: 'Give one of them another name with --name.',
        },
      );
    }
    taken.set(place, source);
    requests.push({
      kind: located.kind,
      source,
      path: located.path,
      target,
      catalog,
      name,
      description: order.description ?? '',
      ifExists: order.ifExists ?? 'fail',
      storageProfile: null,
      verify: order.verify ?? 'full',
      batch: order.batch ?? null,
      keepFailed: order.keepFailed ?? false,
      identity: { size: located.identity.size, mtimeMs: located.identity.mtimeMs },
    });
  }
  return requests;
}

async function locate(source: string, media: boolean): ReturnType<typeof locateImage> {
  try {
    return await locateImage(source, media);
  } catch (error) {
    if (!(error instanceof FerryError) || error.code.startsWith('SOURCE_')) throw error;
    const identity = await identityOfFile(source);
    return { kind: 'ovf', path: source, defaultName: defaultName(source), identity };
  }
}

/** `TARGET` or `TARGET/CATALOG`. */
export function splitPlace(place: string): { target: string; catalog: string | undefined } {
  const slash = place.indexOf('/');
  if (slash < 0) return { target: place, catalog: undefined };
  return { target: place.slice(0, slash), catalog: place.slice(slash + 1) };
}

/** @throws FerryError TARGET_UNKNOWN naming those there are */
export function findTarget(name: string, targets: ReadonlyMap<string, TargetConfig>): TargetConfig {
  const target = targets.get(name);
  if (target) return target;
  const known = [...targets.keys()].join(', ') || 'none';
  throw new FerryError('TARGET_UNKNOWN', `there is no target ${name}; configured are: ${known}`);
}

function placeOf(
  to: string,
  targets: ReadonlyMap<string, TargetConfig>,
): { target: string; catalog: string } {
  const { target: name, catalog: named } = splitPlace(to);
  const target = findTarget(name, targets);
  const catalog = named ?? target.catalog;
  if (!catalog) {
    throw new FerryError('USAGE', `which catalog of ${name}?`, {
      hint: `Say --to ${name}/CATALOG, or give the target a default \`catalog\`.`,
    });
  }
  return { target: name, catalog };
}

/** What vCD would refuse, said before anything is enqueued. */
function checkName(name: string, source: string): void {
  if (/\p{Cc}/u.test(name)) {
    throw new FerryError(
      'USAGE',
      `${basename(source)}: a name in a catalog has no control characters`,
      {
        hint: 'Give another one with --name.',
      },
    );
  }
  if (name !== '' && name.length <= 128) return;
  throw new FerryError(
    'USAGE',
    `${basename(source)}: a name in a catalog has 1 to 128 characters, "${name}" has ${name.length}`,
    { hint: 'Give another one with --name.' },
  );
}
