import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { lock } from 'proper-lockfile';
import { z } from 'zod';
import { FerryError } from '../errors.ts';

/** Longer than a login takes: whoever has the lock may be at one. */
const LOCK_LOOKS = { retries: 1_800, minTimeout: 100, maxTimeout: 100 };
const LOCK_STALE_MS = 10_000;
/** More than any token takes: the room for the next one is had before the old one is spent. */
const RESERVED_BYTES = 16 * 1024;

type Spend<T> = (refreshToken: string) => Promise<T>;

/** What lies beside the file from the moment in which its token is spent until it has the next one. */
const SuccessorSchema = z.object({
  refresh_token: z.string().min(1),
  /** SHA-256 of the file as it was: somebody may have put another account's token into it since. */
  replaces: z.string(),
});

/** By file: a token that could not be stored. This process alone has it. */
const unstored = new Map<string, string>();

/**
 * A service account's token: each use burns it and brings another. Whoever uses it holds the file's
 * lock, on whatever host. Everything that can fail is done before the old token is spent; the new one
 * is on the disk before anything is done with what it brought. A process that dies on the way leaves
 * the new token beside the file, where the next one finds it.
 *
 * @param named as the configuration has it, for messages
 */
export function tokenFile(
  named: string,
): <T extends { readonly refreshToken: string }>(spend: Spend<T>) => Promise<T> {
  return async (spend) => {
    const file = usable(named, () => realpathSync(named));
    const unlock = await lockFile(file);
    try {
      return await rotate(named, file, spend);
    } finally {
      await unlock().catch(() => undefined);
    }
  };
}

async function rotate<T extends { readonly refreshToken: string }>(
  named: string,
  file: string,
  spend: Spend<T>,
): Promise<T> {
  const text = usable(named, () => readFileSync(file, 'utf8'));
  const textWith = usable(named, () => formOf(text));
  const tokens = tokensOf(named, file, text);
  const next = `${file}.next`;
  // Not over what lies there already: that may be the only good one.
  const room = usable(named, () => reserveRoom(`${file}.reserve`));
  try {
    const result = await spendFirst(tokens, spend, named);
    const { refreshToken } = result;
    unstored.set(file, refreshToken);
    try {
      fill(room, JSON.stringify({ refresh_token: refreshToken, replaces: hashOf(text) }));
      renameSync(`${file}.reserve`, next);
      syncFolder(dirname(file));
      putInPlace(file, textWith(refreshToken));
      rmSync(next, { force: true });
      unstored.delete(file);
    } catch (error) {
      // What it brought is good all the same, and this process knows the token.
      const { code } = error as NodeJS.ErrnoException;
      process.emitWarning(`${named}: the new token can't be stored (${code}); mend that soon`);
    }
    return result;
  } finally {
    closeSync(room);
  }
}

/** Blanks, which are no token; the room is there then. */
function reserveRoom(path: string): number {
  const opened = openSync(path, 'w+', 0o600);
  try {
    writeSync(opened, Buffer.alloc(RESERVED_BYTES, ' '));
    fsyncSync(opened);
    return opened;
  } catch (error) {
    closeSync(opened);
    throw error;
  }
}

function fill(opened: number, text: string): void {
  const bytes = Buffer.from(text);
  writeSync(opened, bytes, 0, bytes.length, 0);
  ftruncateSync(opened, bytes.length);
  fsyncSync(opened);
}

/** A file that is mounted by itself can't be replaced: it is written to, while the token lies beside it. */
function putInPlace(file: string, text: string): void {
  const written = `${file}.new`;
  try {
    const opened = openSync(written, 'w', 0o600);
    try {
      fill(opened, text);
    } finally {
      closeSync(opened);
    }
    renameSync(written, file);
    syncFolder(dirname(file));
  } catch {
    writeFileSync(file, text, { flush: true });
    rmSync(written, { force: true, recursive: true });
  }
}

/** The newest first: an older one may have been burnt by a process that died. */
async function spendFirst<T>(
  [newest = '', ...older]: readonly string[],
  spend: Spend<T>,
  named: string,
): Promise<T> {
  try {
    return await spend(newest);
  } catch (error) {
    if (!(error instanceof FerryError) || error.code !== 'AUTH_REJECTED') throw error;
    if (older.length > 0) return spendFirst(older, spend, named);
    throw new FerryError('AUTH_REJECTED', error.message, {
      facts: error.facts,
      cause: error,
      hint: `A service account's token works once. If a machine died while it used it, or somebody else did, make a new one in vCD and put it into ${named}.`,
    });
  }
}

/** In the order in which they are tried. */
function tokensOf(named: string, file: string, text: string): string[] {
  const beside = successorOf(`${file}.next`);
  const own = tokenIn(text);
  // Where the file has been changed since, whoever did that knows better.
  const isNewer = beside?.replaces === hashOf(text);
  const stored = isNewer ? [beside?.refresh_token, own] : [own, beside?.refresh_token];
  const found = [unstored.get(file), ...stored].filter((token) => token !== undefined);
  const tokens = [...new Set(found.filter((token) => token !== ''))];
  if (tokens.length > 0) return tokens;
  throw new FerryError('CREDENTIALS_MISSING', `${named} holds no token`);
}

/** Undefined for what was cut short by a machine that died. */
function successorOf(path: string): z.output<typeof SuccessorSchema> | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return SuccessorSchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}

/** The token alone, or JSON that has it as `refresh_token`. */
function tokenIn(text: string): string {
  if (!text.trimStart().startsWith('{')) return text.trim();
  const { refresh_token: token } = JSON.parse(text) as { refresh_token?: unknown };
  return typeof token === 'string' ? token : '';
}

/** How a token is written in the form that the file has. */
function formOf(text: string): (token: string) => string {
  if (!text.trimStart().startsWith('{')) return (token) => `${token}\n`;
  const before = JSON.parse(text) as Record<string, unknown>;
  return (token) => `${JSON.stringify({ ...before, refresh_token: token }, null, 2)}\n`;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function lockFile(file: string): Promise<() => Promise<void>> {
  try {
    return await lock(file, {
      lockfilePath: `${file}.lock`,
      stale: LOCK_STALE_MS,
      retries: LOCK_LOOKS,
      // After a freeze somebody else may have it: a new token that comes is stored all the same.
      onCompromised: () => undefined,
    });
  } catch (error) {
    throw new FerryError('CREDENTIALS_MISSING', `${file} can't be locked`, { cause: error });
  }
}

function usable<T>(named: string, access: () => T): T {
  try {
    return access();
  } catch (error) {
    const { code = 'not as it should be' } = error as NodeJS.ErrnoException;
    throw new FerryError(
      'CREDENTIALS_MISSING',
      `${named} and its folder must be readable and writable: its token changes at each use (${code})`,
      { cause: error },
    );
  }
}

function syncFolder(folder: string): void {
  const opened = openSync(folder, 'r');
  try {
    fsyncSync(opened);
  } finally {
    closeSync(opened);
  }
}
