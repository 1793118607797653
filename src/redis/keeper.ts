import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { connectPromptly } from './connect.ts';
import {
  findServer,
  isListening,
  KEEPER_LOCK,
  KEEPER_NAME,
  keeperStartPath,
  lockUsers,
} from './embedded.ts';

/**
 * The process beside a private Redis: starts it, starts it again if it dies, and stops it once
 * nobody has been connected for a while, also where the last user was killed. There is one keeper for
 * a folder, by a lock that it holds for life, so that two servers never write one folder.
 */
const LOOK_MS = 500;
const IDLE_LOOKS = 6;
/** Three seconds of waiting for whoever is just coming. */
const LOCK_RETRIES = { retries: 30, minTimeout: 100, maxTimeout: 100 };
/** So many starts in a row without a server that can be used, and the folder is given up. */
const MAX_STARTS = 5;

type Connection = ReturnType<typeof connectPromptly>;

/** The server that this keeper has started. */
let server: ChildProcess | undefined;
/** Only who holds the lock starts and stops servers. */
let isHolding = false;

/**
 * @returns false if another keeper holds the folder's lock, and so has the server as well
 */
async function acquire(folder: string): Promise<boolean> {
  const { stale, update } = KEEPER_LOCK;
  try {
    await lock(KEEPER_LOCK.name(folder), {
      realpath: false,
      lockfilePath: KEEPER_LOCK.path(folder),
      stale,
      update,
      // The lock of one that was killed takes some seconds to look dead.
      retries: { retries: 40, minTimeout: 200, maxTimeout: 200 },
      // After a long sleep, of this process or of the machine, another one may have taken over.
      onCompromised() {
        isHolding = false;
      },
    });
    isHolding = true;
    writeFileSync(keeperStartPath(folder), '');
    return true;
  } catch {
    return false;
  }
}

async function keep(folder: string, socket: string): Promise<void> {
  if (!(await acquire(folder))) return;
  const redis = connectPromptly({ socket }, KEEPER_NAME);
  let starts = 0;
  let idle = 0;
  try {
    for (;;) {
      // The data are gone, and nobody can come any more.
      if (!existsSync(folder)) return void (await redis.shutdown('NOSAVE').catch(() => undefined));
      // A lock that was only late is taken again: who left now would leave a server that nobody stops.
      if (!isHolding && !(await acquire(folder)) && existsSync(folder)) return;
      if (!isHolding) continue;
      if (isReady(redis)) starts = 0;
      // One that listens already was left behind by a keeper that was killed.
      if (!isRunning() && !(await isListening(socket))) {
        if (starts >= MAX_STARTS) throw new Error('the server does not stay up');
        server = startServer(folder, socket);
        starts += 1;
      }
      await sleep(LOOK_MS);
      idle = (await users(redis)) === 0 ? idle + 1 : 0;
      if (idle >= IDLE_LOOKS && (await stopIfUnused(redis, folder))) return;
    }
  } finally {
    redis.disconnect();
    if (!existsSync(folder)) server?.kill('SIGKILL');
  }
}

function isReady(redis: Connection): boolean {
  return redis.status === 'ready';
}

function isRunning(): boolean {
  return server !== undefined && server.exitCode === null && server.signalCode === null;
}

function startServer(folder: string, socket: string): ChildProcess {
  const settings: Readonly<Record<string, string>> = {
    dir: folder,
    port: '0',
    unixsocket: socket,
    unixsocketperm: '700',
    appendonly: 'yes',
    appendfsync: 'always', // what enqueue has accepted survives a power cut
    save: '',
    'maxmemory-policy': 'noeviction',
    daemonize: 'no',
    logfile: `${folder}/redis.log`,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  return spawn(findServer(), args, { stdio: 'ignore', cwd: folder });
}

/** How many others are connected; undefined while that can't be asked. */
async function users(redis: Connection): Promise<number | undefined> {
  try {
    const clients = String(await redis.client('LIST'))
      .trim()
      .split('\n');
    return clients.filter((line) => !line.includes(`name=${KEEPER_NAME}`)).length;
  } catch {
    return undefined;
  }
}

async function stopIfUnused(redis: Connection, folder: string): Promise<boolean> {
  // Who has the lock is about to connect. It is not waited for any longer: the folder may go meanwhile.
  const unlock = await lockUsers(folder, LOCK_RETRIES).catch(() => undefined);
  if (!unlock) return false;
  try {
    if ((await users(redis)) !== 0) return false;
    // The connection ends with the server, so there is no answer to wait for.
    await redis.shutdown().catch(() => undefined);
    while (isReady(redis)) await sleep(10);
    return true;
  } finally {
    await unlock();
  }
}

const [folder = '', socket = ''] = process.argv.slice(2);
try {
  await keep(folder, socket);
  process.exitCode = 0;
} catch {
  server?.kill('SIGTERM');
  process.exitCode = 1;
}
process.exit();
