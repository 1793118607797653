import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectPromptly } from './connect.ts';
import { findServer, KEEPER_NAME, lockEmbedded } from './embedded.ts';

/**
 * The process beside a private Redis: starts it, starts it again if it dies, and stops it once
 * nobody has been connected for a while, also where the last user was killed.
 */
const LOOK_MS = 500;
const IDLE_LOOKS = 6;

type Connection = ReturnType<typeof connectPromptly>;

async function keep(folder: string, socket: string): Promise<void> {
  const redis = connectPromptly({ socket }, KEEPER_NAME);
  let server: ChildProcess | undefined;
  let idle = 0;
  for (;;) {
    // One that answers already was left behind by a keeper that was killed.
    const gone = !server || server.exitCode !== null || server.signalCode !== null;
    if (gone && !isReady(redis)) {
      await sleep(100);
      if (!isReady(redis)) server = startServer(folder, socket);
    }
    await sleep(LOOK_MS);
    idle = (await users(redis)) === 0 ? idle + 1 : 0;
    if (idle >= IDLE_LOOKS && (await stopIfUnused(redis, folder))) break;
  }
  redis.disconnect();
}

function isReady(redis: Connection): boolean {
  return redis.status === 'ready';
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
  const unlock = await lockEmbedded(folder);
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
await keep(folder, socket);
process.exit(0);
