import { constants } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { classify, FerryError, isExhausted } from '../errors.ts';
import type { ByteSource } from '../source/byte-source.ts';

/** Bytes are forced to the disk after so many: what a machine loses when it falls is no more. */
const SYNC_BYTES = 64 * 1024 * 1024;

/** A file that is being made, which gets its name when it is whole. Grows at its end alone. */
export class PartFile implements ByteSource {
  readonly name: string;
  /** Of the whole file. */
  readonly size: number;
  readonly #handle: FileHandle;
  #length: number;
  #synced: number;
  #syncing: Promise<void> | undefined;
  #failure: FerryError | undefined;
  #isRefused = false;
  #writing: Promise<void> | undefined;

  private constructor(
    path: string,
    handle: FileHandle,
    { size, length, synced }: { size: number; length: number; synced: number },
  ) {
    this.name = path;
    this.size = size;
    this.#handle = handle;
    this.#length = length;
    this.#synced = Math.min(length, synced);
  }

  /**
   * Opens what there is, or makes it.
   *
   * @param trusted bytes from the beginning that are as they were written; what follows is cut off
   * @param synced so many of them are on the disk whatever happens to the machine
   * @throws FerryError DESTINATION_UNWRITABLE, DESTINATION_FULL, DESTINATION_UNREACHABLE
   */
  static async open(
    path: string,
    { size, trusted, synced = 0 }: { size: number; trusted: number; synced?: number },
  ): Promise<PartFile> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    try {
      const handle = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
      try {
        const stats = await handle.stat();
        if (!stats.isFile()) throw new FerryError('DESTINATION_UNWRITABLE', `${path} is no file`);
        const length = Math.min(stats.size, trusted, size);
        if (stats.size > length) await handle.truncate(length);
        return new PartFile(path, handle, { size, length, synced });
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      throw destinationError(path, error);
    }
  }

  /** Bytes that it has. */
  get length(): number {
    return this.#length;
  }

  /** Bytes that are on the disk whatever happens to the machine. */
  get synced(): number {
    return this.#synced;
  }

  /** The disk has refused to keep what was written: whoever opens it again trusts `synced` bytes alone. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** @throws FerryError as `open` */
  async append(bytes: Uint8Array): Promise<void> {
    if (this.#failure) throw this.#failure;
    const at = this.#length;
    this.#writing = this.#write(bytes, at);
    await this.#writing;
    if (this.#failure) throw this.#failure; // meanwhile
    this.#length = at + bytes.length;
    if (this.#length - this.#synced < SYNC_BYTES || this.#syncing !== undefined) return;
    // Beside what is written meanwhile: the line is not to wait for the disk.
    this.#syncing = this.#sync().finally(() => {
      this.#syncing = undefined;
    });
    this.#syncing.catch(() => undefined); // told by whatever comes next
  }

  /** Writes over bytes that are there. */
  async overwrite(bytes: Uint8Array, position: number): Promise<void> {
    await this.#write(bytes, position);
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    let filled = 0;
    while (filled < target.length) {
      const { bytesRead } = await this.#handle
        .read(target, filled, target.length - filled, position + filled)
        .catch((error: unknown) => {
          throw destinationError(this.name, error);
        });
      if (bytesRead === 0) {
        throw new FerryError('DESTINATION_UNWRITABLE', `${this.name} became shorter meanwhile`);
      }
      filled += bytesRead;
    }
  }

  /** One after the other: what the one that runs is told, is told to nobody else. */
  async sync(): Promise<void> {
    await this.#syncing;
    await this.#sync();
  }

  async #sync(): Promise<void> {
    const length = this.#length;
    if (this.#failure) throw this.#failure;
    try {
      await this.#handle.datasync();
    } catch (error) {
      // Said once only, and what was to be written may be dropped: none of it is to be trusted.
      this.#failure = destinationError(this.name, error);
      this.#isRefused = true;
      this.#length = this.#synced;
      await this.#writing?.catch(() => undefined); // it would land behind the end
      // Where that fails as well, what was noted says how much of it counts.
      await this.#handle.truncate(this.#synced).catch(() => undefined);
      throw this.#failure;
    }
    this.#synced = Math.max(this.#synced, length);
  }

  async close(): Promise<void> {
    await this.#syncing?.catch(() => undefined);
    await this.#handle.close();
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const rest = bytes.length - done;
        const { bytesWritten } = await this.#handle.write(bytes, done, rest, position + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw destinationError(this.name, error);
    }
  }
}

/** Gives a file that is whole its name, for good. What has the name already is replaced. */
export async function giveName(part: string, path: string): Promise<void> {
  try {
    await rename(part, path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw destinationError(path, error);
  }
}

/** That a name is there is only on the disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // folders can't be opened there
  const folder = await open(path, constants.O_RDONLY).catch(() => undefined);
  // Some file systems can't, or let nobody: then the name is there as soon as they like.
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}

/** @returns whether it was made, and not there before */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await kindOf(path)) === 'folder') return false;
    throw destinationError(path, error);
  }
}

/** Whether something has a name, be it a link that leads nowhere. */
export async function isTaken(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

export async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    throw destinationError(folder, error);
  });
}

/** Bytes of a file; undefined if there is none. */
export async function sizeOfFile(path: string): Promise<number | undefined> {
  if ((await kindOf(path)) !== 'file') return undefined;
  return (await stat(path)).size;
}

/** What has a name. */
export async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw destinationError(path, error);
  }
}

export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw destinationError(path, error);
  });
}

/** Leaves it where somebody else has something in it. */
export async function removeIfEmpty(path: string): Promise<void> {
  await rmdir(path).catch(() => undefined);
}

/** @throws FerryError DESTINATION_FULL if a folder's file system has no room for so many bytes */
export async function assertRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder).catch((error: unknown) => {
    throw destinationError(folder, error);
  });
  const free = bavail * bsize;
  if (bytes <= free) return;
  throw new FerryError(
    'DESTINATION_FULL',
    `${folder} has ${free} bytes left; ${bytes} are needed`,
    {
      facts: { free, needed: bytes },
    },
  );
}

/** What a network file system or a disk says while it is away. */
const AWAY: ReadonlySet<string> = new Set([
  'EIO',
  'ESTALE',
  'ENODEV',
  'ENXIO',
  'ENOTCONN',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'EREMOTEIO',
]);

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of its path is no folder',
  EISDIR: 'a folder has this name',
  EEXIST: 'something else has this name',
  ELOOP: 'it is a link',
  ENAMETOOLONG: 'the name is too long',
  EFBIG: 'the file system holds no file of that size',
};

function destinationError(path: string, error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  if (isExhausted(error)) return classify(error);
  const { code = 'unknown' } = error as NodeJS.ErrnoException;
  const details = { cause: error, facts: { errno: code } };
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FerryError('DESTINATION_FULL', `${path}: the disk is full`, details);
  }
  if (AWAY.has(code)) {
    return new FerryError(
      'DESTINATION_UNREACHABLE',
      `${path} can't be written at present (${code})`,
      details,
    );
  }
  const why = WHY[code] ?? code;
  return new FerryError('DESTINATION_UNWRITABLE', `${path} can't be written: ${why}`, details);
}
