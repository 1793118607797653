import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { check, type LockOptions, lock } from 'proper-lockfile';
import { FerryError } from '../errors.ts';
import { connectPromptly, type RedisAddress } from './connect.ts';
import { whyStopped } from './why-stopped.ts';

/** Where the private server of a data folder lives. */
interface EmbeddedPlaces {
  readonly folder: string;
  readonly socket: string;
}

/** Longer paths do not fit into the address of a unix socket. */
const MAX_SOCKET_PATH = 100;
const START_TIMEOUT_MS = 30_000;
/** A keeper that lives is connected by then. */
const KEEPER_CONNECTS_MS = 3_000;
/** The name by which the keeper's own connection is told from those of users. */
export const KEEPER_NAME = 'ovaferry-keeper';

export function embeddedPlaces(dataDir: string): EmbeddedPlaces {
  const folder = join(dataDir, 'redis');
  const socket = join(folder, 'redis.sock');
  if (Buffer.byteLength(socket) <= MAX_SOCKET_PATH) return { folder, socket };
  const { uid } = userInfo();
  const short = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return { folder, socket: join('/tmp', `ovaferry-${uid}-${short}`, 'redis.sock') };
}

/**
 * Makes sure that the private server runs, and holds a connection until the caller has one of its
 * own: the keeper stops a server that nobody is connected to. Commands come and the server goes under
 * one lock.
 *
 * @throws FerryError REDIS_UNAVAILABLE if there is no server to start, or it does not start
 */
export async function startEmbedded(
  dataDir: string,
): Promise<{ address: RedisAddress; release: () => void }> {
  const places = embeddedPlaces(dataDir);
  try {
    for (const folder of [places.folder, dirname(places.socket)]) makeFolder(folder);
  } catch (error) {
    throw new FerryError(
      'REDIS_UNAVAILABLE',
      `the data folder ${places.folder} can't be used: ${(error as Error).message}`,
      {
        cause: error,
        hint: 'Name another one with `dataDir`, or a Redis with `redis`.',
      },
    );
  }
  const unlock = await lockUsers(places.folder);
  try {
    const held = await connectOrStart(places);
    return { address: { socket: places.socket }, release: () => held.disconnect() };
  } finally {
    await unlock();
  }
}

/**
 * Makes a folder of ours alone. Who could have made it before us, on a machine of many, is not trusted.
 */
function makeFolder(folder: string): void {
  let existing = folder;
  while (!existsSync(existing)) existing = dirname(existing);
  // Asked first: making folders below one that refuses them can go on for ever.
  if (existing !== folder) {
    accessSync(existing, constants.W_OK);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  const { uid, mode } = lstatSync(folder);
  const own = userInfo().uid;
  if (own >= 0 && (uid !== own || (mode & 0o077) !== 0)) {
    throw new Error(`${folder} belongs to, or is open to, somebody else`);
  }
}

/**
 * Held while a command connects, and while the keeper looks whether anybody is connected.
 *
 * Of two locks on one file proper-lockfile renews one alone, and fails in a timer when that is given back: so
 * each has a name of its own, which no file has.
 */
export function lockUsers(
  folder: string,
  retries: LockOptions['retries'] = { retries: 400, minTimeout: 20, maxTimeout: 100 },
): Promise<() => Promise<void>> {
  return lock(join(folder, 'users'), {
    realpath: false,
    lockfilePath: join(folder, 'users.lock'),
    stale: 10_000,
    retries,
    // After a freeze of this process another one may have it: nothing that would have to end for it.
    onCompromised: () => undefined,
  });
}

/** Held by the one keeper of a folder for as long as it lives: it alone starts servers. */
export const KEEPER_LOCK = {
  stale: 5_000,
  update: 1_000,
  /** What is locked; no file has this name. */
  name: (folder: string): string => join(folder, 'keeper'),
  path: (folder: string): string => join(folder, 'keeper.lock'),
};

type Connection = ReturnType<typeof connectPromptly>;

async function connectOrStart(places: EmbeddedPlaces): Promise<Connection> {
  const { folder } = places;
  let keeper: ChildProcess | undefined;
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const { stale } = KEEPER_LOCK;
    const locked = await check(KEEPER_LOCK.name(folder), {
      ...{ realpath: false, lockfilePath: KEEPER_LOCK.path(folder), stale },
    });
    if (!locked && !isRunning(keeper)) {
      // One that has ended already could not start a server; its log says why.
      if (keeper?.exitCode) break;
      findServer(); // says how to get one before anything is started
      keeper = spawnKeeper(places);
    }
    const redis = await tryConnect(places);
    if (redis) {
      if (!keeper && !(await isKept(redis, folder))) spawnKeeper(places);
      return redis;
    }
    await sleep(30);
  }
  const why = whyStopped(folder);
  if (why) throw why;
  throw new FerryError('REDIS_UNAVAILABLE', `the private Redis in ${folder} did not start`, {
    hint: `See ${join(folder, 'redis.log')}.`,
  });
}

/**
 * A keeper that was killed leaves a lock that looks alive for some seconds; but it is no longer
 * connected. (Its process id proves nothing: where nobody reaps, the dead keep theirs.)
 */
async function isKept(redis: Connection, folder: string): Promise<boolean> {
  if (String(await redis.client('LIST')).includes(`name=${KEEPER_NAME}`)) return true;
  const startedAt = statSync(keeperStartPath(folder), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Date.now() - startedAt < KEEPER_CONNECTS_MS;
}

/** Touched by a keeper when it has taken its lock. */
export function keeperStartPath(folder: string): string {
  return join(folder, 'keeper.started');
}

function isRunning(child: ChildProcess | undefined): boolean {
  return child !== undefined && child.exitCode === null && child.signalCode === null;
}

/** True if something listens at the socket, however busy it is. */
export function isListening(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

/** A connection to a server that has loaded its data. */
async function tryConnect({ socket }: EmbeddedPlaces): Promise<Connection | undefined> {
  if (!(await isListening(socket))) return undefined;
  const redis = connectPromptly({ socket }, 'ovaferry');
  try {
    await new Promise<void>((resolve, reject) => {
      redis.once('ready', resolve);
      redis.once('error', reject);
      setTimeout(reject, 2_000).unref();
    });
    return redis;
  } catch {
    redis.disconnect();
    return undefined;
  }
}

function spawnKeeper({ folder, socket }: EmbeddedPlaces): ChildProcess {
  const keeper = fileURLToPath(new URL('./keeper.js', import.meta.url));
  const child = spawn(process.execPath, [keeper, folder, socket], {
    detached: true,
    stdio: 'ignore',
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '' }, // it outlives us and needs none of our secrets
  });
  child.unref();
  return child;
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
