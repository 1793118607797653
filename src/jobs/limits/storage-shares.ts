import { FerryError } from '../../errors.ts';
import { pathOf } from '../../vcd/address.ts';
import { storageKey } from '../names.ts';
import type { Needed } from '../upload-deps.ts';
import type { Room } from './room.ts';

/**
 * How much of a storage profile the jobs under way will take, which the server does not count before
 * they are imported: without this, several that fit alone would fill it together.
 */
export class StorageShares {
  readonly #room: Room;

  constructor(room: Room) {
    this.#room = room;
  }

  /**
   * @returns what is to be given to `release`
   * @throws FerryError STORAGE_FULL
   */
  async claim(
    { name, href }: { readonly name: string; readonly href: string },
    jobId: string,
    { bytes, freeBytes }: Needed,
  ): Promise<string> {
    const key = storageKey(pathOf(href));
    const taken = await this.#room.claim(key, jobId, { bytes, room: freeBytes });
    if (taken === undefined) return key;
    throw new FerryError(
      'STORAGE_FULL',
      `the storage profile ${name} has ${freeBytes} bytes left, of which other jobs need ${taken}; ${bytes} are needed`,
      { facts: { profile: name, freeBytes, bytes } },
    );
  }

  async release(key: string, jobId: string): Promise<void> {
    await this.#room.release(key, jobId);
  }
}
