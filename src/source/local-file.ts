import { constants, type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { classify, FerryError, isExhausted } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';

/**
 * What tells one state of a file from another. Times in milliseconds. What else moves when nobody writes
 * to it is left out: a chmod, a link for a backup, another mount of its file system.
 */
export interface FileIdentity {
  readonly size: number;
  readonly mtimeMs: number;
  /** Of a file on a web server. */
  readonly etag?: string;
}

/** A file on a disk of this machine, held open until it is closed. */
export class LocalFile implements ByteSource {
  readonly name: string;
  readonly identity: FileIdentity;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle, identity: FileIdentity) {
    this.name = path;
    this.#handle = handle;
    this.identity = identity;
  }

  /** @throws FerryError SOURCE_NOT_FOUND, SOURCE_UNREADABLE */
  static async open(path: string): Promise<LocalFile> {
    let handle: FileHandle | undefined;
    try {
      // Without waiting: opening a named pipe would wait for its writer.
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const stats = await handle.stat();
      if (!stats.isFile()) throw notFile(path);
      return new LocalFile(path, handle, identityOf(stats));
    } catch (error) {
      await handle?.close();
      throw fileError(path, error);
    }
  }

  get size(): number {
    return this.identity.size;
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    let filled = 0;
    while (filled < target.length) {
      const { bytesRead } = await this.#handle
        .read(target, filled, target.length - filled, position + filled)
        .catch((error: unknown) => {
          throw fileError(this.name, error);
        });
      if (bytesRead === 0) {
        throw new FerryError('SOURCE_CHANGED', `${this.name} became shorter while it was read`);
      }
      filled += bytesRead;
    }
  }

  /**
   * Compares the file behind the path with the one that was opened.
   *
   * @throws FerryError SOURCE_CHANGED if it was written to or replaced since; the fact `isTouched` says
   *   that its size is still the same
   */
  async assertUnchanged(): Promise<void> {
    const { size, mtimeMs } = await identityOfFile(this.name);
    if (size === this.identity.size && mtimeMs === this.identity.mtimeMs) return;
    throw new FerryError('SOURCE_CHANGED', `${this.name} was changed while it was being sent`, {
      facts: { isTouched: size === this.identity.size },
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Bytes that come once can't be sent again from where the line broke. */
function notFile(path: string): FerryError {
  return new FerryError('SOURCE_UNREADABLE', `${path} is not a file`, {
    hint: 'Name a file on a disk: a pipe or a device can be read only once.',
  });
}

/** @throws FerryError SOURCE_NOT_FOUND, SOURCE_UNREADABLE */
export async function identityOfFile(path: string): Promise<FileIdentity> {
  try {
    return identityOf(await stat(path));
  } catch (error) {
    throw fileError(path, error);
  }
}

function identityOf({ size, mtimeMs }: { size: number; mtimeMs: number }): FileIdentity {
  // Whole milliseconds: the fraction does not survive JSON and some file systems.
  return { size, mtimeMs: Math.floor(mtimeMs) };
}

/** Errors of the file system in the words of ours. */
export function fileError(path: string, error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  if (isExhausted(error)) return classify(error);
  const { code } = error as NodeJS.ErrnoException;
  const cause = { cause: error, facts: { errno: code ?? 'unknown' } };
  if (code === 'ENOENT' && isLossy(path)) {
    return new FerryError('SOURCE_UNREADABLE', `the name of ${path} is not UTF-8`, {
      ...cause,
      hint: 'Rename it: names in other encodings can be listed, and not opened.',
    });
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new FerryError('SOURCE_NOT_FOUND', `${path} does not exist`, cause);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new FerryError('SOURCE_UNREADABLE', `${path} may not be read by this user`, cause);
  }
  if (code !== undefined && GONE_AWAY.has(code)) {
    return new FerryError(
      'SOURCE_UNREACHABLE',
      `${path} can't be read at present (${code})`,
      cause,
    );
  }
  return new FerryError('SOURCE_UNREADABLE', `${path} can't be read (${code ?? error})`, cause);
}

/** Whether a name has bytes that are no UTF-8, in place of which Node shows another character. */
export function isLossy(name: string): boolean {
  return name.includes('\ufffd');
}

/** What a network file system or a disk says while it is away. */
const GONE_AWAY: ReadonlySet<string> = new Set([
  'EIO',
  'ESTALE',
  'ENODEV',
  'ENXIO',
  'ENOTCONN',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ECONNREFUSED',
  'EREMOTEIO',
]);

/**
 * Whether the folder of a file that is not there is gone as well, or empty: then what is missing is
 * the file system, which is not mounted, rather than the file.
 */
export async function isFolderGone(path: string): Promise<boolean> {
  try {
    return (await readdir(dirname(path))).length === 0;
  } catch {
    return true;
  }
}
