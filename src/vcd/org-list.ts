import type { XmlElement } from '../xml.ts';

/** An organisation that a login sees. */
export interface OrgEntry {
  readonly name: string;
  readonly href: string;
}

/** The entries of `GET /api/org`. */
export function parseOrgs(list: XmlElement): OrgEntry[] {
  return list.children('Org').map((org) => ({
    name: org.attribute('name') ?? '',
    href: org.attribute('href') ?? '',
  }));
}

/** By name, without case, as everywhere in vCD. */
export function orgNamed(orgs: readonly OrgEntry[], name: string): OrgEntry | undefined {
  return orgs.find((org) => org.name.toLowerCase() === name.toLowerCase());
}
