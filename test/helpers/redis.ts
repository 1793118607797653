import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findServer } from '../../src/redis/embedded.ts';

/** A real Redis of a test's own, at a unix socket: nobody else can come by it, or take its place. */
export interface TestRedis {
  readonly url: string;
  readonly socket: string;
  readonly client: Redis;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT: it hangs while connections stay. */
  freeze(): void;
  thaw(): void;
}

export async function withRedis<T>(
  folder: string,
  use: (redis: TestRedis) => Promise<T>,
): Promise<T> {
  const socket = join(folder, 'test-redis.sock');
  let server: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const options = ['--port', '0', '--unixsocket', socket, '--dir', folder];
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    server = spawn(findServer(), [...options, ...durable], { stdio: 'ignore', cwd: folder });
    await untilReady(server, socket);
  };
  const kill = async (): Promise<void> => {
    const running = server;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await ended;
  };
  let client: Redis | undefined;
  try {
    await start();
    client = new Redis(socket, { maxRetriesPerRequest: null });
    client.on('error', () => undefined);
    return await use({
      url: `unix://${socket}`,
      socket,
      client,
      kill,
      start,
      freeze: () => void server?.kill('SIGSTOP'),
      thaw: () => void server?.kill('SIGCONT'),
    });
  } finally {
    client?.disconnect();
    await kill();
  }
}

/** @throws if the server ends instead */
async function untilReady(server: ChildProcess, socket: string): Promise<void> {
  while (!(await answers(socket))) {
    if (server.exitCode !== null) throw new Error(`the test's Redis ended with ${server.exitCode}`);
    await sleep(5);
  }
}

/** Whether a server has loaded its data. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket, () => probe.write('PING\r\n'));
    probe.once('data', (reply) => {
      probe.destroy();
      resolve(reply.toString().startsWith('+PONG'));
    });
    probe.once('error', () => resolve(false));
    probe.once('close', () => resolve(false));
  });
}
