import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, jest, test } from '@jest/globals';
import { hasStayedUp, noted } from '../../src/destination/machine.ts';
import { PartFile } from '../../src/destination/part-file.ts';
import { withFolder } from '../helpers/temp.ts';

/** So many bytes are synced while the next ones are written. */
const MANY = 64 * 1024 * 1024;

/** What a failing disk says, once; and again when what it refused is to be cut off. */
async function withBadDisk(folder: string, use: () => Promise<void>): Promise<void> {
  const handle = await open(join(folder, 'probe'), 'w');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const refusal = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
  const faults = [
    jest.spyOn(prototype, 'datasync').mockRejectedValueOnce(refusal),
    jest.spyOn(prototype, 'truncate').mockRejectedValueOnce(refusal),
  ];
  try {
    await use();
    for (const fault of faults) expect(fault).toHaveBeenCalled();
  } finally {
    for (const fault of faults) fault.mockRestore();
  }
}

test('what the disk has refused to keep is not trusted, by this process or by the next', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'disk.part');
    const options = { size: 3_000, trusted: 3_000 };
    const part = await PartFile.open(path, options);
    await part.append(Buffer.alloc(1_000, 1));
    await part.sync();
    await withBadDisk(folder, async () => {
      await part.append(Buffer.alloc(1_000, 2));
      await expect(part.sync()).rejects.toMatchObject({ code: 'DESTINATION_UNREACHABLE' });
    });
    expect({ isRefused: part.isRefused, length: part.length }).toEqual({
      isRefused: true,
      length: 1_000,
    });
    await expect(part.append(Buffer.alloc(1))).rejects.toMatchObject({
      code: 'DESTINATION_UNREACHABLE',
    });
    await part.close();
    expect(await readFile(path)).toHaveLength(2_000); // it could not be cut off
    // As whoever goes on opens it, by what was noted.
    const next = await PartFile.open(path, { ...options, trusted: part.synced });
    expect(next.length).toBe(1_000);
    await next.close();
    expect(await readFile(path)).toHaveLength(1_000);
  }));

test('nor where it refuses one that runs beside the writing, just as the last one begins', () =>
  withFolder(async (folder) => {
    const refusal = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    const part = await PartFile.open(join(folder, 'disk.part'), { size: MANY, trusted: 0 });
    const handle = await open(join(folder, 'probe'), 'w');
    const fault = jest.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'datasync');
    await handle.close();
    let refuse: (error: Error) => void = () => undefined;
    // Said once: the second time nothing is left that could be refused.
    fault.mockImplementationOnce(() => new Promise((_resolve, reject) => (refuse = reject)));
    try {
      await part.append(Buffer.alloc(MANY));
      const last = part.sync();
      refuse(refusal);
      await expect(last).rejects.toMatchObject({ code: 'DESTINATION_UNREACHABLE' });
      expect({ isRefused: part.isRefused, length: part.length }).toEqual({
        ...{ isRefused: true, length: 0 },
      });
    } finally {
      fault.mockRestore();
      await part.close();
    }
  }));

test('a machine is the same until its system starts again, whatever its name and clock say', () => {
  const now = noted();
  expect(hasStayedUp(now)).toBe(true);
  expect(hasStayedUp({ ...now, host: 'renamed', notedAt: 0 })).toBe(true);
  expect(hasStayedUp({ ...now, boot: 'another' })).toBe(false);
  // Where the system does not say: by the name, and by when it started.
  expect(hasStayedUp({ ...now, boot: null })).toBe(true);
  expect(hasStayedUp({ ...now, boot: null, host: 'another' })).toBe(false);
  expect(hasStayedUp({ ...now, boot: null, notedAt: 0 })).toBe(false);
});
