import { randomUUID } from 'node:crypto';
import type { Call, Reply, Route } from './call.ts';
import { forbidden } from './errors.ts';
import type { FaultAction } from './faults.ts';
import { assertIdle, type Item, renameItem, type Task, type TransferFile } from './model.ts';
import { visibleOrgs } from './organization.ts';
import { attributeOf, childText, parseRequest } from './validate.ts';
import type { World } from './world.ts';
import { element, link, type Markup, mime, OVF, VCLOUD } from './xml.ts';

/** vApp templates and media: what a catalog item stands for. */
export const entityRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/(?:vAppTemplate|media)\/([^/]+)$/, handle: getEntity },
  { method: 'PUT', path: /^\/api\/(?:vAppTemplate|media)\/([^/]+)$/, handle: editEntity },
  { method: 'DELETE', path: /^\/api\/(?:vAppTemplate|media)\/([^/]+)$/, handle: deleteEntity },
];

export function entityHref(world: World, { entity }: Item): string {
  return `${world.base}/api/${entity.kind}/${entity.id}`;
}

export function entityReference(world: World, item: Item): Markup {
  return element('Entity', {
    href: entityHref(world, item),
    type: mime(item.entity.kind),
    name: item.name,
  });
}

export function findOwn({ world, session, params }: Call): Item {
  const item = world.itemOfEntity(params[0] ?? '');
  if (!item || !visibleOrgs(world.orgs, session.org).includes(item.catalog.org)) {
    throw forbidden('entity');
  }
  return item;
}

function getEntity(call: Call): Reply {
  const item = findOwn(call);
  call.world.expireIdleTransfer(item.entity);
  const { entity } = item;
  const xml = entity.kind === 'media' ? mediaElement(call, item) : templateElement(call, item);
  return { status: 200, type: entity.kind, xml };
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
      status: entity.status,
      name: item.name,
      id: `urn:vcloud:vapptemplate:${entity.id.replace('vappTemplate-', '')}`,
      href: entityHref(world, item),
      type: mime('vAppTemplate'),
    },
    ...commonParts(call, item),
    ownerElement(entity.owner),
    element('Children'),
    element('DateCreated', {}, item.created.toISOString()),
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
      status: entity.status,
      name: item.name,
      id: `urn:vcloud:media:${entity.id}`,
      href: entityHref(world, item),
      type: mime('media'),
    },
    ...commonParts(call, item),
    ownerElement(entity.owner),
  );
}

/** Link, Description, Tasks, Files: in the order of the schema. */
function commonParts(call: Call, item: Item): Markup[] {
  const { entity } = item;
  const { world } = call;
  const href = entityHref(world, item);
  const parts = [
    link('up', `${world.base}/api/catalogItem/${item.id}`, 'catalogItem'),
    link('edit', href, entity.kind),
    link('remove', href),
    element('Description', {}, item.description),
  ];
  if (entity.task.status !== 'success') {
    parts.push(element('Tasks', {}, taskElement(world, item, entity.task)));
  }
  if (entity.files.length > 0) {
    parts.push(element('Files', {}, ...entity.files.map((file) => fileElement(call, file))));
  }
  return parts;
}

function fileElement({ world, fault }: Call, file: TransferFile): Markup {
  const size = file.size ?? (file.complete ? file.sink.stored : undefined);
  // Before it is sent, the descriptor's size is not known; a file's without ovf:size is -1.
  const shown = size ?? (file.name === 'descriptor.ovf' ? undefined : -1);
  return element(
    'File',
    { size: shown, bytesTransferred: shownCount(file, fault), name: file.name },
    link('upload:default', `${world.base}/transfer/${file.key}/${encodeURIComponent(file.name)}`),
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

export function taskElement(world: World, item: Item, task: Task): Markup {
  const href = `${world.base}/api/task/${task.id}`;
  return element(
    'Task',
    {
      xmlns: VCLOUD,
      status: task.status,
      startTime: task.start.toISOString(),
      endTime: task.end?.toISOString(),
      operationName: task.operationName,
      operation: `${task.operation} ${item.name}`,
      name: 'task',
      id: `urn:vcloud:task:${task.id}`,
      href,
      type: mime('task'),
    },
    task.status === 'running' ? link('task:cancel', `${href}/action/cancel`) : undefined,
    element('Owner', {
      href: entityHref(world, item),
      name: item.name,
      type: mime(item.entity.kind),
    }),
    task.error
      ? element('Error', {
          majorErrorCode: task.error.majorCode,
          minorErrorCode: task.error.minorCode,
          message: `[ ${randomUUID()} ] ${task.error.message}`,
        })
      : undefined,
    element('User', { href: `${world.base}/api/admin/user/1`, name: task.user }),
    element('Progress', {}, String(task.progress)),
  );
}

/** Name and description are what an edit may change; both go over to the catalog item. */
function editEntity(call: Call): Reply {
  const item = findOwn(call);
  const root = item.entity.kind === 'media' ? 'Media' : 'VAppTemplate';
  const edited = parseRequest(call.body, root);
  renameItem(item, attributeOf(edited, 'name') ?? item.name);
  item.description = childText(edited, 'Description') ?? '';
  return doneTask(call, item, 'vdcUpdateTemplate', 'Updating');
}

function deleteEntity(call: Call): Reply {
  const item = findOwn(call);
  assertIdle(item);
  call.world.remove(item);
  return doneTask(call, item, 'vdcDeleteTemplate', 'Deleting');
}

/** Quick work is answered with a task that has ended already. */
export function doneTask(call: Call, item: Item, operationName: string, operation: string): Reply {
  const now = new Date();
  const task: Task = {
    id: randomUUID(),
    operationName,
    operation,
    start: now,
    end: now,
    user: call.session.user,
    status: 'success',
    progress: 100,
  };
  call.world.finishedTasks.set(task.id, { item, task });
  return { status: 202, type: 'task', xml: taskElement(call.world, item, task) };
}
