import type { Call, Reply, Route } from './call.ts';
import { taskElement } from './entity.ts';
import { forbidden } from './errors.ts';
import type { Item, Task } from './model.ts';

export const taskRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/task\/([^/]+)$/, handle: getTask },
  { method: 'POST', path: /^\/api\/task\/([^/]+)\/action\/cancel$/, handle: cancelTask },
];

function findTask({ world, params }: Call): { item: Item; task: Task } {
  const id = params[0] ?? '';
  const item = world.itemOfTask(id);
  if (item) return { item, task: item.entity.task };
  const finished = world.finishedTasks.get(id);
  if (!finished) throw forbidden('task');
  return finished;
}

function getTask(call: Call): Reply {
  const { item, task } = findTask(call);
  call.world.expireIdleTransfer(item.entity);
  return { status: 200, type: 'task', xml: taskElement(call.world, item, task) };
}

/** Cancelling an upload removes its item, as real servers do; not always at once. */
function cancelTask(call: Call): Reply {
  const { item, task } = findTask(call);
  const { world } = call;
  if (task.status === 'running' && task === item.entity.task) {
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
