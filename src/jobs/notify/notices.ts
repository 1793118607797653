import { createHash } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { PREFIX } from '../names.ts';

type EventName = 'batch.ended' | 'target.braked' | 'transfer.stalled' | 'deadline.slipping';

/** Something that an operator wants to be told of. */
export interface Notice {
  readonly event: EventName;
  /** ISO 8601. */
  readonly at: string;
  /** What it is about; no secrets. */
  readonly about: Readonly<Record<string, unknown>>;
}

/** Who wants to be told of what. */
interface Subscriber {
  readonly name: string;
  readonly events: readonly string[];
}

interface Delivery {
  readonly hook: string;
  readonly notice: Notice;
}

export interface NoticesOptions {
  /** Waits for Redis as long as it takes. */
  readonly redis: Redis;
  readonly subscribers: readonly Subscriber[];
  /** Throws for what has to be tried again. `id` is the same each time. */
  readonly deliver: (hook: string, id: string, notice: Notice) => Promise<void>;
  /** The first time; it is tried again. */
  readonly onRefused: (hook: string, error: Error) => void;
  readonly onGivenUp: (hook: string, error: Error) => void;
}

const NAME = 'notices';
/** Over about a day. */
const TRIES = 150;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 10 * 60_000;
/** What was told is remembered so long, so that it is not told twice. Seconds. */
const REMEMBERED_S = 90 * 86_400;

/** Notices on their way: told once each, by whichever worker can, however often that takes. */
export class Notices {
  readonly #options: NoticesOptions;
  readonly #queue: Queue<Delivery>;
  readonly #worker: Worker<Delivery>;

  constructor(options: NoticesOptions) {
    this.#options = options;
    const shared = { connection: options.redis, prefix: PREFIX };
    this.#queue = new Queue(NAME, shared);
    this.#worker = new Worker<Delivery>(
      NAME,
      ({ id = '', data: { hook, notice } }) => options.deliver(hook, id, notice),
      {
        ...shared,
        concurrency: 4,
        settings: {
          backoffStrategy: (tries) => Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS),
        },
      },
    );
    this.#queue.on('error', () => undefined); // it goes on by itself
    this.#worker.on('error', () => undefined);
    this.#worker.on('failed', (job, error) => {
      if (!job) return;
      if (job.attemptsMade >= TRIES) options.onGivenUp(job.data.hook, error);
      else if (job.attemptsMade === 1) options.onRefused(job.data.hook, error);
    });
  }

  /** @param key the same for what is the same event: it is told once */
  async add(key: string, notice: Notice): Promise<void> {
    const wanted = this.#options.subscribers.filter(({ events }) => events.includes(notice.event));
    for (const { name } of wanted) {
      const id = createHash('sha256')
        .update(JSON.stringify([key, name]))
        .digest('base64url');
      await this.#queue.add(
        notice.event,
        { hook: name, notice },
        {
          jobId: `n${id}`,
          attempts: TRIES,
          backoff: { type: 'custom' },
          removeOnComplete: { age: REMEMBERED_S },
          removeOnFail: { age: REMEMBERED_S },
        },
      );
    }
  }

  async close(): Promise<void> {
    await this.#worker.close(true);
    await this.#queue.close();
  }
}
