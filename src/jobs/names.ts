/** Names in Redis. The hash tag keeps every key of ours in one slot, so that a Cluster works. */
export const PREFIX = '{ovaferry}';

/** Targets that jobs were ever enqueued for. */
export const TARGETS_KEY = `${PREFIX}:targets`;
/** From what makes two uploads the same to the id of their job. */
export const SAME_UPLOAD_KEY = `${PREFIX}:same`;
/** From a catalog's URN and an item's name to the job that may make or replace that item. */
export const RESERVED_KEY = `${PREFIX}:reserved`;
/** From a target to what keeps its jobs back. */
export const BRAKES_KEY = `${PREFIX}:brakes`;
/** From a target to the last failure for good and how often in a row it came. */
export const STREAKS_KEY = `${PREFIX}:streaks`;
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

/** Uploads that use the line to a target: members with the time until which they hold their place. */
export function lineKey(target: string): string {
  return `${PREFIX}:line:${target}`;
}

/** Bytes of a storage profile that jobs under way will take. */
export function storageKey(profile: string): string {
  return `${PREFIX}:storage:${profile}`;
}

/** From a target to how many operations its vCD allows at once, as far as it has told. */
export const CEILINGS_KEY = `${PREFIX}:ceilings`;

/** From a target and a host to when its login was rejected last, and how often in a row. */
export const REJECTIONS_KEY = `${PREFIX}:rejections`;

/** Held while somebody logs in to a target. */
export function loginKey(target: string): string {
  return `${PREFIX}:login:${target}`;
}

/** Held by the worker whose job tries whether a braked target works again. */
export function trialKey(target: string): string {
  return `${PREFIX}:trial:${target}`;
}

/** Jobs of a target that somebody wants ended, for workers that fetch no others at present. */
export function wishesKey(target: string): string {
  return `${PREFIX}:wishes:${target}`;
}
