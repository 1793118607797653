import { assertMayEdit, findByEntity, isInCatalog, mayEdit } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { downloadParts } from './download.ts';
import type { FaultAction } from './faults.ts';
import { leaseElement } from './lease.ts';
import { assertIdle, type Item, renameItem, type TransferFile } from './model.ts';
import { doneTask, entityHref, taskElement } from './parts.ts';
import { attributeOf, childText, parseRequest } from './validate.ts';
import { profileReference } from './vdc.ts';
import { element, link, type Markup, mime, OVF, VCLOUD } from './xml.ts';

/** vApp templates and media: what a catalog item stands for. */
export const entityRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/(?:vAppTemplate|media|vApp)\/([^/]+)$/, handle: getEntity },
  { method: 'PUT', path: /^\/api\/(?:vAppTemplate|media|vApp)\/([^/]+)$/, handle: editEntity },
  { method: 'DELETE', path: /^\/api\/(?:vAppTemplate|media|vApp)\/([^/]+)$/, handle: deleteEntity },
];

function getEntity(call: Call): Reply {
  const item = findByEntity(call);
  call.world.expireIdleTransfer(item.entity);
  return { ...entityReply(call, item), status: 200 };
}

/** An entity as it is now, as the answer to what made it. */
export function entityReply(call: Call, item: Item): Reply {
  const { entity } = item;
  const made = { media: mediaElement, vAppTemplate: templateElement, vApp: vAppElement };
  const xml = made[entity.kind](call, item);
  return { status: 201, type: entity.kind, xml };
}

function templateElement(call: Call, item: Item): Markup {
  const { entity } = item;
  const { world } = call;
  return element(
    'VAppTemplate',
    {
      xmlns: VCLOUD,
      'xmlns:ovf': OVF,
      ovfDescriptorUploaded: entity.descriptorUploaded,
      goldMaster: false,
      status: call.fault?.showStatus ?? entity.status,
      name: item.name,
      id: `urn:vcloud:vapptemplate:${entity.id.replace('vappTemplate-', '')}`,
      href: entityHref(world, item),
      type: mime('vAppTemplate'),
    },
    ...commonParts(call, item),
    ownerElement(entity.owner),
    element('Children'),
    leaseElement(world, item),
    entity.profile && element('DefaultStorageProfile', {}, entity.profile.name),
    element('DateCreated', {}, item.created.toISOString()),
  );
}

function vAppElement(call: Call, item: Item): Markup {
  const { entity } = item;
  const href = entityHref(call.world, item);
  return element(
    'VApp',
    {
      xmlns: VCLOUD,
      'xmlns:ovf': OVF,
      ovfDescriptorUploaded: entity.descriptorUploaded,
      deployed: entity.status === 4,
      status: call.fault?.showStatus ?? entity.status,
      name: item.name,
      id: `urn:vcloud:vapp:${entity.id.replace('vapp-', '')}`,
      href,
      type: mime('vApp'),
    },
    entity.status === 8 && mayEdit(call.session, item)
      ? link('power:powerOn', `${href}/power/action/powerOn`)
      : undefined,
    ...commonParts(call, item),
    ownerElement(entity.owner),
    element('InMaintenanceMode', {}, 'false'),
  );
}

function mediaElement(call: Call, item: Item): Markup {
  const { entity } = item;
  const { world } = call;
  return element(
    'Media',
    {
      xmlns: VCLOUD,
      imageType: entity.imageType,
      size: entity.received[0]?.size ?? 0,
      status: call.fault?.showStatus ?? entity.status,
      name: item.name,
      id: `urn:vcloud:media:${entity.id}`,
      href: entityHref(world, item),
      type: mime('media'),
    },
    ...commonParts(call, item),
    ownerElement(entity.owner),
    profileReference(world, entity),
  );
}

/** Link, Description, Tasks, Files: in the order of the schema. */
function commonParts(call: Call, item: Item): (Markup | undefined)[] {
  const { entity } = item;
  const { world, session } = call;
  const href = entityHref(world, item);
  const { links, files } = downloadParts(call, item);
  // Whoever has such an address can write to the item.
  const uploads = entity.files.map((file) => fileElement(call, file, mayEdit(session, item)));
  const listed = [...uploads, ...files];
  if (call.fault?.reverseFiles) listed.reverse();
  return [
    isInCatalog(item)
      ? link('up', `${world.base}/api/catalogItem/${item.id}`, 'catalogItem')
      : undefined,
    ...(mayEdit(session, item) ? [link('edit', href, entity.kind), link('remove', href)] : []),
    ...links,
    element('Description', {}, item.description),
    tasksElement(call, item),
    listed.length > 0 ? element('Files', {}, ...listed) : undefined,
  ];
}

/** What has failed stays listed, what has succeeded does not. */
function tasksElement(call: Call, item: Item): Markup | undefined {
  const { task, enabling } = item.entity;
  const listed = [task, enabling].filter((one) => one && one.status !== 'success');
  if (listed.length === 0) return undefined;
  return element('Tasks', {}, ...listed.map((one) => one && taskElement(call, item, one)));
}

function fileElement({ world, fault }: Call, file: TransferFile, isWritable: boolean): Markup {
  const size = file.size ?? (file.complete ? file.sink.stored : undefined);
  // Before it is sent, the descriptor's size is not known; a file's without ovf:size is -1.
  const shown = size ?? (file.name === 'descriptor.ovf' ? undefined : -1);
  return element(
    'File',
    { size: shown, bytesTransferred: shownCount(file, fault), name: file.name },
    isWritable
      ? link(
          'upload:default',
          `${world.transferBase}/transfer/${file.key}/${encodeURIComponent(file.name)}`,
        )
      : undefined,
  );
}

/** As a cell shows it: the shared store may be ahead of what it knows. */
function shownCount(
  { sink, history }: TransferFile,
  { counterLagMs, counterOffset = 0 }: FaultAction = {},
): number {
  const until = Date.now() - (counterLagMs ?? 0);
  const seen = counterLagMs === undefined ? undefined : history.findLast(({ at }) => at <= until);
  const count = counterLagMs === undefined ? sink.stored : (seen?.stored ?? 0);
  return Math.max(0, count + counterOffset);
}

function ownerElement(user: string): Markup {
  return element(
    'Owner',
    { type: mime('owner') },
    element('User', {
      href: 'urn:vcloud:user:1',
      name: user,
      type: 'application/vnd.vmware.admin.user+xml',
    }),
  );
}

/** Name and description are what an edit may change; both go over to the catalog item. */
function editEntity(call: Call): Reply {
  const item = findByEntity(call);
  assertMayEdit(call, item);
  const root = { media: 'Media', vAppTemplate: 'VAppTemplate', vApp: 'VApp' }[item.entity.kind];
  const edited = parseRequest(call.body, root);
  renameItem(item, attributeOf(edited, 'name') ?? item.name);
  item.description = childText(edited, 'Description') ?? '';
  return doneTask(call, item, 'vdcUpdateTemplate', 'Updating');
}

function deleteEntity(call: Call): Reply {
  const item = findByEntity(call);
  assertMayEdit(call, item);
  assertIdle(item);
  call.world.remove(item);
  return doneTask(call, item, 'vdcDeleteTemplate', 'Deleting');
}
