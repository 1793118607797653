import { FerryError } from '../errors.ts';
import type { CallContext, VcdApi } from './api.ts';

/** An organisation that this login sees. */
export interface OrgEntry {
  readonly name: string;
  readonly href: string;
}

export async function listOrgs(api: VcdApi, context: CallContext): Promise<OrgEntry[]> {
  const list = await api.get('/api/org', context);
  return list.children('Org').map((org) => ({
    name: org.attribute('name') ?? '',
    href: org.attribute('href') ?? '',
  }));
}

/** By name, without case, as everywhere in vCD. @throws FerryError ORG_NOT_FOUND */
export async function findOrg(api: VcdApi, name: string, context: CallContext): Promise<OrgEntry> {
  const orgs = await listOrgs(api, context);
  const org = orgs.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase());
  if (org) return org;
  throw new FerryError('ORG_NOT_FOUND', `the organisation ${name} can't be seen`, {
    facts: { org: name },
  });
}
