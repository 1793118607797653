import { FerryError } from '../errors.ts';
import type { CallContext, VcdApi } from './api.ts';
import { type OrgEntry, orgNamed, parseOrgs } from './org-list.ts';

export async function listOrgs(api: VcdApi, context: CallContext): Promise<OrgEntry[]> {
  return parseOrgs(await api.get('/api/org', context));
}

/** @throws FerryError ORG_NOT_FOUND */
export async function findOrg(api: VcdApi, name: string, context: CallContext): Promise<OrgEntry> {
  const org = orgNamed(await listOrgs(api, context), name);
  if (org) return org;
  throw new FerryError('ORG_NOT_FOUND', `the organisation ${name} can't be seen`, {
    facts: { org: name },
  });
}
