import type { Redis } from 'ioredis';
import { type Clock, LOCAL_CLOCK } from '../../redis/clock.ts';
import { laneKey, lanesKey, laterKey } from '../names.ts';

/** Puts a job into its batch's lane. A lane that is new has been served as little as the least served one. */
const JOIN = `
local function join(lanes, prefix, isFirst, batch, id, priority)
  if not redis.call('ZSCORE', lanes, batch) then
    local least = redis.call('ZRANGE', lanes, 0, 0, 'WITHSCORES')
    redis.call('ZADD', lanes, least[2] or 0, batch)
  end
  local turn = isFirst and 0 or redis.call('INCR', lanes .. ':turn')
  redis.call('ZADD', prefix .. batch, 'NX', priority * 4294967296 + turn % 4294967296, id)
end`;

/**
 * KEYS the queue's lanes, those that come later; ARGV the prefix of a lane's key, a moment or '', 'first'
 * or '', then for each job its batch, its id, its priority.
 */
const LINE_UP = `${JOIN}
for i = 4, #ARGV, 3 do
  local batch, id, priority = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[2], ARGV[2], cjson.encode({batch, id, priority}))
  else
    join(KEYS[1], ARGV[1], ARGV[3] == 'first', batch, id, priority)
  end
end
return 1`;

/**
 * KEYS the queue's lanes, those that come later, BullMQ's waiting jobs by priority and without one; ARGV
 * the prefix of a lane's key, that of a job's, now. Returns the job whose turn it is; nothing where
 * BullMQ's own order will do: what has begun goes first (it has no priority), then what stands in no
 * lane or was put back, and jobs of the highest priority before all others.
 *
 * Knows that BullMQ 6.7 orders by priority * 2^32 + counter; a test fails when it does not any more.
 */
const PICK = `${JOIN}
for _, text in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[3], 'LIMIT', 0, 500)) do
  local batch, id, priority = unpack(cjson.decode(text))
  redis.call('ZREM', KEYS[2], text)
  join(KEYS[1], ARGV[1], false, batch, id, priority)
end
if redis.call('LLEN', KEYS[4]) > 0 then return '' end
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if not first[1] then return '' end
local priority = math.floor(first[2] / 4294967296)
local picked = ''
local isInLane = false
for _, batch in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local lane = ARGV[1] .. batch
  if redis.call('ZSCORE', lane, first[1]) then isInLane = true end
  if picked == '' then
    for _, id in ipairs(redis.call('ZRANGE', lane, 0, 199)) do
      local score = redis.call('ZSCORE', KEYS[3], id)
      if score then
        if math.floor(score / 4294967296) == priority then picked = id end
        break
      elseif redis.call('EXISTS', ARGV[2] .. id) == 0
        or redis.call('HEXISTS', ARGV[2] .. id, 'finishedOn') == 1 then
        redis.call('ZREM', lane, id)
      end
    end
    if redis.call('EXISTS', lane) == 0 then redis.call('ZREM', KEYS[1], batch) end
  end
end
if not isInLane then return '' end
return picked`;

type LaneRedis = Redis & {
  ferryLineUp(...args: (string | number)[]): Promise<number>;
  ferryPick(...args: (string | number)[]): Promise<string>;
};

/** A job that waits for its turn. */
export interface Waiting {
  readonly id: string;
  readonly batch: string | null;
  readonly priority: number;
}

/**
 * Lets the batches of a target take turns, by the bytes that each was given: one of ten thousand uploads
 * does not keep one of three waiting until it is through. What belongs to no batch is one of its own.
 */
export class Lanes {
  readonly #redis: LaneRedis;
  readonly #clock: Clock;

  constructor(redis: Redis, clock: Clock = LOCAL_CLOCK) {
    this.#clock = clock;
    this.#redis = redis as LaneRedis;
    if ('ferryPick' in redis) return;
    redis.defineCommand('ferryLineUp', { numberOfKeys: 2, lua: LINE_UP });
    redis.defineCommand('ferryPick', { numberOfKeys: 4, lua: PICK });
  }

  /**
   * @param at when they are due, milliseconds since the epoch; 'first' for what had its turn and begins
   *   after all not
   */
  async lineUp(
    queue: string,
    jobs: readonly Waiting[],
    at: number | 'first' | undefined = undefined,
  ): Promise<void> {
    if (jobs.length === 0) return;
    const args = jobs.flatMap(({ id, batch, priority }) => [batch ?? '', id, priority]);
    const [moment, place] = at === 'first' ? ['', at] : [at ?? '', ''];
    const keys = [lanesKey(queue), laterKey(queue)];
    await this.#redis.ferryLineUp(...keys, laneKey(queue, ''), moment, place, ...args);
  }

  /**
   * @param toKey BullMQ's name for a key of the queue
   * @returns the job whose turn it is; undefined for BullMQ's own order
   */
  async next(queue: string, toKey: (type: string) => string): Promise<string | undefined> {
    const keys = [lanesKey(queue), laterKey(queue), toKey('prioritized'), toKey('wait')];
    const id = await this.#redis.ferryPick(
      ...keys,
      laneKey(queue, ''),
      toKey(''),
      this.#clock.now(),
    );
    return id === '' ? undefined : id;
  }

  /** A job has begun: its batch was given so many bytes. */
  async served(
    queue: string,
    { id, batch }: Omit<Waiting, 'priority'>,
    bytes: number,
  ): Promise<void> {
    await this.leave(queue, { id, batch });
    // Even an empty file is a turn.
    await this.#redis.zadd(lanesKey(queue), 'XX', 'INCR', bytes + 1, batch ?? '');
  }

  /** A job that had begun begins later after all: its batch has its bytes and its turn again. */
  async unserved(queue: string, job: Waiting, bytes: number): Promise<void> {
    await this.lineUp(queue, [job], 'first');
    await this.#redis.zadd(lanesKey(queue), 'XX', 'INCR', -(bytes + 1), job.batch ?? '');
  }

  /** It waits for no turn any more. */
  async leave(queue: string, { id, batch }: Omit<Waiting, 'priority'>): Promise<void> {
    await this.#redis.zrem(laneKey(queue, batch ?? ''), id);
  }
}
