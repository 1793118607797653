import { type ApiRequest, type CallContext, VcdApi } from './api.ts';
import {
  type CatalogEntry,
  type CatalogState,
  Catalogs,
  listCatalogs,
  listSharedCatalogs,
} from './catalog.ts';
import { getVdc, instantiateOvf, type NewVApp, type VdcState } from './deploy.ts';
import { type DownloadBody, disableDownload, enableDownload, openDownload } from './download.ts';
import { type EntityState, getEntity } from './entity.ts';
import { type HttpTimeouts, VcdHttp } from './http.ts';
import type { Trust } from './http-trust.ts';
import {
  addToCatalog,
  copyOrMove,
  createMedia,
  createTemplate,
  editEntity,
  getItem,
  type ItemCopy,
  type ItemReference,
  type NewMedia,
  type NewTemplate,
} from './item.ts';
import { setLease, templateLeaseOf } from './lease.ts';
import { type ItemEntry, listItems } from './listing.ts';
import { addMetadata, getMetadata, type MetadataEntry } from './metadata.ts';
import { findOrg, listOrgs } from './org.ts';
import type { OrgEntry } from './org-list.ts';
import { contentRange, type FileRange } from './range.ts';
import { type Role, roleOf } from './rights.ts';
import { type SessionOptions, VcdSession } from './session.ts';
import { listStorageProfiles, type StorageProfile } from './storage.ts';
import { parseTask, type TaskState } from './task.ts';

export interface VcdOptions extends SessionOptions {
  readonly trust: Trust;
  readonly timeouts?: HttpTimeouts;
  /** A session that is not used for so long is touched while bytes flow. */
  readonly idleMs?: number;
}

/** A busy server answers a few bytes within this; over a dead connection nobody does. */
const PROBE_MS = 15_000;

/** One target's vCD: everything an upload asks of it, and nothing of when or how often. */
export class VcdClient {
  readonly #api: VcdApi;
  readonly #http: VcdHttp;
  readonly #session: VcdSession;
  readonly #org: string;
  readonly #catalogs: Catalogs;

  constructor(options: VcdOptions) {
    this.#http = new VcdHttp(options.url, options.trust, options.timeouts);
    this.#session = new VcdSession(this.#http, options);
    this.#api = new VcdApi(options.url, {
      http: this.#http,
      session: this.#session,
      insecure: options.trust.insecure ?? false,
      idleMs: options.idleMs,
    });
    this.#org = options.tenant ?? options.org;
    this.#catalogs = new Catalogs(this.#api, this.#org);
  }

  /** @returns when it answered last, by the clock of `performance` */
  answeredAt = (): number => this.#http.answeredAt;

  /** Which server it is, as far as its address tells. */
  get origin(): string {
    return this.#api.origin.origin;
  }

  /** Logs in if need be. @throws FerryError as the login does */
  async connect(context?: Pick<CallContext, 'signal'>): Promise<{ version: string }> {
    const { session } = this.#api;
    const { version } = await (context ? this.#api.openSession(context) : session.get());
    return { version };
  }

  /**
   * @param toRead another organisation's will do, if it shares one of that name and the own one has none
   * @throws FerryError CATALOG_NOT_FOUND
   */
  getCatalog(
    name: string,
    context: CallContext,
    { toRead = false }: { readonly toRead?: boolean } = {},
  ): Promise<CatalogState> {
    return this.#catalogs.find(name, context, toRead);
  }

  /** Organisations that this login sees. */
  listOrgs(context: CallContext): Promise<OrgEntry[]> {
    return listOrgs(this.#api, context);
  }

  /** The catalogs of the target's own organisation, or of another. */
  listCatalogs(context: CallContext, org = this.#org): Promise<CatalogEntry[]> {
    return listCatalogs(this.#api, org, context);
  }

  /** Catalogs of other organisations that this login may read. */
  listSharedCatalogs(context: CallContext): Promise<CatalogEntry[]> {
    return listSharedCatalogs(this.#api, this.#org, context);
  }

  listItems(
    catalog: Pick<CatalogState, 'urn' | 'name'>,
    context: CallContext,
  ): Promise<ItemEntry[]> {
    return listItems(this.#api, catalog, context);
  }

  listStorageProfiles(context: CallContext): Promise<StorageProfile[]> {
    return listStorageProfiles(this.#api, context);
  }

  getVdc(name: string, context: CallContext): Promise<VdcState> {
    return getVdc(this.#api, { org: this.#org, name }, context);
  }

  instantiateOvf(href: string, vApp: NewVApp, context: CallContext): Promise<ItemReference> {
    return instantiateOvf(this.#api, href, vApp, context);
  }

  async powerOn(href: string, context: CallContext): Promise<TaskState | undefined> {
    return this.#task({ method: 'POST', href }, context);
  }

  /** After how many seconds templates are removed, 0 for never; undefined if that is not to be seen. */
  async templateLease(context: CallContext): Promise<number | undefined> {
    const { href } = await findOrg(this.#api, this.#org, context);
    return templateLeaseOf(this.#api, href, context);
  }

  role(context: CallContext): Promise<Role> {
    return roleOf(this.#api, context);
  }

  /**
   * Asks whether anybody answers, without a login.
   *
   * @throws FerryError NETWORK, SERVER_UNAVAILABLE … while nobody does
   */
  async probe(signal: AbortSignal): Promise<{ version: string }> {
    const { version } = await this.#session.negotiate(signal, PROBE_MS);
    return { version };
  }

  createTemplate(addHref: string, item: NewTemplate, context: CallContext): Promise<ItemReference> {
    return createTemplate(this.#api, addHref, item, context);
  }

  createMedia(addHref: string, item: NewMedia, context: CallContext): Promise<ItemReference> {
    return createMedia(this.#api, addHref, item, context);
  }

  getItem(href: string, context: CallContext): Promise<ItemReference> {
    return getItem(this.#api, href, context);
  }

  getEntity(href: string, context: CallContext): Promise<EntityState> {
    return getEntity(this.#api, href, context);
  }

  async getTask(href: string, context: CallContext): Promise<TaskState> {
    return parseTask(await this.#api.get(href, context));
  }

  /**
   * Sends a descriptor or manifest in one piece, or what is missing of one that was cut off.
   *
   * @param start how many bytes the server has
   */
  putDocument(href: string, bytes: Buffer, start: number, context: CallContext): Promise<void> {
    const rest = bytes.subarray(start);
    const headers: Record<string, string> = {
      'content-type': 'text/xml',
      'content-length': String(rest.length),
    };
    if (start > 0) headers['content-range'] = contentRange(start, bytes.length, bytes.length);
    return this.#api.transfer(href, rest, headers, context);
  }

  /**
   * Sends bytes [start, end) of a file that is `total` bytes long (guide, "Using Ranged PUT
   * Requests"). The body is consumed whether or not the call succeeds: pass a fresh one to repeat it.
   *
   * @throws FerryError OFFSET_MISMATCH if the server does not expect `start` next
   */
  putRange(
    href: string,
    body: AsyncIterable<Uint8Array>,
    { start, end, total }: FileRange,
    context: CallContext,
  ): Promise<void> {
    const headers: Record<string, string> = { 'content-length': String(end - start) };
    // An empty file has no range that could be named.
    if (total > 0) headers['content-range'] = contentRange(start, end, total);
    return this.#api.transfer(href, total > 0 ? body : Buffer.alloc(0), headers, context);
  }

  addToCatalog(
    addItemHref: string,
    entity: Pick<EntityState, 'name' | 'href'>,
    context: CallContext,
  ): Promise<ItemReference> {
    return addToCatalog(this.#api, addItemHref, entity, context);
  }

  /** Lets the server copy one of its items to the catalog that `copyHref` is of. */
  copyItem(copyHref: string, copy: ItemCopy, context: CallContext): Promise<TaskState | undefined> {
    return copyOrMove(this.#api, copyHref, copy, context);
  }

  edit(
    entity: EntityState,
    to: { readonly name?: string; readonly description: string },
    context: CallContext,
  ): Promise<TaskState | undefined> {
    return editEntity(this.#api, entity, to, context);
  }

  getMetadata(entityHref: string, context: CallContext): Promise<ReadonlyMap<string, string>> {
    return getMetadata(this.#api, entityHref, context);
  }

  addMetadata(
    entityHref: string,
    entries: readonly MetadataEntry[],
    context: CallContext,
  ): Promise<TaskState | undefined> {
    return addMetadata(this.#api, entityHref, entries, context);
  }

  setLease(
    templateHref: string,
    seconds: number,
    context: CallContext,
  ): Promise<TaskState | undefined> {
    return setLease(this.#api, templateHref, seconds, context);
  }

  /** Ends a running upload task; vCD then removes the item itself. */
  async cancelTask(href: string, context: CallContext): Promise<void> {
    await this.#api.request({ method: 'POST', href }, context);
  }

  /** @returns the task that does it, where the server makes one of it */
  async remove(href: string, context: CallContext): Promise<TaskState | undefined> {
    return this.#task({ method: 'DELETE', href }, context);
  }

  /** Fills a subscribed catalog, or an item of one, from its source. */
  async sync(href: string, context: CallContext): Promise<TaskState | undefined> {
    return this.#task({ method: 'POST', href }, context);
  }

  async #task(request: ApiRequest, context: CallContext): Promise<TaskState | undefined> {
    const root = await this.#api.request(request, context);
    return root?.name === 'Task' ? parseTask(root) : undefined;
  }

  /**
   * Lets an entity be fetched, which vCD copies to its transfer storage for that.
   *
   * @returns the task that does it
   * @throws FerryError DOWNLOAD_FORBIDDEN
   */
  enableDownload(entity: EntityState, context: CallContext): Promise<TaskState | undefined> {
    return enableDownload(this.#api, entity, context);
  }

  /** Takes an entity's addresses for download back, where it has any. */
  disableDownload(entity: EntityState, context: CallContext): Promise<void> {
    return disableDownload(this.#api, entity, context);
  }

  /**
   * Bytes of a file that is enabled for download, from `start` on. To be closed.
   *
   * @param href a secret
   * @throws FerryError TRANSFER_REFUSED where the address is not, or no longer, valid
   */
  openDownload(
    href: string,
    range: { readonly start: number; readonly end?: number },
    context: CallContext,
  ): Promise<DownloadBody> {
    return openDownload(this.#api, href, range, context);
  }

  close(): void {
    this.#http.close();
  }
}
