import { Redis } from 'ioredis';
import { FerryError } from '../errors.ts';

/** Where Redis is: a unix socket, or a `redis://` or `rediss://` address (which may hold a password). */
export type RedisAddress = { readonly socket: string } | { readonly url: string };

/** How an address may be shown: without user and password. */
export function describeAddress(address: RedisAddress): string {
  if ('socket' in address) return address.socket;
  if (!URL.canParse(address.url)) return 'the configured address';
  const { protocol, host, pathname } = new URL(address.url);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Short pauses: a worker that waits long for its next attempt loses its leases meanwhile. */
const reconnectAfterMs = (times: number): number => Math.min(200 * times, 2_000);

/** Queues commands while Redis is away, as long as it takes: for fetching jobs. */
export function connectPatiently(address: RedisAddress, name: string): Redis {
  return open(address, name, { maxRetriesPerRequest: null });
}

/** Fails at once when Redis is away, so that silence is noticed: for leases and for commands. */
export function connectPromptly(address: RedisAddress, name: string): Redis {
  return open(address, name, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    commandTimeout: 5_000,
  });
}

function open(
  address: RedisAddress,
  name: string,
  options: {
    maxRetriesPerRequest: number | null;
    enableOfflineQueue?: boolean;
    commandTimeout?: number;
  },
): Redis {
  const common = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 30_000,
    retryStrategy: reconnectAfterMs,
    connectionName: name,
    ...options,
  };
  const redis =
    'socket' in address ? new Redis(address.socket, common) : new Redis(address.url, common);
  redis.on('error', () => undefined); // what fails says so where it is called
  return redis;
}

/**
 * Waits until a new connection can be used.
 *
 * @throws FerryError REDIS_UNAVAILABLE within about three seconds
 */
export async function untilReady(redis: Redis, address: RedisAddress): Promise<void> {
  if (redis.status === 'ready') return;
  let last: Error | undefined;
  const note = (error: Error): void => {
    last = error;
  };
  redis.on('error', note);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(reject, 3_000);
      redis.once('ready', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  } catch {
    redis.disconnect();
    throw new FerryError(
      'REDIS_UNAVAILABLE',
      `Redis at ${describeAddress(address)} can't be reached${last ? `: ${last.message}` : ''}`,
      { cause: last },
    );
  } finally {
    redis.off('error', note);
  }
}
