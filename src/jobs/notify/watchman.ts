import type { Redis } from 'ioredis';
import { Batches } from '../batch/batches.ts';
import type { BatchState, Overview } from '../batch/overview.ts';
import type { Brakes } from '../brakes.ts';
import type { JobData, JobProgress } from '../job-data.ts';
import { viewOf } from '../job-view.ts';
import type { Limits } from '../limits/limits.ts';
import { WATCH_KEY } from '../names.ts';
import type { QueueSet } from '../queue-set.ts';
import type { Notices } from './notices.ts';

export interface WatchmanDeps {
  readonly redis: Redis;
  readonly queues: QueueSet;
  readonly overview: Overview;
  readonly brakes: Brakes;
  readonly notices: Pick<Notices, 'add'>;
  readonly limits: () => Limits;
  readonly onError: (error: Error) => void;
  /** By default ten minutes. */
  readonly stalledMs?: number;
}

const ROUND_MS = 5_000;
/** Forecasts read a job for each upload: they are made in every so many rounds. */
const ROUNDS_PER_FORECAST = 12;
/** A transfer of which no byte was sent or confirmed for so long is stalled. */
const STALLED_MS = 10 * 60_000;

interface Moved {
  /** Bytes. */
  readonly sent: number;
  readonly at: number;
}

/**
 * Looks from time to time whether something has happened that somebody wants to be told of. It looks at
 * what is, and not at what happens, so that nothing is missed by a process that dies; one worker looks
 * for all.
 */
export class Watchman {
  readonly #deps: WatchmanDeps;
  readonly #batches: Batches;
  #timer: NodeJS.Timeout | undefined;
  #rounds = 0;
  /** By job: bytes that were sent when they were last seen to grow. A large piece is long under way. */
  #moved = new Map<string, Moved>();
  #round: Promise<void> | undefined;

  constructor(deps: WatchmanDeps) {
    this.#deps = deps;
    this.#batches = new Batches(deps.redis);
    this.#timer = setInterval(() => {
      this.#round ??= this.#look()
        .catch((error: Error) => deps.onError(error))
        .finally(() => {
          this.#round = undefined;
        });
    }, ROUND_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#round;
  }

  async #look(): Promise<void> {
    const { redis } = this.#deps;
    const isOurs = await redis.set(WATCH_KEY, '1', 'PX', ROUND_MS - 500, 'NX');
    if (isOurs !== 'OK') return;
    const isForecast = this.#rounds % ROUNDS_PER_FORECAST === 0;
    this.#rounds += 1;
    await this.#brakes();
    await this.#stalled();
    const look = this.#deps.overview.openLook();
    for (const name of ['', ...(await this.#batches.names())]) {
      if (!this.#timer) return; // this worker is stopping, and another looks
      await this.#batch(name, { isForecast, look });
    }
  }

  async #brakes(): Promise<void> {
    for (const [target, brake] of await this.#deps.brakes.all()) {
      const { code, message, hint, since } = brake;
      const at = new Date(since).toISOString();
      await this.#deps.notices.add(`braked ${target} ${code} ${since}`, {
        event: 'target.braked',
        at,
        about: { target, code, message, hint, since: at },
      });
    }
  }

  async #stalled(): Promise<void> {
    const { queues, notices, stalledMs = STALLED_MS } = this.#deps;
    const moved = new Map<string, Moved>();
    for (const name of await queues.names()) {
      for (const job of await queues.of(name).getActive()) {
        const { checkpoint } = job.data as JobData;
        const { stage, bytesSent: sent = 0 } = (job.progress ?? {}) as Partial<JobProgress>;
        if (stage !== 'transferring' || !checkpoint?.progressedAt || !job.id) continue;
        const before = this.#moved.get(job.id);
        const isFirst = before === undefined;
        const grownAt = isFirst ? checkpoint.progressedAt : Date.now();
        const seen = before?.sent === sent ? before : { sent, at: grownAt };
        moved.set(job.id, seen);
        const since = Math.max(checkpoint.progressedAt, seen.at);
        if (Date.now() - since < stalledMs) continue;
        const { files: _files, ...view } = viewOf(job, 'active');
        await notices.add(`stalled ${job.id} ${checkpoint.progressedAt}`, {
          event: 'transfer.stalled',
          at: new Date().toISOString(),
          about: { job: view, lastByteAt: new Date(since).toISOString() },
        });
      }
    }
    this.#moved = moved;
  }

  async #batch(
    name: string,
    { isForecast, look }: { isForecast: boolean; look: ReturnType<Overview['openLook']> },
  ): Promise<void> {
    const totals = await this.#batches.find(name);
    if (!totals || totals.endedAt !== null) return;
    const isWanted = isForecast && totals.deadline !== null;
    const state = await look(totals, isWanted ? this.#deps.limits() : undefined);
    await this.#tellLate(state);
    if (state.endedAt === null) return;
    if (name === '') {
      await this.#batches.end(totals, Date.parse(state.endedAt));
      return;
    }
    // Told before it is noted as ended: after a death in between it is told by another, once.
    await this.#deps.notices.add(`ended ${name} ${totals.rounds}`, {
      event: 'batch.ended',
      at: state.endedAt,
      about: { batch: state },
    });
    await this.#batches.end(totals, Date.parse(state.endedAt));
  }

  async #tellLate(state: BatchState): Promise<void> {
    if (state.lateCount === 0) return;
    await this.#deps.notices.add(`late ${state.name} ${state.deadline}`, {
      event: 'deadline.slipping',
      at: new Date().toISOString(),
      about: { batch: state },
    });
  }
}
