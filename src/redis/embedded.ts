import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { lock } from 'proper-lockfile';
import { FerryError } from '../errors.ts';
import { connectPromptly, type RedisAddress } from './connect.ts';

/** Where the private server of a data folder lives. */
interface EmbeddedPlaces {
  readonly folder: string;
  readonly socket: string;
}

/** Longer paths do not fit into the address of a unix socket. */
const MAX_SOCKET_PATH = 100;
const START_TIMEOUT_MS = 30_000;
/** The name by which the keeper's own connection is told from those of users. */
export const KEEPER_NAME = 'ovaferry-keeper';

function embeddedPlaces(dataDir: string): EmbeddedPlaces {
  const folder = join(dataDir, 'redis');
  const socket = join(folder, 'redis.sock');
  if (Buffer.byteLength(socket) <= MAX_SOCKET_PATH) return { folder, socket };
  const { uid } = userInfo();
  const short = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return { folder, socket: join('/tmp', `ovaferry-${uid}-${short}`, 'redis.sock') };
}

/**
 * Makes sure that the private server runs, and holds a connection until the caller has one of its
 * own: the keeper stops a server that nobody is connected to. Start and stop happen under one lock.
 *
 * @throws FerryError REDIS_UNAVAILABLE if there is no server to start, or it does not start
 */
export async function startEmbedded(
  dataDir: string,
): Promise<{ address: RedisAddress; release: () => void }> {
  const places = embeddedPlaces(dataDir);
  for (const folder of [places.folder, join(places.socket, '..')]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  const unlock = await lockEmbedded(places.folder);
  try {
    const held = (await tryConnect(places)) ?? (await start(places));
    return { address: { socket: places.socket }, release: () => held.disconnect() };
  } finally {
    await unlock();
  }
}

/** One process at a time starts or stops the server of a folder. */
export function lockEmbedded(folder: string): Promise<() => Promise<void>> {
  return lock(folder, {
    lockfilePath: join(folder, 'lock'),
    stale: 10_000,
    retries: { retries: 400, minTimeout: 20, maxTimeout: 100 },
  });
}

type Connection = ReturnType<typeof connectPromptly>;

/** A connection to a server that answers and is kept, if there is one. */
async function tryConnect(places: EmbeddedPlaces): Promise<Connection | undefined> {
  if (!existsSync(places.socket)) return undefined;
  const redis = connectPromptly({ socket: places.socket }, 'ovaferry');
  try {
    await new Promise<void>((resolve, reject) => {
      redis.once('ready', resolve);
      redis.once('error', reject);
      setTimeout(reject, 2_000).unref();
    });
    // Its keeper may have been killed: then it gets a new one.
    const clients = String(await redis.client('LIST'));
    if (!clients.includes(`name=${KEEPER_NAME}`)) spawnKeeper(places);
    return redis;
  } catch {
    redis.disconnect();
    return undefined;
  }
}

async function start(places: EmbeddedPlaces): Promise<Connection> {
  findServer(); // says how to get one before anything is started
  spawnKeeper(places);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    await sleep(30);
    const redis = await tryConnect(places);
    if (redis) return redis;
  }
  throw new FerryError('REDIS_UNAVAILABLE', `the private Redis in ${places.folder} did not start`, {
    hint: `See ${join(places.folder, 'redis.log')}.`,
  });
}

function spawnKeeper({ folder, socket }: EmbeddedPlaces): void {
  const keeper = fileURLToPath(new URL('./keeper.js', import.meta.url));
  const child = spawn(process.execPath, [keeper, folder, socket], {
    detached: true,
    stdio: 'ignore',
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '' }, // it outlives us and needs none of our secrets
  });
  child.unref();
}

/** @throws FerryError REDIS_UNAVAILABLE saying how to get a server */
export function findServer(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const name of ['redis-server', 'valkey-server']) {
    for (const folder of folders) {
      const path = join(folder, name);
      if (isExecutable(path)) return path;
    }
  }
  throw new FerryError('REDIS_UNAVAILABLE', 'neither redis-server nor valkey-server is on PATH', {
    hint: 'Install one (apt install redis-server, dnf install valkey, brew install redis), or name a Redis with `redis:`.',
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
