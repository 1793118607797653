import { classify, FerryError } from '../errors.ts';
import type { CallContext } from '../vcd/api.ts';
import type { VcdClient } from '../vcd/client.ts';
import type { StorageProfile } from '../vcd/storage.ts';
import type { Upload } from './upload-deps.ts';

/**
 * The storage profile that was asked for, and room on what will hold the item: vCD itself would only
 * notice after everything has been sent.
 *
 * @param bytes of the package's files: it takes at least that
 * @returns the address to be named in the request, if a profile was asked for
 * @throws FerryError STORAGE_FULL, STORAGE_PROFILE_NOT_FOUND, CATALOG_FORBIDDEN
 */
export async function chooseStorage(upload: Upload, bytes: number): Promise<string | undefined> {
  const { deps, request, context } = upload;
  const wanted = request.storageProfile;
  const profiles = await visibleProfiles(deps.vcd, wanted, context);
  const holder = holderAmong(profiles, wanted, bytes);
  if (!holder) return undefined;
  const freeBytes = freeOf(holder);
  if (freeBytes !== undefined) await deps.storage.claim(holder, { bytes, freeBytes });
  return wanted === null ? undefined : holder.href;
}

/**
 * The profile that will hold an item, as far as that can be known: the one that was asked for, or the only
 * one there is.
 *
 * @throws FerryError STORAGE_FULL where none has room, STORAGE_PROFILE_NOT_FOUND
 */
export function holderAmong(
  profiles: readonly StorageProfile[],
  wanted: string | null,
  bytes: number,
): StorageProfile | undefined {
  if (wanted !== null) return findNamed(profiles, wanted);
  const enabled = profiles.filter(({ isEnabled }) => isEnabled);
  if (enabled.length === 1) return enabled[0];
  // Which one vCD takes is not known: it is refused where none will do.
  const free = enabled.map(freeOf);
  if (enabled.length > 0 && free.every((left) => left !== undefined && left < bytes)) {
    throw new FerryError(
      'STORAGE_FULL',
      `no storage profile has ${bytes} bytes left: ${enabled.map(({ name }) => name).join(', ')}`,
      { facts: { bytes } },
    );
  }
  return undefined;
}

/** @throws FerryError CATALOG_FORBIDDEN if one is wanted and none can be seen */
export async function visibleProfiles(
  vcd: Pick<VcdClient, 'listStorageProfiles'>,
  wanted: string | null,
  context: CallContext,
): Promise<StorageProfile[]> {
  const profiles = await seenProfiles(vcd, context);
  if (profiles) return profiles;
  if (wanted === null) return []; // uploaded all the same, and vCD will say
  throw new FerryError('CATALOG_FORBIDDEN', "the storage profiles can't be seen", {
    facts: { profile: wanted },
    hint: 'The user needs the right to view the virtual data centre, or upload without --storage-profile.',
  });
}

/** Undefined for who may not see them. */
export async function seenProfiles(
  vcd: Pick<VcdClient, 'listStorageProfiles'>,
  context: CallContext,
): Promise<StorageProfile[] | undefined> {
  try {
    return await vcd.listStorageProfiles(context);
  } catch (error) {
    const { code } = classify(error);
    if (code === 'ITEM_GONE' || code === 'VCD_REJECTED') return undefined;
    throw error;
  }
}

/**
 * The profile of a name: of several virtual data centres' the one with the most room.
 *
 * @throws FerryError STORAGE_PROFILE_NOT_FOUND naming those there are; STORAGE_FULL for one that is
 *   disabled
 */
function findNamed(profiles: readonly StorageProfile[], name: string): StorageProfile {
  const named = profiles.filter((profile) => profile.name === name);
  if (named.length === 0) {
    const known = [...new Set(profiles.map((profile) => profile.name))].join(', ') || 'none';
    throw new FerryError(
      'STORAGE_PROFILE_NOT_FOUND',
      `there is no storage profile ${name}; there are: ${known}`,
      { facts: { profile: name } },
    );
  }
  const roomOf = (profile: StorageProfile): number => freeOf(profile) ?? Number.POSITIVE_INFINITY;
  const [best] = named
    .filter(({ isEnabled }) => isEnabled)
    .sort((a, b) => (roomOf(a) === roomOf(b) ? 0 : roomOf(b) - roomOf(a)));
  if (best) return best;
  throw new FerryError('STORAGE_FULL', `the storage profile ${name} is disabled`, {
    hint: 'Somebody has to enable it: the job then goes on by itself.',
  });
}

/** Undefined where there is no limit. */
export function freeOf({ limitBytes, usedBytes }: StorageProfile): number | undefined {
  return limitBytes === undefined ? undefined : Math.max(0, limitBytes - usedBytes);
}
