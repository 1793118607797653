import { Cluster, Redis } from 'ioredis';
import { FerryError } from '../errors.ts';

/**
 * Where Redis is: a unix socket, or an address, which may hold a password:
 *
 *     redis://[user:password@]host[:port][/db]                  one server; rediss:// for TLS
 *     redis-sentinel://[user:password@]host[:port],…/NAME[/db]  the master NAME of these sentinels
 *     redis-cluster://[user:password@]host[:port],…             a cluster, of which these are nodes
 *     unix://[user:password@]/path/of/the/socket                one server of this machine
 *
 * Sentinels and clusters with TLS as rediss-sentinel:// and rediss-cluster://.
 */
export type RedisAddress = { readonly socket: string } | { readonly url: string };

const ADDRESS =
  /^(rediss?)(-sentinel|-cluster)?:\/\/(?:([^@/]*)@)?([^/?#@]+)(?:\/([^/?#]*))?(?:\/(\d+))?$/;

interface Nodes {
  readonly kind: 'one' | 'sentinel' | 'cluster';
  readonly isTls: boolean;
  readonly login: { readonly username?: string; readonly password?: string };
  /** Of a server of this machine: then there are no hosts. */
  readonly path?: string;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Of the master, for sentinels. */
  readonly name: string;
  readonly db: number;
}

/** Undefined for what is no address. */
function parseAddress(url: string): Nodes | undefined {
  try {
    return readAddress(url);
  } catch {
    return undefined; // a percent sign that begins nothing
  }
}

const SOCKET = /^unix:\/\/(?:([^@/]*)@)?(\/.+)$/;

const HOST = /^(\[[^\]]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/;

function readAddress(url: string): Nodes | undefined {
  const [, socketLogin = '', path] = SOCKET.exec(url) ?? [];
  if (path !== undefined) {
    return {
      kind: 'one',
      isTls: false,
      login: parseLogin(socketLogin),
      path,
      hosts: [],
      name: '',
      db: 0,
    };
  }
  const [, scheme, type = '', login = '', hosts = '', first = '', second = ''] =
    ADDRESS.exec(url) ?? [];
  if (scheme === undefined) return undefined;
  const kind = type === '-sentinel' ? 'sentinel' : type === '-cluster' ? 'cluster' : 'one';
  const db = kind === 'sentinel' ? second : first;
  const isComplete = kind === 'sentinel' ? first !== '' : kind === 'one' || first === '';
  if (!isComplete || !/^\d*$/.test(db) || (kind === 'one' && hosts.includes(','))) return undefined;
  if (kind !== 'sentinel' && second !== '') return undefined;
  const named = hosts.split(',').map((text) => HOST.exec(text));
  if (!named.every((match) => match && Number(match[2] ?? 1) <= 65_535)) return undefined;
  const port = kind === 'sentinel' ? 26_379 : 6_379;
  return {
    kind,
    isTls: scheme === 'rediss',
    login: parseLogin(login),
    hosts: named.map((match) => {
      const [, host = '', own] = match ?? [];
      return { host: host.replace(/^\[|\]$/g, ''), port: own === undefined ? port : Number(own) };
    }),
    name: first,
    db: Number(db),
  };
}

/** @param login `user:password`, percent-encoded; either may be missing */
function parseLogin(login: string): Nodes['login'] {
  const [user = '', ...rest] = login.split(':');
  const password = rest.length === 0 ? undefined : decodeURIComponent(rest.join(':'));
  return {
    ...(user === '' ? {} : { username: decodeURIComponent(user) }),
    ...(password === undefined ? {} : { password }),
  };
}

/** @returns whether an address can be used */
export function isRedisAddress(url: string): boolean {
  return parseAddress(url) !== undefined;
}

/** How an address may be shown: without user and password. */
export function describeAddress(address: RedisAddress): string {
  if ('socket' in address) return address.socket;
  if (!isRedisAddress(address.url)) return 'the configured address';
  return address.url.replace(/\/\/[^@/]*@/, '//');
}

const CONNECT_TIMEOUT_MS = 10_000;
/** One of several sentinels is given less: the next one may know. */
const SENTINEL_TIMEOUT_MS = 2_000;
/**
 * A connection whose server owes an answer for so long is made anew: the kernel alone would wait for a
 * host that vanished for a quarter of an hour, and nobody would ask the sentinels or the cluster.
 */
const SILENCE_MS = 8_000;

/** Short pauses: a worker that waits long for its next attempt loses its leases meanwhile. */
const reconnectAfterMs = (times: number): number => Math.min(200 * times, 2_000);

/** Queues commands while Redis is away, as long as it takes: for fetching jobs. */
export function connectPatiently(address: RedisAddress, name: string): Redis {
  return open(address, name, { maxRetriesPerRequest: null });
}

/** As a patient one that was opened before, for commands that wait inside Redis for something to come. */
export function connectForBlocking(patient: Redis): Redis {
  const socketTimeout = SILENCE_MS + LONGEST_BLOCK_MS;
  const { isCluster } = patient;
  const redis = isCluster
    ? duplicateOf(patient as never, socketTimeout)
    : patient.duplicate({ socketTimeout });
  redis.on('error', () => undefined);
  return redis;
}

function duplicateOf(cluster: Cluster, socketTimeout: number): Redis {
  const { redisOptions } = cluster.options;
  const options = { redisOptions: { ...redisOptions, socketTimeout } };
  return cluster.duplicate([], options as never) as unknown as Redis;
}

/** BullMQ's. */
const LONGEST_BLOCK_MS = 10_000;

/**
 * As a patient one, for messages: who only listens owes Redis nothing and is owed nothing, so that a
 * server that has vanished is never missed. So it is asked for a sign of life.
 */
export function connectForMessages(address: RedisAddress, name: string): Redis {
  const redis = connectPatiently(address, name);
  const asking = setInterval(() => {
    if (redis.status === 'ready') redis.ping().catch(() => undefined);
  }, SILENCE_MS / 2);
  asking.unref();
  redis.once('end', () => clearInterval(asking));
  return redis;
}

/** Fails at once when Redis is away, so that silence is noticed: for leases and for commands. */
export function connectPromptly(address: RedisAddress, name: string): Redis {
  return open(address, name, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    commandTimeout: 5_000,
  });
}

interface Style {
  readonly maxRetriesPerRequest: number | null;
  readonly enableOfflineQueue?: boolean;
  readonly commandTimeout?: number;
}

function open(address: RedisAddress, name: string, style: Style): Redis {
  const redis =
    'socket' in address
      ? new Redis(address.socket, optionsOf(name, style))
      : openNodes(address.url, name, style);
  redis.on('error', () => undefined); // what fails says so where it is called
  return redis;
}

function optionsOf(name: string, style: Style) {
  return {
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_MS,
    keepAlive: 30_000,
    retryStrategy: reconnectAfterMs,
    // A master that was replaced answers as a replica: then whoever has its address now is asked. Who is
    // patient has the command sent again; the others are told, and ask again by themselves.
    reconnectOnError: ({ message }: Error): 1 | 2 | false =>
      message.startsWith('READONLY') && (style.maxRetriesPerRequest === null ? 2 : 1),
    connectionName: name,
    ...style,
  };
}

/** @throws FerryError CONFIG_INVALID */
function openNodes(url: string, connectionName: string, style: Style): Redis {
  const nodes = parseAddress(url);
  if (!nodes) throw new FerryError('CONFIG_INVALID', '`redis` is no address of a Redis');
  const { kind, isTls, login, path, hosts, name, db } = nodes;
  const secured = { ...login, ...(isTls ? { tls: {} } : {}) };
  const options = { ...optionsOf(connectionName, style), ...secured };
  if (path !== undefined) return new Redis({ ...options, path });
  if (kind === 'one') return new Redis({ ...options, ...hosts[0], db });
  if (kind === 'sentinel') {
    return new Redis({
      ...options,
      sentinels: [...hosts],
      name,
      db,
      connectTimeout: SENTINEL_TIMEOUT_MS,
      sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      sentinelRetryStrategy: reconnectAfterMs,
      enableTLSForSentinelMode: isTls,
    });
  }
  const { retryStrategy: _ofNodes, enableOfflineQueue = true, ...redisOptions } = options;
  const cluster = new Cluster([...hosts], {
    redisOptions,
    enableOfflineQueue,
    clusterRetryStrategy: reconnectAfterMs,
    // Certificates are for names.
    ...(isTls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
  });
  // All keys are in one slot, so that it takes every command that a single server takes.
  return cluster as unknown as Redis;
}

const READY_MS = 3_000;

function sentinelsOf(address: RedisAddress): number {
  const nodes = 'url' in address ? parseAddress(address.url) : undefined;
  return nodes?.kind === 'sentinel' ? nodes.hosts.length : 1;
}

/**
 * Waits until a new connection can be used.
 *
 * @throws FerryError REDIS_UNAVAILABLE within about three seconds, and two more for each further sentinel
 */
export async function untilReady(redis: Redis, address: RedisAddress): Promise<void> {
  if (redis.status === 'ready') return;
  const waitMs = READY_MS + SENTINEL_TIMEOUT_MS * (sentinelsOf(address) - 1);
  let last: Error | undefined;
  const note = (error: Error): void => {
    last = error;
  };
  redis.on('error', note);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(reject, waitMs);
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
