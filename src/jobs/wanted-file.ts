import { FerryError } from '../errors.ts';
import type { EntityState, WantedFile } from '../vcd/entity.ts';

/** The server names a file as the descriptor does, or decodes its percent signs. */
export function findWanted(entity: EntityState, name: string): WantedFile | undefined {
  return (
    entity.files.find((file) => file.name === name) ??
    entity.files.find((file) => file.name === decodeOnce(name))
  );
}

function decodeOnce(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/**
 * @param own bytes that the file has here
 * @throws FerryError VCD_REJECTED where the server waits for another size; OFFSET_MISMATCH
 */
export function assertPlausible({ name, size, bytesTransferred }: WantedFile, own: number): void {
  if (size !== undefined && size !== own) {
    throw new FerryError(
      'VCD_REJECTED',
      `the server waits for ${size} bytes of ${name}, which has ${own}`,
      { facts: { member: name, size, own } },
    );
  }
  if (bytesTransferred <= own) return;
  throw new FerryError(
    'OFFSET_MISMATCH',
    `the server has ${bytesTransferred} bytes of ${name}, which has ${own}`,
    { facts: { member: name, bytesTransferred, own } },
  );
}
