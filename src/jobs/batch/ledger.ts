import type { Redis } from 'ioredis';
import { z } from 'zod';
import { scanHash } from '../../redis/scan.ts';
import { batchKeys, LEDGER_KEY, MEMBERSHIPS_KEY } from '../names.ts';
import { ReceiptFilesSchema } from '../receipt-files.ts';

const ReceiptSchema = z.object({
  v: z.literal(1),
  id: z.string(),
  operation: z.enum(['upload', 'download']).default('upload'),
  kind: z.enum(['ovf', 'media']).nullable(),
  source: z.string(),
  target: z.string(),
  catalog: z.string(),
  name: z.string(),
  batch: z.string().nullable(),
  catalogItem: z.string(),
  entity: z.string(),
  task: z.string().nullable(),
  /** What this upload's requests were called, a name for each run, newest last. */
  requestIds: z.array(z.string()).readonly(),
  files: ReceiptFilesSchema,
  bytes: z.number(),
  bytesSent: z.number(),
  bytesResent: z.number(),
  attempts: z.number(),
  /** Milliseconds since the epoch. */
  enqueuedAt: z.number(),
  startedAt: z.number(),
  finishedAt: z.number(),
  deadline: z.number().nullable().default(null),
  /** ISO 8601. */
  removedAt: z.string().nullable(),
  /** What a download has made. */
  path: z.string().nullable().default(null),
  warnings: z.array(z.string()).readonly(),
});
/** What is known for good of an upload that succeeded. */
export type Receipt = z.output<typeof ReceiptSchema>;

/**
 * KEYS the ledger, memberships; ARGV the prefixes of open jobs, of done ones and of totals, then the job,
 * its receipt, its bytes, bytes sent again, its target. Storing the same receipt again counts once.
 */
const RECORD = `
local id, receipt, bytes, resent, target = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
redis.call('HSET', KEYS[1], id, receipt)
for _, member in ipairs(cjson.decode(redis.call('HGET', KEYS[2], id) or '[]')) do
  local batch, expected = member[1], tonumber(member[2])
  local totals = ARGV[3] .. batch
  if redis.call('SMOVE', ARGV[1] .. batch, ARGV[2] .. batch, id) == 1 then
    redis.call('HINCRBY', totals, 'done', 1)
    redis.call('HINCRBY', totals, 'doneBytes', bytes)
    redis.call('HINCRBY', totals, 'resentBytes', resent)
    -- What was expected was only as good as it could be told from outside.
    redis.call('HINCRBY', totals, 'bytes', string.format('%.0f', tonumber(bytes) - expected))
    redis.call('HINCRBY', totals, 'left:' .. target, string.format('%.0f', 0 - expected))
  end
end
redis.call('HDEL', KEYS[2], id)
return 1`;

/** Of one that can't be read: now, so that it stays. */
function finishedAt(text: string): number {
  const parsed = ReceiptSchema.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data.finishedAt : Date.now();
}

type LedgerRedis = Redis & {
  ferryRecord(...args: (string | number)[]): Promise<number>;
};

/**
 * What has arrived, for ever: BullMQ forgets completed jobs after a while, and what was uploaded must
 * not be uploaded again because of that.
 */
export class Ledger {
  readonly #redis: LedgerRedis;

  constructor(redis: Redis) {
    this.#redis = redis as LedgerRedis;
    if (!('ferryRecord' in redis)) {
      redis.defineCommand('ferryRecord', { numberOfKeys: 2, lua: RECORD });
    }
  }

  /** To be called before the job is told to be completed: after a death in between it is done again. */
  async record(receipt: Receipt): Promise<void> {
    const { id, bytes, bytesResent, target } = receipt;
    const { open, done, totals } = batchKeys('');
    await this.#redis.ferryRecord(
      ...[LEDGER_KEY, MEMBERSHIPS_KEY, open, done, totals],
      ...[id, JSON.stringify(receipt), bytes, bytesResent, target],
    );
  }

  /** Changes what is known of one that has arrived. */
  async amend(id: string, patch: Pick<Receipt, 'removedAt'>): Promise<void> {
    const receipt = await this.find(id);
    if (!receipt) return;
    await this.#redis.hset(LEDGER_KEY, id, JSON.stringify({ ...receipt, ...patch }));
  }

  /**
   * Forgets receipts of what was finished before then, in portions.
   *
   * @param before milliseconds since the epoch
   */
  async forget(before: number, isStopped: () => boolean): Promise<void> {
    for await (const receipts of scanHash(this.#redis, LEDGER_KEY)) {
      const old = receipts.filter(([, text]) => finishedAt(text) < before).map(([id]) => id);
      if (old.length > 0) await this.#redis.hdel(LEDGER_KEY, ...old);
      if (isStopped()) return;
    }
  }

  async find(id: string): Promise<Receipt | undefined> {
    return (await this.findMany([id]))[0];
  }

  /** In the order of the ids. */
  async findMany(ids: readonly string[]): Promise<(Receipt | undefined)[]> {
    if (ids.length === 0) return [];
    const texts = await this.#redis.hmget(LEDGER_KEY, ...ids);
    return texts.map((text) => {
      if (text === null) return undefined;
      const parsed = ReceiptSchema.safeParse(JSON.parse(text));
      return parsed.success ? parsed.data : undefined;
    });
  }
}
