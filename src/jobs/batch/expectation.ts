import type { Redis } from 'ioredis';
import type { Limits } from '../limits/limits.ts';
import { workersOf } from '../presence.ts';
import type { QueueSet } from '../queue-set.ts';
import { Batches } from './batches.ts';
import { type Flow, forecast, type Pending } from './forecast.ts';
import { Rates } from './rates.ts';
import { supplyOf } from './supply.ts';

/** An upload that is to arrive. */
export interface Expected {
  readonly id: string;
  readonly target: string;
  /** Of the whole. */
  readonly bytes: number;
  /** Still to be sent. */
  readonly left: number;
  /** When it may begin, milliseconds since the epoch; undefined for at once. */
  readonly notBefore?: number | undefined;
}

export interface ExpectedEnds {
  /** By id, milliseconds since the epoch; what can't be told is missing. */
  readonly at: ReadonlyMap<string, number>;
  /** The last of them; undefined where one can't be told. */
  readonly last: number | undefined;
}

/** When uploads will have arrived, from what was measured, what the limits allow, and what goes beside. */
export class Expectation {
  readonly #redis: Redis;
  readonly #queues: Pick<QueueSet, 'names'>;
  readonly #batches: Batches;
  readonly #rates: Rates;

  constructor({ redis, queues }: { redis: Redis; queues: Pick<QueueSet, 'names'> }) {
    this.#redis = redis;
    this.#queues = queues;
    this.#batches = new Batches(redis);
    this.#rates = new Rates(redis);
  }

  /**
   * @param uploads in the order in which they go
   * @param unread so many more of the same kind follow
   * @param besides the batch that they are of: all others take their part of the line
   */
  async of(
    uploads: readonly Expected[],
    limits: Limits,
    { unread = 0, besides }: { readonly unread?: number; readonly besides?: string } = {},
  ): Promise<ExpectedEnds> {
    const own = await this.#flowsOf(uploads, unread);
    const flows = [...own, ...(await this.#others(besides))];
    const targets = [...new Set(flows.map(({ target }) => target))];
    const workers = await this.#workers(targets);
    const supply = await supplyOf(targets, limits, { rates: this.#rates, workers });
    const now = Date.now();
    const at = forecast(flows, supply, now);
    // What begins later arrives later by as much, at the latest.
    for (const { id, notBefore = now } of uploads) {
      const end = at.get(id);
      if (end !== undefined) at.set(id, end + Math.max(0, notBefore - now));
    }
    const ends = own.flatMap(({ pending }) => pending.map(({ id }) => at.get(id)));
    const isAll = ends.length > 0 && ends.every((end) => end !== undefined);
    return {
      at,
      last: isAll ? ends.reduce((last = 0, end = 0) => Math.max(last, end), 0) : undefined,
    };
  }

  /** Processes that send to any of these. */
  async #workers(targets: readonly string[]): Promise<number> {
    const ids = new Set<string>();
    for (const name of await this.#queues.names(targets)) {
      const alive = await workersOf(this.#redis, name);
      for (const id of alive) ids.add(id);
    }
    return ids.size;
  }

  async #flowsOf(uploads: readonly Expected[], unread: number): Promise<Flow[]> {
    const flows: Flow[] = [];
    for (const target of new Set(uploads.map((upload) => upload.target))) {
      const importMs = await this.#rates.importMs(target);
      const own = uploads.filter((upload) => upload.target === target);
      const pending: Pending[] = own.map(({ id, bytes, left }) => ({
        ...{ id, bytes: left, importMs: importMs(bytes) },
      }));
      const mean = pending.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, pending.length);
      const share = Math.round((unread * own.length) / Math.max(1, uploads.length));
      if (share > 0) pending.push({ id: `${target} rest`, bytes: mean * share, importMs: 0 });
      flows.push({ target, pending });
    }
    return flows;
  }

  /** What other batches have open. */
  async #others(besides: string | undefined): Promise<Flow[]> {
    const flows: Flow[] = [];
    for (const other of ['', ...(await this.#batches.names())]) {
      if (other === besides) continue;
      const totals = await this.#batches.find(other);
      if (!totals || totals.endedAt !== null) continue;
      for (const [target, bytes] of totals.leftOn) {
        flows.push({ target, pending: [{ id: `batch ${other}`, bytes, importMs: 0 }] });
      }
    }
    return flows;
  }
}
