import { visibleOrgs } from './access.ts';
import { ORG_VIEW_RIGHT } from './accounts.ts';
import type { Call, Reply, Route } from './call.ts';
import { forbidden, missingRight } from './errors.ts';
import type { Organization } from './model.ts';
import { hasRight } from './sessions.ts';
import { atLeast } from './versions.ts';
import { element, link, mime, VCLOUD } from './xml.ts';

/** Session, organisations and their policies: how a client finds its way. */
export const organizationRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/session$/, handle: sessionReply },
  { method: 'GET', path: /^\/api\/org$/, handle: getOrgList },
  { method: 'GET', path: /^\/api\/org\/([^/]+)$/, handle: getOrg },
  {
    method: 'GET',
    path: /^\/api\/admin\/org\/([^/]+)\/settings\/vAppTemplateLeaseSettings$/,
    handle: getTemplateLease,
  },
];

export function sessionReply(call: Pick<Call, 'world' | 'session' | 'version'>): Reply {
  const { world, session, version } = call;
  const [org] = visibleOrgs(call);
  return {
    status: 200,
    type: 'session',
    xml: element(
      'Session',
      {
        xmlns: VCLOUD,
        user: session.user,
        org: session.home,
        roles: session.role,
        href: `${world.base}/api/session`,
        type: mime('session'),
      },
      link('down', `${world.base}/api/org/${org?.id}`, 'org', org?.name),
      link('down', `${world.base}/api/org`, 'orgList'),
      link('down', `${world.base}/api/query`, 'query.queryList'),
      atLeast(version, '38.0') ? undefined : link('remove', `${world.base}/api/session`),
    ),
  };
}

function getOrgList(call: Call): Reply {
  const { base } = call.world;
  return {
    status: 200,
    type: 'orgList',
    xml: element(
      'OrgList',
      { xmlns: VCLOUD, href: `${base}/api/org`, type: mime('orgList') },
      ...visibleOrgs(call).map(({ id, name }) =>
        element('Org', { href: `${base}/api/org/${id}`, name, type: mime('org') }),
      ),
    ),
  };
}

function findOrg(call: Call): Organization {
  const org = visibleOrgs(call).find(({ id }) => id === call.params[0]);
  if (!org) throw forbidden('org');
  return org;
}

function getOrg(call: Call): Reply {
  const { world, version } = call;
  const org = findOrg(call);
  const href = `${world.base}/api/org/${org.id}`;
  // From 33.0 on an organisation no longer lists its catalogs; the query service does.
  const catalogs = atLeast(version, '33.0')
    ? []
    : org.catalogs.map(({ id, name }) =>
        link('down', `${world.base}/api/catalog/${id}`, 'catalog', name),
      );
  const { vdc } = org;
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
      vdc && link('down', `${world.base}/api/vdc/${vdc.id}`, 'vdc', vdc.name),
      ...catalogs,
      link('down', `${world.base}/api/query?type=catalog&format=records`, 'query.records'),
      link('down', `${world.base}/api/query?type=orgVdc&format=records`, 'query.records'),
      element('FullName', {}, org.name),
    ),
  };
}

/** How long templates are kept. Only who may see an organisation's policies may see it. */
function getTemplateLease(call: Call): Reply {
  const org = findOrg(call);
  if (!hasRight(call.session, ORG_VIEW_RIGHT)) throw missingRight(ORG_VIEW_RIGHT, 'view');
  return {
    status: 200,
    // The administrator's documents have another name than the tenants'.
    type: 'admin.vAppTemplateLeaseSettings',
    xml: element(
      'OrgVAppTemplateLeaseSettings',
      { xmlns: VCLOUD },
      element('DeleteOnStorageLeaseExpiration', {}, 'true'),
      element('StorageLeaseSeconds', {}, String(org.templateLeaseSeconds)),
    ),
  };
}
