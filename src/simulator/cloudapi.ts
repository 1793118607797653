import { randomUUID } from 'node:crypto';
import { ROLES } from './accounts.ts';
import type { Call, Reply, Route } from './call.ts';
import { forbidden, missingRight } from './errors.ts';

/** The little of the newer, JSON-speaking API that a client of the older one needs. */
export const cloudapiRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: /^\/cloudapi\/1\.0\.0\/sessions\/current$/,
    handle: ({ session }) => ({
      status: 200,
      json: sessionJson({ ...session, org: session.home }),
    }),
  },
  { method: 'GET', path: /^\/cloudapi\/1\.0\.0\/roles\/([^/]+)\/rights$/, handle: getRights },
];

/** As `GET /cloudapi/1.0.0/sessions/current` shows it, and a login. */
export function sessionJson({
  user,
  role,
  org,
}: {
  readonly user: string;
  readonly role: string;
  readonly org: string;
}): unknown {
  return {
    id: `urn:vcloud:session:${randomUUID()}`,
    user: { name: user },
    org: { name: org },
    location: 'site',
    roles: [role],
    roleRefs: [{ name: role, id: roleId(role) }],
    sessionIdleTimeoutMinutes: 30,
  };
}

function roleId(role: string): string {
  return `urn:vcloud:role:${Buffer.from(role).toString('hex')}`;
}

/** Administrators alone may see what a role may do. */
function getRights({ session, params }: Call): Reply {
  if (!session.role.endsWith('Administrator')) throw missingRight('Role: View', 'view');
  const [role] = Object.entries(ROLES).filter(
    ([name]) => roleId(name) === decodeURIComponent(params[0] ?? ''),
  );
  if (!role) throw forbidden('role');
  const [, rights] = role;
  return {
    status: 200,
    json: {
      resultTotal: rights.length,
      pageCount: 1,
      page: 1,
      pageSize: 128,
      values: rights.map((name) => ({ name })),
    },
  };
}
