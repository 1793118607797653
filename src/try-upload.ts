import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { classify, FerryError } from './errors.ts';
import { SMALLEST_CHUNK_BYTES } from './jobs/chunks.ts';
import { type Leftover, removeLeftover } from './jobs/janitor.ts';
import { linkedAbort } from './vcd/abort.ts';
import type { CallContext } from './vcd/api.ts';
import type { CatalogState } from './vcd/catalog.ts';
import type { VcdClient } from './vcd/client.ts';
import type { ItemReference } from './vcd/item.ts';

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

/** A trial has no room where uploads may still have some: a profile may be nearly full. */
const NO_ROOM: ReadonlySet<string> = new Set(['STORAGE_FULL', 'QUOTA_EXCEEDED']);

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
  const { item, total } = await create(vcd, { catalog, bytes }, context);
  try {
    const [file] = (await vcd.getEntity(item.entityHref, context)).files;
    const range = { start: 0, end: SENT, total };
    await vcd.putRange(file?.uploadHref ?? '', beginning(), range, context);
    let refusal: string | undefined;
    for (let size = total - SENT; size > SENT; size = Math.floor(size / 2)) {
      const answer = await announce(vcd, item.entityHref, { size, total }, context);
      if (answer === 'unclear') break;
      if (answer === 'passes') return { arrived: SENT, passing: size, refusal };
      refusal = answer.refusal;
    }
    return { arrived: SENT, passing: SENT, refusal };
  } finally {
    // Also after an interruption: nothing is left behind.
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    const { itemHref, entityHref } = item;
    const trial = { catalog: catalog.name, catalogItem: itemHref, entity: entityHref };
    await removeTrial(vcd, trial, { ...context, signal });
  }
}

async function create(
  vcd: VcdClient,
  { catalog, bytes }: { readonly catalog: CatalogState; readonly bytes: number },
  context: CallContext,
): Promise<{ readonly item: ItemReference; readonly total: number }> {
  const id = randomUUID();
  const createdWith = (size: number): Promise<ItemReference> =>
    vcd.createMedia(
      catalog.addMediaHref ?? '',
      {
        name: `ovaferry doctor ${id.slice(0, 8)}`,
        description: 'A trial upload of `ovaferry doctor`; to be removed.',
        size,
        imageType: undefined,
        operationKey: `ovaferry-doctor-${id}`,
      },
      context,
    );
  const total = SENT + Math.max(SENT, bytes);
  try {
    return { item: await createdWith(total), total };
  } catch (error) {
    if (!NO_ROOM.has(classify(error).code)) throw error;
    return { item: await createdWith(SENT), total: SENT };
  }
}

/** @param goesOn while the rest is waited for, which never comes */
async function* beginning(goesOn?: AbortSignal): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(SENT, 'ovaferry');
  if (goesOn)
    await sleep(2 * REFUSES_WITHIN_MS, undefined, { signal: goesOn }).catch(() => undefined);
}

type Answer = 'passes' | 'unclear' | { readonly refusal: string };

/** A line that breaks once says nothing of the size. */
async function announce(...args: Parameters<typeof announceOnce>): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const answer = await announceOnce(...args);
    if (answer !== 'broke') return answer;
    if (tries === 2) return { refusal: 'the connection is cut' };
  }
}

/** Begins a large request, and breaks it off. */
async function announceOnce(
  vcd: VcdClient,
  entityHref: string,
  { size, total }: { readonly size: number; readonly total: number },
  context: CallContext,
): Promise<Answer | 'broke'> {
  // Of what was broken off before, some may have arrived.
  const [file] = (await vcd.getEntity(entityHref, context)).files;
  const start = file?.bytesTransferred ?? 0;
  const range = { start, end: Math.min(total, start + size), total };
  const asking = linkedAbort(context.signal);
  const brokenOff = new FerryError('CANCELLED', 'it was not refused');
  const timer = setTimeout(() => asking.abort(brokenOff), REFUSES_WITHIN_MS);
  try {
    const body = beginning(asking.signal);
    const own = { ...context, signal: asking.signal };
    await vcd.putRange(file?.uploadHref ?? '', body, range, own);
    return 'passes';
  } catch (error) {
    context.signal.throwIfAborted();
    if (error === brokenOff) return 'passes';
    const { code, facts, message } = classify(error);
    if (facts['status'] === 413) return { refusal: message };
    return code === 'NETWORK' ? 'broke' : 'unclear';
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
