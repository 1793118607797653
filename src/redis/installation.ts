import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { describeAddress, type RedisAddress } from './connect.ts';

/**
 * Names everything that works on one Redis, in the marks of what it creates on a vCD. It is remembered
 * in the data folder as well: a Redis that has lost everything gets its old name again, so that what
 * was begun before is still known as ours.
 *
 * @param key where it is kept in Redis
 */
export async function installationId(
  redis: Redis,
  { key, address, dataDir }: { key: string; address: RedisAddress; dataDir: string },
): Promise<string> {
  const file = join(dataDir, 'installations.json');
  const known = readIds(file);
  const place = describeAddress(address);
  await redis.setnx(key, known[place] ?? randomBytes(6).toString('hex'));
  const id = (await redis.get(key)) ?? '';
  if (known[place] !== id) remember(dataDir, file, { ...known, [place]: id });
  return id;
}

function readIds(file: string): Readonly<Record<string, string>> {
  try {
    const ids: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof ids !== 'object' || ids === null) return {};
    return Object.fromEntries(
      Object.entries(ids).filter(([, id]) => typeof id === 'string' && /^[0-9a-f]+$/.test(id)),
    );
  } catch {
    return {};
  }
}

/** A folder that can't be written to costs no more than the memory. */
function remember(dataDir: string, file: string, ids: Readonly<Record<string, string>>): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const written = `${file}.${process.pid}`;
    writeFileSync(written, JSON.stringify(ids), { mode: 0o600 });
    renameSync(written, file);
  } catch {
    // a read-only container, perhaps
  }
}
