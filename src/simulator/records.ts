import { visibleCatalogs, visibleItems, visibleOrgs } from './access.ts';
import type { Call } from './call.ts';
import { type Catalog, type Item, isOpen, sizeOf } from './model.ts';
import { entityHref } from './parts.ts';
import { profileRows, vdcRows } from './vdc.ts';
import { atLeast } from './versions.ts';

/** A record of the query service: its attributes. */
export type Row = Readonly<Record<string, string | number | boolean>>;

export interface QueryType {
  /** Without `Record` or `Reference`. */
  readonly element: string;
  /** The `…` of the MIME type of what a record stands for. */
  readonly type: string;
  readonly rows: (call: Call) => Row[];
  /** What filters and orders may name. */
  readonly properties: string;
  /** A provider's own view. */
  readonly isAdmin?: true;
}

const CATALOG = 'name href orgName isPublished isShared creationDate ownerName';
const ITEM =
  'name href catalog catalogName entity entityName entityType isExpired status ownerName creationDate';
const COMMON =
  'name href catalogName org ownerName creationDate isBusy status vdc vdcName storageProfileName';
const TEMPLATE = `${COMMON} isDeployed isExpired storageKB catalogItem`;
const MEDIA = `${COMMON} storageB catalog catalogItem`;
const PROFILE =
  'name href isEnabled isDefaultStorageProfile storageUsedMB storageLimitMB vdc vdcName';

export const QUERY_TYPES: Readonly<Record<string, QueryType>> = {
  organization: {
    element: 'Org',
    type: 'org',
    rows: orgRows,
    properties:
      'name displayName href isEnabled isReadOnly canPublishCatalogs numberOfCatalogs numberOfVdcs',
  },
  catalog: {
    element: 'Catalog',
    type: 'catalog',
    rows: (call) => catalogRows(call, '/api'),
    properties: `${CATALOG} numberOfVAppTemplates numberOfMedia publishSubscriptionType status`,
  },
  adminCatalog: {
    element: 'AdminCatalog',
    type: 'catalog',
    rows: (call) => catalogRows(call, '/api/admin'),
    properties: CATALOG,
    isAdmin: true,
  },
  catalogItem: {
    element: 'CatalogItem',
    type: 'catalogItem',
    rows: itemRows,
    properties: ITEM,
  },
  adminCatalogItem: {
    element: 'AdminCatalogItem',
    type: 'catalogItem',
    rows: itemRows,
    properties: ITEM,
    isAdmin: true,
  },
  vAppTemplate: {
    element: 'VAppTemplate',
    type: 'vAppTemplate',
    rows: templateRows,
    properties: TEMPLATE,
  },
  adminVAppTemplate: {
    element: 'AdminVAppTemplate',
    type: 'vAppTemplate',
    rows: templateRows,
    properties: TEMPLATE,
    isAdmin: true,
  },
  media: { element: 'Media', type: 'media', rows: mediaRows, properties: MEDIA },
  adminMedia: {
    element: 'AdminMedia',
    type: 'media',
    rows: mediaRows,
    properties: MEDIA,
    isAdmin: true,
  },
  task: {
    element: 'Task',
    type: 'task',
    rows: taskRows,
    properties:
      'name href status object objectName objectType orgName ownerName progress startDate',
  },
  orgVdc: {
    element: 'OrgVdc',
    type: 'vdc',
    rows: vdcRows,
    properties: 'name href orgName isEnabled isBusy status numberOfStorageProfiles',
  },
  orgVdcStorageProfile: {
    element: 'OrgVdcStorageProfile',
    type: 'vdcStorageProfile',
    rows: (call) => profileRows(call, false),
    properties: `${PROFILE} isVdcBusy`,
  },
  adminOrgVdcStorageProfile: {
    element: 'AdminOrgVdcStorageProfile',
    type: 'vdcStorageProfile',
    rows: (call) => profileRows(call, true),
    properties: `${PROFILE} org`,
    isAdmin: true,
  },
};

function orgRows(call: Call): Row[] {
  return visibleOrgs(call).map((org) => ({
    name: org.name,
    displayName: org.name,
    href: `${call.world.base}/api/org/${org.id}`,
    isEnabled: true,
    isReadOnly: false,
    canPublishCatalogs: false,
    numberOfCatalogs: org.catalogs.length,
    numberOfVdcs: org.vdc ? 1 : 0,
  }));
}

function catalogRows(call: Call, path: string): Row[] {
  const { base } = call.world;
  const countOf = ({ items }: Catalog, kind: Item['entity']['kind']): number =>
    items.filter(({ entity }) => entity.kind === kind).length;
  return visibleCatalogs(call).map((catalog) => ({
    name: catalog.name,
    href: `${base}${path}/catalog/${catalog.id}`,
    orgName: catalog.org.name,
    isPublished: catalog.kind === 'read-only',
    isShared: catalog.sharedWith.length > 0,
    creationDate: catalog.created.toISOString(),
    ownerName: 'admin',
    // The administrator's records have less.
    ...(path === '/api'
      ? {
          numberOfVAppTemplates: countOf(catalog, 'vAppTemplate'),
          numberOfMedia: countOf(catalog, 'media'),
          publishSubscriptionType: catalog.kind === 'subscribed' ? 'SUBSCRIBED' : 'UNPUBLISHED',
          status: 'READY',
        }
      : {}),
  }));
}

function statusOf({ entity }: Item): string {
  if (entity.status < 0) return 'FAILED_CREATION';
  return entity.status > 0 && entity.status !== 17 ? 'RESOLVED' : 'UNRESOLVED';
}

function itemRows(call: Call): Row[] {
  const { base } = call.world;
  return visibleItems(call).map((item) => ({
    name: item.name,
    href: `${base}/api/catalogItem/${item.id}`,
    catalog: `${base}/api/catalog/${item.catalog.id}`,
    catalogName: item.catalog.name,
    entity: entityHref(call.world, item),
    entityName: item.name,
    entityType: item.entity.kind.toLowerCase(),
    isExpired: false,
    status: statusOf(item),
    ownerName: item.entity.owner,
    creationDate: item.created.toISOString(),
  }));
}

function commonOf(call: Call, item: Item): Row {
  const { base } = call.world;
  const { org } = item.catalog;
  return {
    name: item.name,
    href: entityHref(call.world, item),
    catalogName: item.catalog.name,
    org: `${base}/api/org/${org.id}`,
    ownerName: item.entity.owner,
    creationDate: item.created.toISOString(),
    isBusy: isOpen(item.entity.task),
    status: statusOf(item),
    ...(org.vdc ? { vdc: `${base}/api/vdc/${org.vdc.id}`, vdcName: org.vdc.name } : {}),
    ...(item.entity.profile ? { storageProfileName: item.entity.profile.name } : {}),
  };
}

function templateRows(call: Call): Row[] {
  return visibleItems(call)
    .filter(({ entity }) => entity.kind === 'vAppTemplate')
    .map((item) => ({
      ...commonOf(call, item),
      isDeployed: false,
      isExpired: false,
      // Later releases say how much it takes, and of which item it is.
      ...(atLeast(call.version, '33.0')
        ? {
            storageKB: Math.ceil(sizeOf(item.entity) / 1024),
            catalogItem: `${call.world.base}/api/catalogItem/${item.id}`,
          }
        : {}),
    }));
}

function mediaRows(call: Call): Row[] {
  return visibleItems(call)
    .filter(({ entity }) => entity.kind === 'media')
    .map((item) => ({
      ...commonOf(call, item),
      storageB: item.entity.received[0]?.size ?? 0,
      catalog: `${call.world.base}/api/catalog/${item.catalog.id}`,
      catalogItem: `${call.world.base}/api/catalogItem/${item.id}`,
    }));
}

/** Of one's own organisation alone, whatever others share. */
function taskRows(call: Call): Row[] {
  const orgs = visibleOrgs(call);
  const own = visibleItems(call).filter(({ catalog }) => orgs.includes(catalog.org));
  return own.map((item) => {
    const { task } = item.entity;
    return {
      name: task.operationName,
      href: `${call.world.base}/api/task/${task.id}`,
      status: task.status,
      object: entityHref(call.world, item),
      objectName: item.name,
      objectType: item.entity.kind,
      orgName: task.org,
      ownerName: task.user,
      progress: task.progress,
      startDate: task.start.toISOString(),
    };
  });
}
