import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { parseDuration } from '../config/units.ts';
import { FerryError } from '../errors.ts';
import type { EnqueueOptions, UploadOrder } from '../index.ts';
import type { GlobalOptions } from './output.ts';

/** Options of `upload` and `enqueue`, as the command line gives them. */
export interface UploadOptions extends GlobalOptions {
  readonly to: string[];
  readonly name?: string;
  readonly description?: string;
  readonly media?: boolean;
  readonly batch?: string;
  readonly priority?: number;
  readonly verify: 'full' | 'off' | 'server';
  readonly lease?: string;
  readonly metadata?: readonly string[];
  readonly serverPull?: string;
  readonly ifExists: 'fail' | 'skip' | 'replace';
  readonly keepFailed?: boolean;
  readonly storageProfile?: string;
  readonly startAt?: string;
  readonly again?: boolean;
  readonly dryRun?: boolean;
}

/** @throws FerryError USAGE, SOURCE_NOT_FOUND */
export async function ordersOf(args: string[], options: UploadOptions): Promise<UploadOrder[]> {
  const { serverPull } = options;
  const isPull = serverPull !== undefined;
  if (isPull === args.length > 0) {
    throw new FerryError(
      'USAGE',
      isPull ? '--server-pull names the only source' : 'which source is to be uploaded?',
    );
  }
  const sources = isPull ? [serverPull] : await expand(args);
  if (options.name !== undefined && sources.length > 1) {
    throw new FerryError('USAGE', `--name fits one source, not ${sources.length}`);
  }
  const { name, description, media, batch, verify, ifExists, keepFailed, storageProfile } = options;
  const common = {
    ...{ name, description, media, batch, verify, ifExists, keepFailed, storageProfile },
    serverPull: isPull,
    leaseSeconds: leaseOf(options),
    metadata: metadataOf(options),
  };
  return [...new Set(options.to)].flatMap((to) =>
    sources.map((source) => ({ source, to, ...common })),
  );
}

/** @throws FerryError USAGE */
export function enqueueOptionsOf({ priority, startAt, again }: UploadOptions): EnqueueOptions {
  if (priority !== undefined && (priority < 1 || priority > 2_000_000)) {
    throw new FerryError('USAGE', '--priority is a number from 1 to 2000000');
  }
  const at = startAt === undefined ? undefined : new Date(startAt);
  if (at && Number.isNaN(at.getTime())) {
    throw new FerryError(
      'USAGE',
      `--start-at: "${startAt}" is not a time like 2026-12-24T20:00:00Z`,
    );
  }
  return { priority, startAt: at, again };
}

/** `never` or a time; in seconds, 0 for never. */
function leaseOf({ lease }: UploadOptions): number | undefined {
  if (lease === undefined) return undefined;
  if (lease === 'never') return 0;
  const ms = parseDuration(lease);
  if (ms !== undefined && ms >= 1_000) return Math.round(ms / 1_000);
  throw new FerryError('USAGE', `--lease: "${lease}" is neither never nor a time like 30d`);
}

/** `key=value` or `key:type=value`. */
function metadataOf({ metadata = [] }: UploadOptions): UploadOrder['metadata'] {
  return Object.fromEntries(metadata.map(parseMetadata));
}

function parseMetadata(text: string): [key: string, value: string | number | boolean | Date] {
  const [, key = '', type = 'string', value = ''] =
    /^(.+?)(?::(string|number|boolean|datetime))?=(.*)$/is.exec(text) ?? [];
  const refuse = (expected: string): never => {
    throw new FerryError('USAGE', `--metadata: "${text}": expected ${expected}`, {
      hint: 'Say key=value, or key:number=, key:boolean= or key:datetime=.',
    });
  };
  if (key === '') return refuse('key=value');
  switch (type.toLowerCase()) {
    case 'number':
      return /^[+-]?\d{1,15}$/.test(value) ? [key, Number(value)] : refuse('a whole number');
    case 'boolean':
      return /^(true|false)$/.test(value) ? [key, value === 'true'] : refuse('true or false');
    case 'datetime':
      return Number.isNaN(Date.parse(value))
        ? refuse('a time like 2026-12-24T20:00:00Z')
        : [key, new Date(value)];
    default:
      return [key, value];
  }
}

/** Globs, and folders of images; the same source twice is one source. */
async function expand(args: string[]): Promise<string[]> {
  const sources: string[] = [];
  for (const arg of args) {
    if (existsSync(arg)) {
      sources.push(...imagesIn(resolve(arg)));
      continue;
    }
    const found = isDynamicPattern(arg)
      ? await glob(arg, { absolute: true, onlyFiles: true, expandDirectories: false })
      : [];
    if (found.length === 0) throw new FerryError('SOURCE_NOT_FOUND', `${arg} does not exist`);
    sources.push(...found.sort());
  }
  return [...new Set(sources)];
}

/**
 * A folder with a descriptor is a package, or a mistake that its job will tell; one that holds
 * several whole images stands for all of them.
 */
function imagesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => !name.startsWith('.'));
  const images = names.filter((name) => /\.(ova|iso)$/i.test(name)).sort();
  if (names.some((name) => /\.ovf$/i.test(name)) || images.length < 2) return [path];
  return images.map((name) => join(path, name));
}
