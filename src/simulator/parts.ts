import { randomUUID } from 'node:crypto';
import { mayEdit } from './access.ts';
import type { Call, Reply } from './call.ts';
import { type Catalog, type Item, isOpen, newTask, type Task } from './model.ts';
import type { World } from './world.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

/** Pieces of answers that several resources have. */

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

export function taskElement(
  { world, session, fault }: Call,
  owner: Item | Catalog,
  task: Task,
): Markup {
  const { name } = owner;
  const mayCancel = 'entity' in owner && mayEdit(session, owner);
  const href = `${world.base}/api/task/${task.id}`;
  return element(
    'Task',
    {
      xmlns: VCLOUD,
      status: task.status,
      startTime: task.start.toISOString(),
      endTime: task.end?.toISOString(),
      operationName: task.operationName,
      operation: `${task.operation} ${name}`,
      name: 'task',
      id: `urn:vcloud:task:${task.id}`,
      href,
      type: mime('task'),
    },
    isOpen(task) && mayCancel ? link('task:cancel', `${href}/action/cancel`) : undefined,
    element('Owner', {
      href: 'entity' in owner ? entityHref(world, owner) : `${world.base}/api/catalog/${owner.id}`,
      name,
      type: mime('entity' in owner ? owner.entity.kind : 'catalog'),
    }),
    task.error && !fault?.hideError
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

/** Quick work is answered with a task that has ended already. */
export function doneTask(call: Call, item: Item, operationName: string, operation: string): Reply {
  const task: Task = {
    ...newTask(operationName, operation, call.session),
    end: new Date(),
    status: 'success',
    progress: 100,
  };
  call.world.finishedTasks.set(task.id, { item, task });
  return { status: 202, type: 'task', xml: taskElement(call, item, task) };
}
