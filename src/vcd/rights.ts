import { isUnseen } from './answer.ts';
import type { CallContext, VcdApi } from './api.ts';
import { compareVersions } from './versions.ts';

/** vCD's names of what an upload needs. */
export const UPLOAD_RIGHT = 'vApp Template / Media: Create / Upload';
export const VIEW_RIGHT = 'Catalog: View Private and Shared Catalogs within Current Organization';

/** Who is logged in, as far as vCD tells. */
export interface Role {
  /** Undefined where the server does not say. */
  readonly name: string | undefined;
  /** Undefined for who may not see what a role may do, and on servers without the newer API. */
  readonly rights: readonly string[] | undefined;
}

export async function roleOf(api: VcdApi, context: CallContext): Promise<Role> {
  const { version } = await api.openSession(context);
  try {
    if (compareVersions(version, '33.0') >= 0) return await newerRoleOf(api, context);
    const session = await api.get('/api/session', context);
    return { name: session.attribute('roles'), rights: undefined };
  } catch (error) {
    if (isUnseen(error)) return { name: undefined, rights: undefined };
    throw error;
  }
}

async function newerRoleOf(api: VcdApi, context: CallContext): Promise<Role> {
  const { roles, roleRefs } = await api.getJson('/cloudapi/1.0.0/sessions/current', context);
  const name = Array.isArray(roles) ? roles.join(', ') : undefined;
  const ids = Array.isArray(roleRefs) ? roleRefs.map((role: { id?: unknown }) => role?.id) : [];
  const rights: string[] = [];
  for (const id of ids) {
    const own = await rightsOf(api, String(id), context);
    if (!own) return { name, rights: undefined };
    rights.push(...own);
  }
  return { name, rights: ids.length > 0 ? rights : undefined };
}

async function rightsOf(
  api: VcdApi,
  id: string,
  context: CallContext,
): Promise<string[] | undefined> {
  const rights: string[] = [];
  for (let page = 1; ; page += 1) {
    const path = `/cloudapi/1.0.0/roles/${encodeURIComponent(id)}/rights?page=${page}&pageSize=128`;
    try {
      const { values, pageCount } = await api.getJson(path, context);
      if (!Array.isArray(values)) return undefined;
      rights.push(...values.map((right: { name?: unknown }) => String(right?.name)));
      if (page >= Number(pageCount ?? 1)) return rights;
    } catch (error) {
      if (isUnseen(error)) return undefined;
      throw error;
    }
  }
}
