import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findServer } from '../../src/redis/embedded.ts';
import { freePort } from './ports.ts';

/** A real Redis of a test's own. */
export interface TestRedis {
  readonly url: string;
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
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let server: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    server = spawn(findServer(), [...options, ...durable], { stdio: 'ignore' });
    while (!existsSync(join(folder, 'appendonlydir'))) await sleep(20);
    while (!(await answers(url))) await sleep(20);
  };
  const kill = async (): Promise<void> => {
    const ended = new Promise((resolve) => server?.once('exit', resolve));
    server?.kill('SIGKILL');
    await ended;
  };
  await start();
  const client = new Redis(url, { maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  try {
    return await use({
      url,
      client,
      kill,
      start,
      freeze: () => void server?.kill('SIGSTOP'),
      thaw: () => void server?.kill('SIGCONT'),
    });
  } finally {
    client.disconnect();
    server?.kill('SIGCONT');
    await kill();
  }
}

async function answers(url: string): Promise<boolean> {
  const probe = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  probe.on('error', () => undefined);
  try {
    await probe.ping();
    return true;
  } catch {
    return false;
  } finally {
    probe.disconnect();
  }
}
