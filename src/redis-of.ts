import type { Redis } from 'ioredis';
import type { Config } from './config/load.ts';
import { classify, FerryError } from './errors.ts';
import { asked } from './redis/asked.ts';
import { assertSuitable, inspectRedis } from './redis/checks.ts';
import { connectPromptly, isRedisAddress, type RedisAddress, untilReady } from './redis/connect.ts';
import { embeddedPlaces, startEmbedded } from './redis/embedded.ts';
import { whyStopped } from './redis/why-stopped.ts';

/** The configured Redis, or the private one. `release` when a connection of one's own is open. */
export async function redisOf(
  config: Config,
): Promise<{ address: RedisAddress; release: () => void }> {
  const url = config.redisUrl();
  if (url === undefined) return startEmbedded(config.dataDir);
  if (!isRedisAddress(url)) {
    throw new FerryError(
      'CONFIG_INVALID',
      '`redis` is not an address like redis://[user:password@]host[:port][/db]',
      {
        hint: 'Also rediss://, redis-sentinel://HOST,…/NAME, redis-cluster://HOST,…, unix:///PATH; in a password @ is written %40, % is %25; nothing may follow a ?.',
      },
    );
  }
  return { address: { url }, release: () => undefined };
}

/** How ioredis says that nobody is at the other end. */
const GONE = /max retries per request|Connection is closed|ECONN|ENOENT|EPIPE/;

/** As `asked`; of the private server it is said why it stopped. */
export function askedOf(config: Config): typeof asked {
  if (config.redisUrl() !== undefined) return asked;
  return (question) =>
    asked(question).catch((error: unknown) => {
      const { code, message } = classify(error);
      const isGone = code === 'REDIS_UNAVAILABLE' && GONE.test(message);
      throw (isGone && whyStopped(embeddedPlaces(config.dataDir).folder, error)) || error;
    });
}

/** What is enqueued must not be thrown away. @throws FerryError REDIS_UNSUITABLE */
async function assertKeeps(redis: Redis): Promise<void> {
  const facts = await inspectRedis(redis).catch(() => undefined); // a user may not be let ask
  if (!facts) return;
  try {
    assertSuitable(facts);
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}

/** A connection that fails fast, once it is there. @throws FerryError REDIS_UNAVAILABLE, REDIS_UNSUITABLE */
export async function connectTo(config: Config, name: string): Promise<Redis> {
  const { address, release } = await redisOf(config);
  try {
    const redis = connectPromptly(address, name);
    await untilReady(redis, address);
    if (config.redisUrl() !== undefined) await assertKeeps(redis);
    return redis;
  } finally {
    release();
  }
}
