import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { classify, FerryError } from './errors.ts';
import { SMALLEST_CHUNK_BYTES } from './jobs/chunks.ts';
import { type Leftover, removeLeftover } from './jobs/janitor.ts';
import { linkedAbort } from './vcd/abort.ts';
import type { CallContext } from './vcd/api.ts';
import type { CatalogState } from './vcd/catalog.ts';
import type { VcdClient } from './vcd/client.ts';

/** What came of a trial. */
interface Tried {
  /** Bytes that were really sent. */
  readonly arrived: number;
  /** Bytes of the largest request that is let through, as far as was asked for. */
  readonly passing: number;
  /** What a larger one was refused by; undefined where none was. */
  readonly refusal: string | undefined;
}

/** Who refuses a request by its size says so within this, when its head is there. */
const REFUSES_WITHIN_MS = 2_000;
const CLEAN_UP_MS = 60_000;
const SENT = SMALLEST_CHUNK_BYTES;

/**
 * Creates a media image, sends a little of it, asks how large a request may be, and removes it. Of large
 * requests only the beginning is sent: what refuses them does so by their length.
 *
 * @param bytes of the largest request that is asked for
 * @throws FerryError where nothing can be created, sent or removed
 */
export async function tryUpload(
  vcd: VcdClient,
  { catalog, bytes }: { readonly catalog: CatalogState; readonly bytes: number },
  context: CallContext,
): Promise<Tried> {
  const id = randomUUID();
  const total = SENT + Math.max(SENT, bytes);
  const { itemHref, entityHref } = await vcd.createMedia(
    catalog.addMediaHref ?? '',
    {
      name: `ovaferry doctor ${id.slice(0, 8)}`,
      description: 'A trial upload of `ovaferry doctor`; to be removed.',
      size: total,
      imageType: undefined,
      operationKey: `ovaferry-doctor-${id}`,
    },
    context,
  );
  try {
    const [file] = (await vcd.getEntity(entityHref, context)).files;
    const href = file?.uploadHref ?? '';
    await vcd.putRange(href, beginning(), { start: 0, end: SENT, total }, context);
    let refusal: string | undefined;
    for (let size = Math.max(SENT, bytes); size > SENT; size = Math.floor(size / 2)) {
      const said = await announce(vcd, href, { start: SENT, end: SENT + size, total }, context);
      if (said === undefined) return { arrived: SENT, passing: size, refusal };
      refusal = said;
    }
    return { arrived: SENT, passing: SENT, refusal };
  } finally {
    // Also after an interruption: nothing is left behind.
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    const trial = { catalog: catalog.name, catalogItem: itemHref, entity: entityHref };
    await removeTrial(vcd, trial, { ...context, signal });
  }
}

/** @param goesOn while the rest is waited for, which never comes */
async function* beginning(goesOn?: AbortSignal): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(SENT, 'ovaferry');
  if (goesOn)
    await sleep(2 * REFUSES_WITHIN_MS, undefined, { signal: goesOn }).catch(() => undefined);
}

/**
 * Begins a large request, and breaks it off.
 *
 * @returns what it was refused by; undefined if it was not
 */
async function announce(
  vcd: VcdClient,
  href: string,
  range: { readonly start: number; readonly end: number; readonly total: number },
  context: CallContext,
): Promise<string | undefined> {
  const asking = linkedAbort(context.signal);
  const brokenOff = new FerryError('CANCELLED', 'it was not refused');
  const timer = setTimeout(() => asking.abort(brokenOff), REFUSES_WITHIN_MS);
  try {
    const body = beginning(asking.signal);
    await vcd.putRange(href, body, range, { ...context, signal: asking.signal });
    return undefined;
  } catch (error) {
    context.signal.throwIfAborted();
    const { code, facts, message } = classify(error);
    if (error === brokenOff) return undefined;
    if (facts['status'] === 413 || code === 'NETWORK') return message;
    throw error;
  } finally {
    clearTimeout(timer);
    asking.unlink();
  }
}

/** Also where it has become ready meanwhile, which `removeLeftover` leaves alone. */
async function removeTrial(
  vcd: VcdClient,
  trial: Pick<Leftover, 'catalog' | 'catalogItem' | 'entity'>,
  context: CallContext,
): Promise<void> {
  await removeLeftover({ vcd }, { ...trial, what: 'item' }, context);
  await vcd.remove(trial.catalogItem, context).catch((error: unknown) => {
    if (classify(error).code !== 'ITEM_GONE') throw error;
  });
}
