import { assertMayEdit, holders, visibleCatalogs } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { forbidden } from './errors.ts';
import { type Item, isOpen, type Task } from './model.ts';
import { taskElement } from './parts.ts';

export const taskRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/task\/([^/]+)$/, handle: getTask },
  { method: 'POST', path: /^\/api\/task\/([^/]+)\/action\/cancel$/, handle: cancelTask },
];

function findTask(call: Call): { item: Item; task: Task } {
  const { world, params } = call;
  const id = params[0] ?? '';
  const open = world.itemOfTask(id);
  const found = open ? { item: open, task: open.entity.task } : world.finishedTasks.get(id);
  if (!found || !holders(call).includes(found.item.catalog)) throw forbidden('task');
  return found;
}

function getTask(call: Call): Reply {
  const ofCatalog = call.world.catalogTasks.get(call.params[0] ?? '');
  if (ofCatalog && visibleCatalogs(call).includes(ofCatalog.catalog)) {
    const { catalog, task } = ofCatalog;
    return { status: 200, type: 'task', xml: taskElement(call, catalog, task) };
  }
  const { item, task } = findTask(call);
  call.world.expireIdleTransfer(item.entity);
  return { status: 200, type: 'task', xml: taskElement(call, item, task) };
}

/** Cancelling an upload removes its item, as real servers do; not always at once. */
function cancelTask(call: Call): Reply {
  const { item, task } = findTask(call);
  const { world } = call;
  assertMayEdit(call, item);
  if (isOpen(task) && task === item.entity.task) {
    const cancel = (): void => {
      task.status = 'canceled';
      task.end = new Date();
      world.finishedTasks.set(task.id, { item, task });
      world.remove(item);
    };
    const { cancelTimeMs } = world.options;
    if (cancelTimeMs === 0) cancel();
    else setTimeout(cancel, cancelTimeMs).unref();
  }
  return { status: 204 };
}
