import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sandbox } from './sandbox.ts';

/** Lends a folder and takes it back, with all that is in it. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(sandbox(), 'f-'));
  try {
    return await use(folder);
  } finally {
    // What is just ending may write once more while its folder goes.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}
