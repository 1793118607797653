import { createHash } from 'node:crypto';
import { classify, FerryError } from '../../errors.ts';
import { RangedFile, type RangeServer, WINDOW_BYTES } from '../../source/ranged-file.ts';
import { isSameHref } from '../../vcd/address.ts';
import type { CallContext } from '../../vcd/api.ts';
import type { DownloadBody } from '../../vcd/download.ts';
import type { EntityState } from '../../vcd/entity.ts';
import type { ItemReference } from '../../vcd/item.ts';
import { pause } from '../retry.ts';
import { collect, skipTo } from './link-body.ts';
import type { ItemPlace, LinkDeps } from './link-deps.ts';
import { assertReady, notFound, orNotFound, untilOffered } from './until-offered.ts';

/** What tells that a new address leads to the same bytes as the one before. */
const HEAD_BYTES = 64 * 1024;
/** An address that is shown and refused so often is made anew. */
const REFUSALS = 3;

/**
 * An item whose files are read. It is enabled for download first, and again whenever its addresses have
 * run out (after 60 minutes without a request); what a new address shows is compared with what was seen.
 */
export class ItemLink {
  readonly itemHref: string;
  /** Of the item's content, as the server counts. */
  readonly version: string;
  readonly #deps: LinkDeps;
  readonly #place: ItemPlace;
  readonly #context: CallContext;
  #entity: EntityState;
  #renewing: Promise<void> | undefined;
  #refusals = 0;
  #isProven = true;

  private constructor(
    deps: LinkDeps,
    parts: { place: ItemPlace; context: CallContext; item: ItemReference; entity: EntityState },
  ) {
    this.#deps = deps;
    this.#place = parts.place;
    this.#context = parts.context;
    this.#entity = parts.entity;
    this.itemHref = parts.item.itemHref;
    this.version = parts.item.version;
  }

  /**
   * Finds an item; nothing is enabled yet.
   *
   * @throws FerryError CATALOG_NOT_FOUND, ITEM_NOT_FOUND; ITEM_BUSY while it is being made
   */
  static find(deps: LinkDeps, place: ItemPlace, context: CallContext): Promise<ItemLink> {
    const find = async (): Promise<ItemLink> => {
      const { items } = await deps.vcd.getCatalog(place.catalog, context, { toRead: true });
      const listed = items.find(({ name }) => name === place.name);
      if (!listed) throw notFound(place);
      const item = await deps.vcd.getItem(listed.href, context);
      const entity = await deps.vcd.getEntity(item.entityHref, context);
      assertReady(entity, place);
      return new ItemLink(deps, { place, context, item, entity });
    };
    return deps.newPatience().repeat(() => orNotFound(find(), place), context.signal);
  }

  get entity(): EntityState {
    return this.#entity;
  }

  /** Enables it for download, which takes vCD as long as copying what there is, and waits for that. */
  async open(): Promise<void> {
    const { offers, memory } = this.#deps;
    const { href: entityHref, name } = this.#entity;
    const { current } = memory;
    // Removed and made anew under its old name: what was read of the other one is of no use.
    if (current && !isSameHref(current.entityHref, entityHref)) throw changed(name);
    const heads = current?.heads ?? {};
    // Intent before action: whoever gives the job up knows what to take back.
    await memory.save({ entityHref, heads });
    await offers.join(entityHref);
    await this.#untilOffered();
  }

  /** Where a template's descriptor is, by its name there. */
  get descriptorName(): string {
    const { pathname } = new URL(this.#entity.download.descriptorHref ?? 'x:/');
    return decodeURIComponent(pathname.slice(pathname.lastIndexOf('/') + 1));
  }

  /**
   * A file of it: of a template by its href in the descriptor.
   *
   * @throws FerryError SOURCE_CHANGED if it is not what was seen before
   */
  async file(name: string): Promise<RangedFile> {
    const { bytes: head, size } = await this.#head(name, WINDOW_BYTES);
    this.#assertSeen(name, headOf(head, size));
    return new RangedFile(this.#serverOf(name, size), { name, size, head });
  }

  /** Undefined if there is none of that name. */
  async findFile(name: string): Promise<RangedFile | undefined> {
    const range = { start: 0, end: 1 };
    const isThere = async (): Promise<boolean> => {
      try {
        const body = await this.#deps.vcd.openDownload(this.#hrefOf(name), range, this.#context);
        body.close();
        return true;
      } catch (error) {
        if (classify(error).code === 'TRANSFER_REFUSED') return false;
        throw error;
      }
    };
    const found = await this.#deps.newPatience().repeat(isThere, this.#context.signal);
    return found ? this.file(name) : undefined;
  }

  #serverOf(name: string, size: number): RangeServer {
    const open = async (
      range: { start: number; end?: number },
      signal: AbortSignal,
    ): Promise<DownloadBody> => {
      const context = { ...this.#context, signal: AbortSignal.any([this.#context.signal, signal]) };
      const body = await this.#openFile(name, range, context);
      if (body.size === size) return body;
      body.close();
      throw changed(name);
    };
    return {
      async fetch(start, end, signal) {
        const body = await open({ start, end }, signal);
        return collect(await skipTo(body, start), end - start);
      },
      open: async (start, signal) => skipTo(await open({ start }, signal), start),
      toError: classify,
      mayPass: (error) => PASSING.has(classify(error).code),
      endedEarly: () => new FerryError('NETWORK', `GET of ${name} ended before its end`),
    };
  }

  async #openFile(
    name: string,
    range: { readonly start: number; readonly end?: number },
    context: CallContext,
  ): Promise<DownloadBody> {
    for (let tries = 1; ; tries += 1) {
      const link = this.#linkDigest();
      try {
        await this.#prove();
        return await this.#deps.vcd.openDownload(this.#hrefOf(name), range, context);
      } catch (error) {
        if (classify(error).code !== 'TRANSFER_REFUSED' || tries > REFUSALS) throw error;
        await this.#renew(link);
      }
    }
  }

  /** One for all files: an address that has run out has run out for all of them. */
  #renew(stale: string): Promise<void> {
    if (this.#linkDigest() !== stale) return Promise.resolve(); // somebody was quicker
    this.#renewing ??= this.#makeAnew(stale).finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #makeAnew(stale: string): Promise<void> {
    const { vcd, log, settings } = this.#deps;
    await this.#untilOffered();
    if (this.#linkDigest() === stale) {
      // Shown, and refused: by a balancer, perhaps.
      this.#refusals += 1;
      if (this.#refusals < REFUSALS) return pause(settings.pollFirstMs * 4, this.#context.signal);
      await vcd.disableDownload(this.#entity, this.#context);
      await this.#untilOffered();
    }
    this.#refusals = 0;
    this.#isProven = false;
    log.info({ name: this.#place.name }, 'has new addresses for its download');
  }

  /** Before a byte is taken from a new address, what it shows is compared with what was seen. */
  async #prove(): Promise<void> {
    if (this.#isProven) return;
    const { memory, vcd } = this.#deps;
    const { current } = memory;
    for (const [name, seen] of Object.entries(current?.heads ?? {})) {
      const range = { start: 0, end: HEAD_BYTES };
      const body = await vcd.openDownload(this.#hrefOf(name), range, this.#context);
      const bytes = await collect(body, Math.min(HEAD_BYTES, body.size));
      if (headOf(bytes, body.size) !== seen) throw changed(name);
    }
    this.#isProven = true;
  }

  async #untilOffered(): Promise<void> {
    this.#entity = await untilOffered(this.#deps, this.#entity.href, {
      place: this.#place,
      context: this.#context,
    });
  }

  /** The first bytes, and how many there are. */
  async #head(name: string, count: number): Promise<{ bytes: Buffer; size: number }> {
    const patience = this.#deps.newPatience();
    return patience.repeat(async () => {
      const body = await this.#openFile(name, { start: 0, end: count }, this.#context);
      const bytes = await collect(body, Math.min(count, body.size));
      return { bytes, size: body.size };
    }, this.#context.signal);
  }

  #assertSeen(name: string, head: string): void {
    const { memory } = this.#deps;
    const { current } = memory;
    const seen = current?.heads[name];
    if (seen !== undefined && seen !== head) throw changed(name);
    if (seen === undefined && current) {
      memory.note({ ...current, heads: { ...current.heads, [name]: head } });
    }
  }

  /** Beside the descriptor, with its last component replaced (guide, "Download a Referenced File"). */
  #hrefOf(name: string): string {
    const { descriptorHref, file } = this.#entity.download;
    if (descriptorHref === undefined) return file?.href ?? '';
    if (name === this.descriptorName) return descriptorHref;
    const url = new URL(descriptorHref);
    const folder = url.pathname.slice(0, url.pathname.lastIndexOf('/') + 1);
    url.pathname = folder + name.split('/').map(encodeURIComponent).join('/');
    return url.href;
  }

  /** The address itself is a secret. */
  #linkDigest(): string {
    const { descriptorHref, file } = this.#entity.download;
    return digestOf(descriptorHref ?? file?.href ?? '');
  }
}

const PASSING: ReadonlySet<string> = new Set([
  'NETWORK',
  'SERVER_UNAVAILABLE',
  'TRANSFER_STALLED',
  'TRANSFER_REFUSED',
]);

function changed(name: string): FerryError {
  return new FerryError('SOURCE_CHANGED', `the server offers other bytes of ${name} than before`, {
    facts: { member: name },
  });
}

function headOf(bytes: Buffer, size: number): string {
  return `${size} ${digestOf(bytes.subarray(0, HEAD_BYTES))}`;
}

function digestOf(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
