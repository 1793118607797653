import type { Redis } from 'ioredis';
import { scanSet } from '../../redis/scan.ts';
import { BATCHES_KEY, batchKeys, LEDGER_KEY, MEMBERSHIPS_KEY, targetOfJob } from '../names.ts';

/** A batch's own figures, kept as its jobs come and end. */
export interface BatchTotals {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** When jobs were put into it last. */
  readonly joinedAt: number;
  readonly deadline: number | null;
  /** Counts what has put open jobs into it: whatever was seen before that may be over. */
  readonly rounds: number;
  /** When its last open job ended; null while there is one. */
  readonly endedAt: number | null;
  /** What a look at its end has found; null while none has. */
  readonly over: string | null;
  readonly jobs: number;
  readonly bytes: number;
  readonly done: number;
  readonly doneBytes: number;
  readonly resentBytes: number;
  /** Bytes that are still to be sent to each target, those of failed uploads included. */
  readonly leftOn: ReadonlyMap<string, number>;
}

/** A job as its batch counts it. */
export interface Member {
  readonly id: string;
  readonly bytes: number;
}

/**
 * KEYS batches, open, done, totals, memberships, ledger; ARGV the batch, now, a deadline or '', then for
 * each job its id, its bytes, its target. Who is a member already stays as it is; who is done is counted
 * as done.
 */
const JOIN = `
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1]) end
redis.call('HSETNX', KEYS[4], 'createdAt', ARGV[2])
redis.call('HSET', KEYS[4], 'joinedAt', ARGV[2])
if ARGV[3] ~= '' and tonumber(ARGV[3]) > tonumber(redis.call('HGET', KEYS[4], 'deadline') or 0) then
  redis.call('HSET', KEYS[4], 'deadline', ARGV[3])
end
for i = 4, #ARGV, 3 do
  local id, bytes, target = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('SISMEMBER', KEYS[2], id) == 0 and redis.call('SISMEMBER', KEYS[3], id) == 0 then
    local receipt = redis.call('HGET', KEYS[6], id)
    redis.call('SADD', receipt and KEYS[3] or KEYS[2], id)
    redis.call('HINCRBY', KEYS[4], 'jobs', 1)
    if receipt then
      bytes = string.format('%.0f', cjson.decode(receipt).bytes)
      redis.call('HINCRBY', KEYS[4], 'done', 1)
      redis.call('HINCRBY', KEYS[4], 'doneBytes', bytes)
    else
      local known = redis.call('HGET', KEYS[5], id)
      local batches = known and cjson.decode(known) or {}
      batches[#batches + 1] = {ARGV[1], bytes}
      redis.call('HSET', KEYS[5], id, cjson.encode(batches))
      redis.call('HINCRBY', KEYS[4], 'left:' .. target, bytes)
      redis.call('HDEL', KEYS[4], 'endedAt')
      redis.call('HINCRBY', KEYS[4], 'rounds', 1)
    end
    redis.call('HINCRBY', KEYS[4], 'bytes', bytes)
  end
end
return 1`;

/**
 * KEYS memberships; ARGV the prefixes of open jobs and of totals, then for each job its id, its target,
 * and 1 with the batch that it leaves, or '' and '' for all.
 */
const LEAVE = `
for i = 3, #ARGV, 4 do
  local kept = {}
  for _, member in ipairs(cjson.decode(redis.call('HGET', KEYS[1], ARGV[i]) or '[]')) do
    local batch, bytes = member[1], member[2]
    if ARGV[i + 2] == '1' and ARGV[i + 3] ~= batch then
      kept[#kept + 1] = member
    elseif redis.call('SREM', ARGV[1] .. batch, ARGV[i]) == 1 then
      local less = string.format('%.0f', 0 - tonumber(bytes))
      redis.call('HINCRBY', ARGV[2] .. batch, 'jobs', -1)
      redis.call('HINCRBY', ARGV[2] .. batch, 'bytes', less)
      redis.call('HINCRBY', ARGV[2] .. batch, 'left:' .. ARGV[i + 1], less)
    end
  end
  if #kept == 0 then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], cjson.encode(kept)) end
end
return 1`;

/** KEYS totals; ARGV the rounds that were seen, a moment. */
const END = `
if (redis.call('HGET', KEYS[1], 'rounds') or '0') ~= ARGV[1] then return 0 end
return redis.call('HSETNX', KEYS[1], 'endedAt', ARGV[2])`;

type BatchRedis = Redis & {
  ferryEnd(totals: string, rounds: number, at: number): Promise<number>;
  ferryJoin(...args: (string | number)[]): Promise<number>;
  ferryLeave(...args: (string | number)[]): Promise<number>;
};

/**
 * Which jobs belong to which batches. Those that are done are counted; the others can be asked for. What
 * belongs to no batch is in one that is called ''.
 */
export class Batches {
  readonly #redis: BatchRedis;

  constructor(redis: Redis) {
    this.#redis = redis as BatchRedis;
    if ('ferryJoin' in redis) return;
    redis.defineCommand('ferryJoin', { numberOfKeys: 6, lua: JOIN });
    redis.defineCommand('ferryEnd', { numberOfKeys: 1, lua: END });
    redis.defineCommand('ferryLeave', { numberOfKeys: 1, lua: LEAVE });
  }

  /** To be called before the jobs are added, so that none is there without its batch. */
  async join(batch: string, members: readonly Member[], deadline: number | null): Promise<void> {
    if (members.length === 0) return;
    const { open, done, totals } = batchKeys(batch);
    const jobs = members.flatMap(({ id, bytes }) => [id, bytes, targetOfJob(id)]);
    await this.#redis.ferryJoin(
      ...[BATCHES_KEY, open, done, totals, MEMBERSHIPS_KEY, LEDGER_KEY],
      ...[batch, Date.now(), deadline ?? '', ...jobs],
    );
  }

  /** @param batch that they are no jobs of any more; by default all */
  async leave(ids: readonly string[], batch?: string): Promise<void> {
    if (ids.length === 0) return;
    const { open, totals } = batchKeys('');
    const which = batch === undefined ? ['', ''] : ['1', batch];
    const jobs = ids.flatMap((id) => [id, targetOfJob(id), ...which]);
    await this.#redis.ferryLeave(MEMBERSHIPS_KEY, open, totals, ...jobs);
  }

  /** Newest first. */
  async names(): Promise<string[]> {
    return this.#redis.zrevrange(BATCHES_KEY, 0, -1);
  }

  async find(name: string): Promise<BatchTotals | undefined> {
    const texts = await this.#redis.hgetall(batchKeys(name).totals);
    if (texts['createdAt'] === undefined) return undefined;
    const number = (field: string): number => Number(texts[field] ?? 0);
    const orNull = (field: string): number | null =>
      texts[field] === undefined ? null : number(field);
    return {
      name,
      createdAt: number('createdAt'),
      joinedAt: number('joinedAt'),
      deadline: orNull('deadline'),
      rounds: number('rounds'),
      endedAt: orNull('endedAt'),
      over: texts['over'] ?? null,
      jobs: number('jobs'),
      bytes: number('bytes'),
      done: number('done'),
      doneBytes: number('doneBytes'),
      resentBytes: number('resentBytes'),
      leftOn: new Map(
        Object.entries(texts).flatMap(([field, bytes]) =>
          field.startsWith('left:') && Number(bytes) > 0 ? [[field.slice(5), Number(bytes)]] : [],
        ),
      ),
    };
  }

  /** Jobs that are not done. */
  openIds(name: string): Promise<string[]> {
    return this.#redis.smembers(batchKeys(name).open);
  }

  doneIds(name: string): Promise<string[]> {
    return this.#redis.smembers(batchKeys(name).done);
  }

  /** Notes that its last open job has ended, unless others have come since it was looked at. */
  async end({ name, rounds }: Pick<BatchTotals, 'name' | 'rounds'>, at: number): Promise<void> {
    await this.#redis.ferryEnd(batchKeys(name).totals, rounds, at);
  }

  /** Remembers what took reading all its jobs. */
  async noteOver(name: string, over: string): Promise<void> {
    await this.#redis.hset(batchKeys(name).totals, 'over', over);
  }

  /** Forgets done jobs that nothing else knows any more. */
  async forgetDone(
    name: string,
    isKnown: (id: string) => Promise<boolean>,
    isStopped: () => boolean,
  ): Promise<void> {
    const { done } = batchKeys(name);
    for await (const ids of scanSet(this.#redis, done)) {
      for (const id of ids) if (!(await isKnown(id))) await this.#redis.srem(done, id);
      if (isStopped()) return;
    }
  }

  /**
   * Forgets a batch of which no job is open, and that none has joined since then.
   *
   * @param before milliseconds since the epoch
   */
  async forget(name: string, before: number): Promise<void> {
    const totals = await this.find(name);
    const { open, done, totals: key } = batchKeys(name);
    const at = Math.max(totals?.joinedAt ?? 0, totals?.endedAt ?? 0);
    if (at >= before || (await this.#redis.scard(open)) > 0) return;
    await this.#redis.zrem(BATCHES_KEY, name);
    await this.#redis.del(key, done);
  }

  /** A job is put back: what it belongs to is begun again. */
  async reopen(id: string): Promise<void> {
    const known = await this.#redis.hget(MEMBERSHIPS_KEY, id);
    const batches = known === null ? [] : (JSON.parse(known) as [name: string, bytes: string][]);
    for (const [name] of batches) {
      const { totals } = batchKeys(name);
      await this.#redis.hincrby(totals, 'rounds', 1);
      await this.#redis.hdel(totals, 'endedAt');
    }
  }
}
