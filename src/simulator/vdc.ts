import { mayAdd, visibleOrgs } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { ApiError, badRequest, forbidden } from './errors.ts';
import {
  type Entity,
  type Item,
  type Organization,
  type StorageProfile,
  sizeOf,
  type Vdc,
} from './model.ts';
import { atLeast } from './versions.ts';
import type { World } from './world.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

/** Virtual data centres and the storage profiles that hold what is uploaded. */
export const vdcRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/vdc\/([^/]+)$/, handle: getVdc },
  { method: 'GET', path: /^\/api\/vdcStorageProfile\/([^/]+)$/, handle: getProfile },
];

const MIB = 1024 * 1024;

function visibleVdcs(call: Pick<Call, 'world' | 'session'>): {
  readonly org: Organization;
  readonly vdc: Vdc;
}[] {
  return visibleOrgs(call).flatMap((org) => (org.vdc ? [{ org, vdc: org.vdc }] : []));
}

/** Bytes that what is imported takes of a profile. */
function usedBytes(world: World, profile: StorageProfile): number {
  let used = 0;
  for (const { entity } of world.items()) {
    if (entity.profile === profile && entity.task.status === 'success') used += sizeOf(entity);
  }
  return used;
}

function toMegabytes(bytes: number): number {
  return Math.ceil(bytes / MIB);
}

/** @throws ApiError 400 if a profile has no room for so many bytes more */
export function assertRoom(world: World, profile: StorageProfile | undefined, bytes: number): void {
  if (!profile || profile.limitBytes === 0) return;
  const used = usedBytes(world, profile);
  if (used + bytes <= profile.limitBytes) return;
  throw new ApiError(
    400,
    'STORAGE_QUOTA_EXCEEDED',
    `The storage policy "${profile.name}" has ${toMegabytes(Math.max(0, profile.limitBytes - used))} MB left; ${toMegabytes(bytes)} MB are needed.`,
  );
}

/** The profile that a request names, or the one that holds what names none. */
export function profileFor(world: World, org: Organization, href: string | undefined) {
  const profiles = org.vdc?.profiles ?? [];
  if (href === undefined) return profiles.find(({ isDefault }) => isDefault);
  const named = profiles.find(
    ({ id }) => profileHref(world, id) === href || href.endsWith(`/${id}`),
  );
  if (!named)
    throw badRequest('Bad request\n - VdcStorageProfile is not one of this organization.');
  return named;
}

function profileHref(world: World, id: string): string {
  return `${world.base}/api/vdcStorageProfile/${id}`;
}

/** What holds an item, as templates and media show it. */
export function profileReference(world: World, { profile }: Entity): Markup | undefined {
  return profile && referenceTo(world, profile);
}

function referenceTo(world: World, { id, name }: StorageProfile): Markup {
  return element('VdcStorageProfile', {
    href: profileHref(world, id),
    name,
    type: mime('vdcStorageProfile'),
  });
}

function getVdc(call: Call): Reply {
  const { world, params } = call;
  const found = visibleVdcs(call).find(({ vdc }) => vdc.id === params[0]);
  if (!found) throw forbidden('vdc');
  const { vdc, org } = found;
  return {
    status: 200,
    type: 'vdc',
    xml: element(
      'Vdc',
      {
        xmlns: VCLOUD,
        status: 1,
        name: vdc.name,
        id: `urn:vcloud:vdc:${vdc.id}`,
        href: `${world.base}/api/vdc/${vdc.id}`,
        type: mime('vdc'),
      },
      link('up', `${world.base}/api/org/${org.id}`, 'org'),
      ...vdcUploadLinks(call, org),
      element('AllocationModel', {}, 'Flex'),
      resourceEntities(call, org),
      element(
        'AvailableNetworks',
        {},
        ...networksOf(call, org).map(({ name, href }) =>
          element('Network', { href, name, type: mime('network') }),
        ),
      ),
      element('IsEnabled', {}, 'true'),
      element(
        'VdcStorageProfiles',
        {},
        ...vdc.profiles.map((profile) => referenceTo(world, profile)),
      ),
    ),
  };
}

/** Networks of an organisation that its vApps may be bridged to. */
export function networksOf(
  { world }: Pick<Call, 'world'>,
  { id, vdc }: Organization,
): { readonly name: string; readonly href: string }[] {
  const names = vdc ? ['office', 'lab-net'] : [];
  return names.map((name) => ({ name, href: `${world.base}/api/network/${id}-${name}` }));
}

/** Where it takes uploads, as the only place before 5.5. */
function vdcUploadLinks(call: Call, org: Organization): Markup[] {
  if (!mayAdd(call.session, org.loose)) return [];
  const href = `${call.world.base}/api/vdc/${org.vdc?.id}`;
  const instantiate = link('add', `${href}/action/instantiateOvf`, 'instantiateOvfParams');
  if (atLeast(call.version, '32.0')) return [instantiate];
  return [
    instantiate,
    link('add', `${href}/action/uploadVAppTemplate`, 'uploadVAppTemplateParams'),
    link('add', `${href}/media`, 'media'),
  ];
}

/** All templates and media of the organisation: this one data centre holds them. */
function resourceEntities(call: Call, org: Organization): Markup | undefined {
  const items = [...org.catalogs, org.loose, org.vApps].flatMap((catalog) => catalog.items);
  if (items.length === 0) return undefined;
  const entry = (item: Item): Markup =>
    element('ResourceEntity', {
      type: mime(item.entity.kind),
      name: item.name,
      href: `${call.world.base}/api/${item.entity.kind}/${item.entity.id}`,
    });
  return element('ResourceEntities', {}, ...items.map(entry));
}

function getProfile(call: Call): Reply {
  const { world, params } = call;
  const found = visibleVdcs(call)
    .flatMap(({ vdc }) => vdc.profiles.map((profile) => ({ vdc, profile })))
    .find(({ profile }) => profile.id === params[0]);
  if (!found) throw forbidden('vdcStorageProfile');
  const { vdc, profile } = found;
  return {
    status: 200,
    type: 'vdcStorageProfile',
    xml: element(
      'VdcStorageProfile',
      {
        xmlns: VCLOUD,
        name: profile.name,
        id: `urn:vcloud:vdcstorageProfile:${profile.id}`,
        href: profileHref(world, profile.id),
        type: mime('vdcStorageProfile'),
      },
      link('up', `${world.base}/api/vdc/${vdc.id}`, 'vdc'),
      element('Enabled', {}, 'true'),
      element('Units', {}, 'MB'),
      element('Limit', {}, String(toMegabytes(profile.limitBytes))),
      element('Default', {}, String(profile.isDefault)),
      element('StorageUsedMB', {}, String(toMegabytes(usedBytes(world, profile)))),
    ),
  };
}

/** Records of `type=orgVdc`. */
export function vdcRows(call: Call): Readonly<Record<string, string | number | boolean>>[] {
  return visibleVdcs(call).map(({ org, vdc }) => ({
    name: vdc.name,
    href: `${call.world.base}/api/vdc/${vdc.id}`,
    orgName: org.name,
    isEnabled: true,
    isBusy: false,
    status: 'READY',
    numberOfStorageProfiles: vdc.profiles.length,
  }));
}

/** Records of `type=orgVdcStorageProfile`; a provider's also say whose they are. */
export function profileRows(
  call: Call,
  isAdmin: boolean,
): Readonly<Record<string, string | number | boolean>>[] {
  const { world } = call;
  return visibleVdcs(call).flatMap(({ org, vdc }) =>
    vdc.profiles.map((profile) => ({
      name: profile.name,
      href: profileHref(world, profile.id),
      isEnabled: true,
      isDefaultStorageProfile: profile.isDefault,
      storageUsedMB: toMegabytes(usedBytes(world, profile)),
      storageLimitMB: toMegabytes(profile.limitBytes),
      vdc: `${world.base}/api/vdc/${vdc.id}`,
      vdcName: vdc.name,
      ...(isAdmin ? { org: `${world.base}/api/org/${org.id}` } : { isVdcBusy: false }),
    })),
  );
}
