import { randomUUID } from 'node:crypto';
import type { Catalog, Organization } from './model.ts';

const MIB = 1024 * 1024;

/** An organisation without catalogs. */
export function organization(
  name: string,
  vdc?: {
    readonly profiles: Readonly<Record<string, number>>;
    readonly templateLeaseSeconds: number;
  },
): Organization {
  const profiles = Object.entries(vdc?.profiles ?? {}).map(([profile, limitBytes], i) => ({
    id: randomUUID(),
    name: profile,
    // vCD counts in whole MB of 2^20 bytes.
    limitBytes: Math.floor(limitBytes / MIB) * MIB,
    isDefault: i === 0,
  }));
  const org = {
    id: randomUUID(),
    name,
    catalogs: [],
    vdc: vdc && { id: randomUUID(), name: `${name}-vdc`, profiles },
    templateLeaseSeconds: vdc?.templateLeaseSeconds ?? 0,
  };
  const made: Organization = Object.assign(org, {
    loose: {} as Catalog,
    vApps: {} as Catalog,
  });
  return Object.assign(made, { loose: newCatalog(made, ''), vApps: newCatalog(made, '') });
}

export function addCatalog(
  org: Organization,
  name: string,
  { kind = 'local', sharedWith = [] }: Partial<Pick<Catalog, 'kind' | 'sharedWith'>> = {},
): void {
  org.catalogs.push(newCatalog(org, name, { kind, sharedWith }));
}

function newCatalog(
  org: Organization,
  name: string,
  { kind = 'local', sharedWith = [] }: Partial<Pick<Catalog, 'kind' | 'sharedWith'>> = {},
): Catalog {
  return { id: randomUUID(), name, org, kind, sharedWith, created: new Date(), items: [] };
}
