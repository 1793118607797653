import type { Call, Reply, Route } from './call.ts';
import { forbidden } from './errors.ts';
import type { Organization } from './model.ts';
import { atLeast } from './versions.ts';
import { element, link, mime, VCLOUD } from './xml.ts';

/** Session, organisations, and the list of queries: how a client finds its way. */
export const organizationRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/session$/, handle: getSession },
  { method: 'GET', path: /^\/api\/org$/, handle: getOrgList },
  { method: 'GET', path: /^\/api\/org\/([^/]+)$/, handle: getOrg },
];

export function sessionReply({ world, session }: Pick<Call, 'world' | 'session'>): Reply {
  const org = visibleOrgs(world.orgs, session.org)[0];
  return {
    status: 200,
    type: 'session',
    xml: element(
      'Session',
      {
        xmlns: VCLOUD,
        user: session.user,
        org: session.org,
        href: `${world.base}/api/session`,
        type: mime('session'),
      },
      link('down', `${world.base}/api/org/${org?.id}`, 'org', org?.name),
      link('down', `${world.base}/api/org`, 'orgList'),
      link('down', `${world.base}/api/query`, 'query.queryList'),
      link('remove', `${world.base}/api/session`),
    ),
  };
}

function getSession(call: Call): Reply {
  return sessionReply(call);
}

function getOrgList({ world, session }: Call): Reply {
  return {
    status: 200,
    type: 'orgList',
    xml: element(
      'OrgList',
      { xmlns: VCLOUD, href: `${world.base}/api/org`, type: mime('orgList') },
      ...visibleOrgs(world.orgs, session.org).map(({ id, name }) =>
        element('Org', { href: `${world.base}/api/org/${id}`, name, type: mime('org') }),
      ),
    ),
  };
}

function getOrg({ world, session, version, params }: Call): Reply {
  const org = visibleOrgs(world.orgs, session.org).find(({ id }) => id === params[0]);
  if (!org) throw forbidden('org');
  const href = `${world.base}/api/org/${org.id}`;
  // From 33.0 on an organisation no longer lists its catalogs; the query service does.
  const catalogs = atLeast(version, '33.0')
    ? []
    : org.catalogs.map(({ id, name }) =>
        link('down', `${world.base}/api/catalog/${id}`, 'catalog', name),
      );
  return {
    status: 200,
    type: 'org',
    xml: element(
      'Org',
      {
        xmlns: VCLOUD,
        name: org.name,
        id: `urn:vcloud:org:${org.id}`,
        href,
        type: mime('org'),
      },
      ...catalogs,
      link('down', `${world.base}/api/query?type=catalog&format=records`, 'query.records'),
      link('down', `${world.base}/api/query?type=orgVdc&format=records`, 'query.records'),
      element('FullName', {}, org.name),
    ),
  };
}

/** Tenants see their own organisation, a provider sees all, its own first. */
export function visibleOrgs(orgs: readonly Organization[], own: string): Organization[] {
  const mine = orgs.filter(({ name }) => name.toLowerCase() === own.toLowerCase());
  if (own.toLowerCase() !== 'system') return mine;
  return [...mine, ...orgs.filter((org) => !mine.includes(org))];
}
