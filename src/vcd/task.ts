import type { XmlElement } from '../xml.ts';
import { messageOf, type VcdMessage } from './answer.ts';

/** Work that vCD does by itself. */
export interface TaskState {
  readonly href: string;
  readonly status: string;
  readonly error: VcdMessage | undefined;
  readonly cancelHref: string | undefined;
}

/** By relation and, where one is given, by type; never by position. Types differ in case. */
export function findLink(root: XmlElement, rel: string, type?: string): XmlElement | undefined {
  return root
    .children('Link')
    .find(
      (link) =>
        link.attribute('rel') === rel &&
        (type === undefined || link.attribute('type')?.toLowerCase() === type.toLowerCase()),
    );
}

export function parseTask(task: XmlElement): TaskState {
  const error = task.child('Error');
  return {
    href: task.attribute('href') ?? '',
    status: (task.attribute('status') ?? '').toLowerCase(),
    error: error ? messageOf(error) : undefined,
    cancelHref: findLink(task, 'task:cancel')?.attribute('href'),
  };
}

const UNDER_WAY = new Set(['queued', 'prerunning', 'running', 'postrunning']);

/** True while vCD itself has something to do: a task that waits for its turn may wait for ever. */
export function isUnderWay({ status }: TaskState): boolean {
  return UNDER_WAY.has(status);
}
