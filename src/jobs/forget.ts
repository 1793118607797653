import type { Redis } from 'ioredis';
import { scanHash } from '../redis/scan.ts';
import { Batches } from './batch/batches.ts';
import { Ledger } from './batch/ledger.ts';
import { compareAndSet } from './compare-and-set.ts';
import { FORGET_KEY, RESERVED_KEY, SAME_UPLOAD_KEY } from './names.ts';
import type { QueueSet } from './queue-set.ts';

/** So often one of all workers looks for what is too old. Milliseconds. */
const EVERY_MS = 24 * 60 * 60_000;
const LOOK_MS = 60 * 60_000;
const AT_ONCE = 500;

export interface ForgettingDeps {
  readonly redis: Redis;
  readonly queues: QueueSet;
  /** What ended longer ago is forgotten. Milliseconds. */
  readonly keepMs: () => number;
  readonly onError: (error: Error) => void;
}

/**
 * Forgets what nobody asks for any more: receipts, failed jobs, ended batches, and what says which job
 * stands for an upload. In small portions, once a day, by one worker of all.
 */
export class Forgetting {
  readonly #deps: ForgettingDeps;
  readonly #timer: NodeJS.Timeout;
  #round: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(deps: ForgettingDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#begin(), LOOK_MS).unref();
    this.#begin();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#round;
  }

  #begin(): void {
    this.#round = this.#round.then(() => this.#look()).catch(this.#deps.onError);
  }

  async #look(): Promise<void> {
    const isOurs = await this.#deps.redis.set(FORGET_KEY, '1', 'PX', EVERY_MS - LOOK_MS / 2, 'NX');
    if (isOurs === 'OK') await forgetOld(this.#deps, () => this.#isClosed);
  }
}

/** @param isStopped asked between portions: what is left is forgotten another day */
export async function forgetOld(
  { redis, queues, keepMs }: Pick<ForgettingDeps, 'redis' | 'queues' | 'keepMs'>,
  isStopped: () => boolean = () => false,
): Promise<void> {
  const before = Date.now() - keepMs();
  const batches = new Batches(redis);
  await new Ledger(redis).forget(before, isStopped);
  for (const name of await queues.names()) {
    while (!isStopped()) {
      const gone = await queues.of(name).clean(keepMs(), AT_ONCE, 'failed');
      await batches.leave(gone);
      if (gone.length < AT_ONCE) break;
    }
  }
  // What is taken away from a command that has just written it, it writes again.
  const isKnown = (id: string): Promise<boolean> => isThere(redis, queues, id);
  await forgetFields(
    redis,
    SAME_UPLOAD_KEY,
    (text) => isKnown(text.split(' ')[0] ?? ''),
    isStopped,
  );
  await forgetFields(redis, RESERVED_KEY, isKnown, isStopped);
  for (const name of ['', ...(await batches.names())]) {
    if (isStopped()) return;
    await batches.forgetDone(name, isKnown, isStopped);
    if (name !== '') await batches.forget(name, before);
  }
}

async function isThere(redis: Redis, queues: QueueSet, id: string): Promise<boolean> {
  if ((await queues.findJob(id)) !== undefined) return true;
  return (await new Ledger(redis).find(id)) !== undefined;
}

async function forgetFields(
  redis: Redis,
  key: string,
  isToBeKept: (text: string) => Promise<boolean>,
  isStopped: () => boolean,
): Promise<void> {
  for await (const fields of scanHash(redis, key)) {
    for (const [field, text] of fields) {
      if (await isToBeKept(text)) continue;
      await compareAndSet(redis, key, { field, seen: text, next: '' });
    }
    if (isStopped()) return;
  }
}
