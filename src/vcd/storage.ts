import type { XmlElement } from '../xml.ts';
import { plainHref } from './address.ts';
import type { CallContext, VcdApi } from './api.ts';
import { queryRecords } from './query.ts';

/** A storage profile of the organisation's virtual data centres. */
export interface StorageProfile {
  readonly name: string;
  readonly href: string;
  /** Bytes; undefined where there is no limit. */
  readonly limitBytes: number | undefined;
  readonly usedBytes: number;
  readonly isEnabled: boolean;
  readonly isDefault: boolean;
}

const MIB = 1024 * 1024;

/** What the organisation's items can be stored on. */
export async function listStorageProfiles(
  api: VcdApi,
  context: CallContext,
): Promise<StorageProfile[]> {
  const type = api.session.isProvider ? 'adminOrgVdcStorageProfile' : 'orgVdcStorageProfile';
  const records = await queryRecords(api, { type }, context);
  return records.map(parseProfile);
}

function parseProfile(record: XmlElement): StorageProfile {
  const limit = Number(record.attribute('storageLimitMB') ?? 0);
  return {
    name: record.attribute('name') ?? '',
    href: plainHref(record.attribute('href') ?? ''),
    limitBytes: limit > 0 ? limit * MIB : undefined,
    usedBytes: Number(record.attribute('storageUsedMB') ?? 0) * MIB,
    isEnabled: record.attribute('isEnabled') !== 'false',
    isDefault: record.attribute('isDefaultStorageProfile') === 'true',
  };
}
