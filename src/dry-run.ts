import type { Config } from './config/load.ts';
import { classify, FerryError } from './errors.ts';
import { freeOf, holderAmong, visibleProfiles } from './jobs/choose-storage.ts';
import { addHrefOf } from './jobs/claim-item.ts';
import type { JobError } from './jobs/job-data.ts';
import { toJobError } from './jobs/job-error.ts';
import type { UploadRequest } from './jobs/job-request.ts';
import type { JobDetails, JobState } from './jobs/job-view.ts';
import { toUploads, type UploadOrder } from './orders.ts';
import { bytesOf, openImage } from './ovf/image.ts';
import { createClient } from './targets.ts';
import type { CallContext } from './vcd/api.ts';
import type { CatalogState } from './vcd/catalog.ts';
import type { VcdClient } from './vcd/client.ts';
import type { StorageProfile } from './vcd/storage.ts';

/** What an upload would do, and what would make it fail. */
export interface Plan
  extends Pick<UploadRequest, 'kind' | 'source' | 'target' | 'catalog' | 'name'> {
  /** Null where that is not known: the server fetches it, or it can't be read. */
  readonly bytes: number | null;
  /** When vCD would remove the item by itself if it arrived now; null for never, and where nobody knows. */
  readonly removedAt: string | null;
  /** When it would begin at the earliest, ISO 8601; null for at once. */
  readonly startAt: string | null;
  /** When it should have arrived, ISO 8601. */
  readonly deadline: string | null;
  /** When it would have arrived if it were enqueued now, ISO 8601; null where nobody knows. */
  readonly expectedAt: string | null;
  /** The job that stands for it already: nothing would be added. */
  readonly existing: { readonly id: string; readonly state: JobState } | null;
  readonly warnings: readonly string[];
  readonly problems: readonly JobError[];
}

/**
 * Opens every package and asks every target, and changes nothing.
 *
 * @param standing jobs that stand for the orders already, in their order
 *
 * @throws FerryError SOURCE_NOT_FOUND, TARGET_UNKNOWN, USAGE, as `enqueue` does
 */
export async function planUploads(
  config: Config,
  orders: readonly UploadOrder[],
  {
    signal,
    standing,
    startAt: common,
  }: {
    readonly signal: AbortSignal;
    readonly standing: readonly (JobDetails | undefined)[];
    readonly startAt?: Date | undefined;
  },
): Promise<Plan[]> {
  const uploads = await toUploads(orders, config.targets);
  const targets = new TargetLooks(config, { signal, requestId: 'ovaferry-dry-run' });
  try {
    const plans: Plan[] = [];
    for (const [i, { request, startAt: own }] of uploads.entries()) {
      const existing = standing[i];
      const planned = existing ? planOfExisting(request, existing) : await plan(request, targets);
      plans.push({ ...planned, startAt: (own ?? common)?.toISOString() ?? null });
    }
    return plans;
  } finally {
    targets.close();
  }
}

function planOfExisting(request: UploadRequest, { id, state, bytesTotal }: JobDetails): Plan {
  const { kind, source, target, catalog, name } = request;
  return {
    ...{ kind, source, target, catalog, name, bytes: bytesTotal, removedAt: null },
    ...{ startAt: null, deadline: isoOf(request.deadline), expectedAt: null },
    ...{ existing: { id, state }, warnings: [], problems: [] },
  };
}

async function plan(request: UploadRequest, targets: TargetLooks): Promise<Plan> {
  const { kind, source, target, catalog, name } = request;
  const problems: JobError[] = [];
  const attempt = async <T>(look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look();
    } catch (error) {
      const failure = classify(error);
      problems.push(toJobError(failure, request, failure.kind === 'permanent'));
      return undefined;
    }
  };
  const image = request.pull ? undefined : await attempt(() => lookInto(request));
  const bytes = image?.bytes ?? null;
  const taken = await attempt(() => targets.assertTakes(request, bytes ?? 0));
  return {
    ...{ kind, source, target, catalog, name, bytes },
    removedAt: taken?.removedAt ?? null,
    ...{ startAt: null, deadline: isoOf(request.deadline), expectedAt: null },
    existing: null,
    warnings: [...(image?.warnings ?? []), ...(taken?.warnings ?? [])],
    problems,
  };
}

async function lookInto(
  request: UploadRequest,
): Promise<{ bytes: number; warnings: readonly string[] }> {
  const image = await openImage(
    { kind: request.kind ?? 'ovf', path: request.path },
    { verify: request.verify },
  );
  await image.close();
  return { bytes: bytesOf(image), warnings: image.warnings };
}

/** Targets as they are now, each asked once. */
class TargetLooks {
  readonly #config: Config;
  readonly #context: CallContext;
  readonly #clients = new Map<string, Promise<VcdClient>>();
  readonly #catalogs = new Map<string, Promise<CatalogState>>();
  readonly #profiles = new Map<string, Promise<StorageProfile[]>>();
  readonly #leases = new Map<string, Promise<number | undefined>>();
  /** Bytes that the uploads before would take, by target and profile. */
  readonly #planned = new Map<string, number>();

  constructor(config: Config, context: CallContext) {
    this.#config = config;
    this.#context = context;
  }

  /**
   * @returns when vCD would remove the item
   * @throws FerryError what an upload would fail by
   */
  async assertTakes(
    request: UploadRequest,
    bytes: number,
  ): Promise<{ removedAt: string | null; warnings: string[] }> {
    const { target, catalog: wanted, name, kind, ifExists } = request;
    const vcd = await once(this.#clients, target, () => createClient(() => this.#config, target));
    const catalog = await once(this.#catalogs, `${target}/${wanted}`, () =>
      vcd.getCatalog(wanted, this.#context),
    );
    addHrefOf(catalog, kind ?? 'ovf');
    if (ifExists === 'fail' && catalog.items.some((item) => item.name === name)) {
      throw new FerryError('NAME_TAKEN', `${wanted} has an item ${name} already`);
    }
    await this.#assertRoom(vcd, request, bytes);
    if (kind === 'media') return { removedAt: null, warnings: [] };
    const policy = await once(this.#leases, target, () => vcd.templateLease(this.#context));
    return leaseOf(request.leaseSeconds, policy);
  }

  async #assertRoom(vcd: VcdClient, request: UploadRequest, bytes: number): Promise<void> {
    const { target, storageProfile } = request;
    const asked: Pick<VcdClient, 'listStorageProfiles'> = {
      listStorageProfiles: (context) =>
        once(this.#profiles, target, () => vcd.listStorageProfiles(context)),
    };
    const profiles = await visibleProfiles(asked, storageProfile, this.#context);
    const profile = holderAmong(profiles, storageProfile, bytes);
    if (!profile) return;
    const place = `${target} ${profile.href}`;
    const planned = this.#planned.get(place) ?? 0;
    this.#planned.set(place, planned + bytes);
    const free = freeOf(profile);
    if (free === undefined || planned + bytes <= free) return;
    throw new FerryError(
      'STORAGE_FULL',
      `the storage profile ${profile.name} has ${free} bytes left, of which those before it need ${planned}; ${bytes} are needed`,
    );
  }

  close(): void {
    for (const client of this.#clients.values()) {
      void client.then((vcd) => vcd.close()).catch(() => undefined);
    }
  }
}

/** What becomes of a lease that is wanted, under the organisation's policy (seconds; 0 for no end). */
function leaseOf(
  wanted: number | null,
  policy: number | undefined,
): { removedAt: string | null; warnings: string[] } {
  const isRefused = wanted !== null && policy ? wanted === 0 || wanted > policy : false;
  const seconds = isRefused ? policy : (wanted ?? policy);
  return {
    removedAt: seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null,
    warnings: isRefused ? [`the organisation allows a lease of at most ${policy} seconds`] : [],
  };
}

function isoOf(moment: number | null): string | null {
  return moment === null ? null : new Date(moment).toISOString();
}

function once<T>(known: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const found = known.get(key) ?? ask();
  known.set(key, found);
  return found;
}
