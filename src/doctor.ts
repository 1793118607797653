import { randomUUID } from 'node:crypto';
import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';
import type { Config, TargetConfig } from './config/load.ts';
import { classify, FerryError } from './errors.ts';
import { freeOf, seenProfiles } from './jobs/choose-storage.ts';
import { FIRST_CHUNK_BYTES } from './jobs/chunks.ts';
import { PROBE_KEY } from './jobs/names.ts';
import { assertSuitable, assertTakesWrites, inspectRedis } from './redis/checks.ts';
import { connectPromptly, untilReady } from './redis/connect.ts';
import { redisOf } from './redis-of.ts';
import { createClient } from './targets.ts';
import { tryUpload } from './try-upload.ts';
import type { CallContext } from './vcd/api.ts';
import type { CatalogState } from './vcd/catalog.ts';
import type { VcdClient } from './vcd/client.ts';
import { type Role, UPLOAD_RIGHT, VIEW_RIGHT } from './vcd/rights.ts';

/** One thing that was looked at. */
export interface Check {
  /** What was looked at: `redis`, or a target's name. */
  readonly of: string;
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'failed';
  readonly message: string;
  /** Of what failed. */
  readonly code: string | null;
  readonly hint: string | null;
}

export interface DoctorOptions {
  /** Also create a tiny media image in the default catalog, send it, and remove it. */
  readonly write: boolean;
  readonly signal: AbortSignal;
}

/** Every check as it is done; what depends on something that failed is left out. */
export async function* checkRedis(config: Config): AsyncGenerator<Check> {
  const report = reporter('redis');
  try {
    const { address, release } = await redisOf(config);
    const redis = connectPromptly(address, 'ovaferry-doctor');
    try {
      await untilReady(redis, address);
      const facts = await inspectRedis(redis);
      yield report.ok('server', `${facts.server} ${facts.version} answers`);
      await assertTakesWrites(redis, PROBE_KEY);
      yield report.ok('writes', 'takes writes');
      const warnings = assertSuitable(facts);
      for (const warning of warnings) yield report.warning('persistence', warning);
      if (warnings.length === 0) yield report.ok('persistence', 'keeps its data, and evicts none');
    } finally {
      redis.disconnect();
      release();
    }
  } catch (error) {
    yield report.failed('server', error);
  }
}

/** A target from its address to the right to upload. */
export async function* checkTarget(
  config: Config,
  target: TargetConfig,
  { write, signal }: DoctorOptions,
): AsyncGenerator<Check> {
  const report = reporter(target.name);
  for (const warning of target.warnings) yield report.warning('trust', warning);
  const context: CallContext = { signal, requestId: `ovaferry-doctor-${randomUUID().slice(0, 8)}` };
  let vcd: VcdClient | undefined;
  let what = 'configuration';
  try {
    vcd = await createClient(() => config, target.name);
    yield report.ok(what, 'is complete, with its secrets');
    what = 'address';
    const offered = await vcd.probe(signal);
    yield report.ok(what, `${(await target.resolve()).url.host} speaks API ${offered.version}`);
    what = 'login';
    await vcd.connect(context);
    const role = await vcd.role(context);
    yield report.ok(what, `was accepted${role.name ? `; the role is ${role.name}` : ''}`);
    what = 'catalogs';
    const { checks, open } = await checkCatalogs(vcd, target, { role, context, report });
    yield* checks;
    what = 'storage';
    yield* await checkStorage(vcd, { context, report });
    what = 'lease';
    yield await checkLease(vcd, { context, report });
    if (!write || !open) return;
    what = 'upload';
    const bytes = config.worker.chunkSize ?? FIRST_CHUNK_BYTES;
    yield* await checkUpload(vcd, open, { bytes, asking: { context, report } });
  } catch (error) {
    signal.throwIfAborted();
    yield report.failed(what, error);
  } finally {
    vcd?.close();
  }
}

type Reporter = ReturnType<typeof reporter>;

function reporter(of: string) {
  const check = (state: Check['state'], what: string, message: string): Check => ({
    ...{ of, what, state, message },
    code: null,
    hint: null,
  });
  return {
    ok: (what: string, message: string): Check => check('ok', what, message),
    warning: (what: string, message: string): Check => check('warning', what, message),
    failed(what: string, error: unknown): Check {
      const { code, message, hint } = classify(error);
      return { ...check('failed', what, message), code, hint };
    },
  };
}

interface Asking {
  readonly context: CallContext;
  readonly report: Reporter;
}

/** The default catalog, or without one any that can be uploaded to. */
async function checkCatalogs(
  vcd: VcdClient,
  { catalog: wanted }: TargetConfig,
  { role, context, report }: Asking & { readonly role: Role },
): Promise<{ checks: Check[]; open: CatalogState | undefined }> {
  const entries = await vcd.listCatalogs(context);
  const names = entries.map(({ name }) => name);
  if (names.length === 0) {
    const why = mayNot(role, VIEW_RIGHT)
      ? `the role lacks the right "${VIEW_RIGHT}"`
      : 'there is none, or none that this user may see';
    const error = new FerryError('CATALOG_NOT_FOUND', `the organisation shows no catalog: ${why}`, {
      hint: "A provider names the organisation it acts for as the target's `tenant`.",
    });
    return { checks: [report.failed('catalogs', error)], open: undefined };
  }
  const checks = [report.ok('catalogs', names.join(', '))];
  let open: CatalogState | undefined;
  for (const name of wanted === undefined ? names : [wanted]) {
    const entry = entries.find((candidate) => candidate.name === name);
    const isSubscribed = entry?.isSubscribed ?? false;
    try {
      const catalog = await vcd.getCatalog(name, context);
      assertOpen(catalog, { isSubscribed, role });
      checks.push(
        report.ok(`catalog ${name}`, `has ${catalog.items.length} items; may be uploaded to`),
      );
      open ??= catalog;
    } catch (error) {
      context.signal.throwIfAborted();
      const check = report.failed(`catalog ${name}`, error);
      // Of those that nobody asked for, it need not be said that they are not for us.
      checks.push(wanted === undefined ? { ...check, state: 'warning' } : check);
    }
  }
  if (!open && wanted === undefined) {
    const error = new FerryError('CATALOG_FORBIDDEN', 'none of the catalogs may be uploaded to');
    checks.push(report.failed('catalogs', error));
  }
  return { checks, open };
}

function mayNot({ rights }: Role, right: string): boolean {
  return rights !== undefined && !rights.includes(right);
}

/** @throws FerryError CATALOG_FORBIDDEN that says what is missing, as far as that can be known */
function assertOpen(
  { name, addTemplateHref, addMediaHref }: CatalogState,
  { isSubscribed, role }: { readonly isSubscribed: boolean; readonly role: Role },
): void {
  if (addTemplateHref !== undefined && addMediaHref !== undefined) return;
  const refuse = (why: string, hint: string): never => {
    throw new FerryError('CATALOG_FORBIDDEN', `nothing may be added to ${name}: ${why}`, { hint });
  };
  if (isSubscribed) {
    refuse('it is subscribed to another catalog', 'Upload to a catalog of your own.');
  }
  if (mayNot(role, UPLOAD_RIGHT)) {
    refuse(
      `the role ${role.name ?? ''} lacks the right "${UPLOAD_RIGHT}"`,
      'Ask an administrator of the organisation for it.',
    );
  }
  if (role.rights !== undefined) {
    refuse('it is read-only for this user', 'Ask its owner to share it with write access.');
  }
  refuse(
    `the role ${role.name ?? ''} lacks the right "${UPLOAD_RIGHT}", or the catalog is read-only for this user`,
    'Ask an administrator of the organisation for the right, or the owner for write access.',
  );
}

/** A profile with less than this share left is warned about. */
const LITTLE = 0.1;

async function checkStorage(vcd: VcdClient, { context, report }: Asking): Promise<Check[]> {
  const profiles = await seenProfiles(vcd, context);
  if (!profiles || profiles.length === 0) {
    return [report.warning('storage', 'no storage profile can be seen: room is not checked')];
  }
  return profiles.map((profile) => {
    const { name, limitBytes = 0, usedBytes, isDefault } = profile;
    const kind = isDefault ? ' (default)' : '';
    const free = freeOf(profile);
    if (free === undefined) {
      return report.ok(`storage ${name}`, `${prettyBytes(usedBytes)} used, no limit${kind}`);
    }
    const words = `${prettyBytes(free)} left of ${prettyBytes(limitBytes)}${kind}`;
    const isLow = free < limitBytes * LITTLE;
    return isLow ? report.warning(`storage ${name}`, words) : report.ok(`storage ${name}`, words);
  });
}

async function checkLease(vcd: VcdClient, { context, report }: Asking): Promise<Check> {
  const seconds = await vcd.templateLease(context);
  if (seconds === undefined) {
    return report.warning('lease', 'how long templates are kept can not be seen with this role');
  }
  if (seconds === 0) return report.ok('lease', 'templates are kept until somebody removes them');
  const ends = new Date(Date.now() + seconds * 1000).toISOString().slice(0, 10);
  return report.warning(
    'lease',
    `vCD removes templates after ${prettyMs(seconds * 1000, { verbose: true })}: what is uploaded today, on ${ends}`,
  );
}

/** Through everything that stands before vCD: firewalls like to let small requests pass, and no PUT. */
async function checkUpload(
  vcd: VcdClient,
  catalog: CatalogState,
  { bytes, asking }: { readonly bytes: number; readonly asking: Asking },
): Promise<Check[]> {
  const { context, report } = asking;
  const { arrived, passing, refusal } = await tryUpload(vcd, { catalog, bytes }, context);
  const words = `${prettyBytes(arrived)} arrived in ${catalog.name}; removed again`;
  const checks = [report.ok('upload', words)];
  if (refusal === undefined) return checks;
  const limit = `requests of ${prettyBytes(passing, { binary: true })} pass, larger ones do not: ${refusal}. Pieces are made smaller by themselves; raise that limit, or set worker.chunkSize`;
  return [...checks, report.warning('size of requests', limit)];
}
