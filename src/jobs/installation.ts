import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { INSTALLATION_KEY } from './names.ts';

/** Names everything that works on one Redis, in the marks of what it creates on a vCD. */
export async function installationId(redis: Redis): Promise<string> {
  await redis.setnx(INSTALLATION_KEY, randomBytes(6).toString('hex'));
  return (await redis.get(INSTALLATION_KEY)) ?? '';
}
