/** Names in Redis. The hash tag keeps every key of ours in one slot, so that a Cluster works. */
export const PREFIX = '{ovaferry}';

/** Targets that jobs were ever enqueued for. */
export const TARGETS_KEY = `${PREFIX}:targets`;
/** From what makes two uploads the same to the id of their job. */
export const SAME_UPLOAD_KEY = `${PREFIX}:same`;
/** Says on which target there is something to do. */
export const WAKE_CHANNEL = `${PREFIX}:wake`;
/** This installation's id, made once. */
export const INSTALLATION_KEY = `${PREFIX}:installation`;

export function queueName(target: string): string {
  return `upload-${target}`;
}

/** Workers that serve a target: members with the time until which they are believed alive. */
export function workersKey(target: string): string {
  return `${PREFIX}:workers:${target}`;
}

/** A job's id begins with its target, so that it can be found by its id alone. */
export function targetOfJob(id: string): string {
  return id.slice(0, Math.max(0, id.lastIndexOf('-')));
}
