import { basename } from 'node:path';
import type { TargetConfig } from './config/load.ts';
import { suggestion } from './config/suggest.ts';
import { FerryError } from './errors.ts';

/** What orders of all kinds have: places, names, batches, priorities, pools. */

/** What every order may say of its job, whatever it moves. */
export interface JobTerms {
  readonly batch?: string | undefined;
  /** Leave what arrived of a job that failed for good, so that `retry` goes on with it. */
  readonly keepFailed?: boolean | undefined;
  /** Only workers of this pool can reach the file or folder. */
  readonly pool?: string | undefined;
  /** 1 goes first; by default what is said for all orders. */
  readonly priority?: number | undefined;
  /** Not before; by default what is said for all orders. */
  readonly startAt?: Date | undefined;
  /** When it should have arrived. It is moved all the same; who asks is told that it is late. */
  readonly deadline?: Date | undefined;
}

/** As a request has them. @throws FerryError USAGE */
export function termsOf({ batch, keepFailed, pool, deadline }: JobTerms) {
  if (pool !== undefined) assertPoolName(pool);
  if (batch !== undefined) assertBatchName(batch);
  return {
    batch: batch ?? null,
    keepFailed: keepFailed ?? false,
    again: false, // is said for all orders
    previous: null,
    pool: pool ?? null,
    deadline: deadline?.getTime() ?? null,
  };
}

/** As the queue has them. @throws FerryError USAGE */
export function turnOf({ priority, startAt }: JobTerms) {
  if (priority !== undefined) assertPriority(priority);
  return { priority, startAt };
}

const LOWEST_PRIORITY = 2_000_000;

/** @throws FerryError USAGE */
function assertBatchName(batch: string): void {
  if (batch !== '' && batch.length <= 128 && !/\p{Cc}/u.test(batch)) return;
  throw new FerryError(
    'USAGE',
    'a batch has a name of 1 to 128 characters, none of them a control character',
  );
}

/** @throws FerryError USAGE */
function assertPriority(priority: number): void {
  if (priority >= 1 && priority <= LOWEST_PRIORITY) return;
  throw new FerryError('USAGE', `a priority is a number from 1 to ${LOWEST_PRIORITY}`);
}

/** @throws FerryError USAGE */
export function assertPoolName(pool: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(pool)) return;
  throw new FerryError(
    'USAGE',
    `"${pool}" is no name of a pool: expected letters, digits, _ and -`,
  );
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
  const meant = suggestion(name, targets.keys());
  throw new FerryError(
    'TARGET_UNKNOWN',
    `there is no target ${name}${meant}; configured are: ${known}`,
  );
}

/** With the target's own catalog where none is named. @throws FerryError TARGET_UNKNOWN, USAGE */
export function placeOf(
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
export function checkName(name: string, source: string): void {
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
