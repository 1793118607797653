/** Names in Redis. The hash tag keeps every key of ours in one slot, so that a Cluster works. */
export const PREFIX = '{ovaferry}';

/** Queues that jobs were ever put into. */
export const QUEUES_KEY = `${PREFIX}:queues`;
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
/** Written to see whether Redis takes writes. */
export const PROBE_KEY = `${PREFIX}:probe`;
/** This installation's id, made once. */
export const INSTALLATION_KEY = `${PREFIX}:installation`;

/**
 * The queue of a target's jobs, or of those that only the workers of a pool can work on: `TARGET` or
 * `TARGET.POOL`. Names of targets and pools have no dot.
 */
export function queueOf(target: string, pool: string | null): string {
  return pool === null ? target : `${target}.${pool}`;
}

export function targetOfQueue(queue: string): string {
  return queue.split('.')[0] ?? '';
}

export function poolOfQueue(queue: string): string | null {
  return queue.split('.')[1] ?? null;
}

/** As BullMQ has it. */
export function queueName(queue: string): string {
  return `upload-${queue}`;
}

/** Workers that serve a queue: members with the time until which they are believed alive. */
export function workersKey(queue: string): string {
  return `${PREFIX}:workers:${queue}`;
}

/**
 * What ids of jobs look like, for patterns: `lab-0123456789abcdef`, of a pool `lab.dc1-0123456789abcdef`.
 * An id begins with its queue, so that the job can be found by its id alone.
 */
export const JOB_ID = '[\\w-]+(?:\\.[\\w-]+)?-\\w+';

const JOB_ID_ALONE = new RegExp(`^${JOB_ID}$`);

export function isJobId(text: string): boolean {
  return JOB_ID_ALONE.test(text);
}

/** @param unique letters and digits */
export function jobIdOf(queue: string, unique: string): string {
  return `${queue}-${unique}`;
}

export function queueOfJob(id: string): string {
  return id.slice(0, Math.max(0, id.lastIndexOf('-')));
}

export function targetOfJob(id: string): string {
  return targetOfQueue(queueOfJob(id));
}

/** Uploads that use the line to a target: members with the time until which they hold their place. */
export function lineKey(target: string): string {
  return `${PREFIX}:line:${target}`;
}

/** Runs of a target's jobs that are under way: members with the time until which they are believed so. */
export function runsKey(target: string): string {
  return `${PREFIX}:runs:${target}`;
}

/** Bytes of a storage profile that jobs under way will take. */
export function storageKey(profile: string): string {
  return `${PREFIX}:storage:${profile}`;
}

/** From a target to how many operations its vCD allows at once, as far as it has told. */
export const CEILINGS_KEY = `${PREFIX}:ceilings`;

/** From a target to the smallest body that something in front of it has refused. */
export const BODY_LIMITS_KEY = `${PREFIX}:body-limits`;

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

/** From a job's id to the receipt of what it uploaded. */
export const LEDGER_KEY = `${PREFIX}:ledger`;

/** Names of batches, by when they were begun. */
export const BATCHES_KEY = `${PREFIX}:batches`;

/** A batch's jobs that are not done, those that are, and its totals. */
export function batchKeys(batch: string): { open: string; done: string; totals: string } {
  return {
    open: `${PREFIX}:batch-open:${batch}`,
    done: `${PREFIX}:batch-done:${batch}`,
    totals: `${PREFIX}:batch-totals:${batch}`,
  };
}

/** From a job that is not done to the batches that it belongs to, and its bytes in each. */
export const MEMBERSHIPS_KEY = `${PREFIX}:memberships`;

/** Bytes sent in each slice of time, to a target or for a batch. */
export function rateKey(of: 'target' | 'limited-target' | 'batch', name: string): string {
  return `${PREFIX}:rate-${of}:${name}`;
}

/** How long the last imports on a target took. */
export function importsKey(target: string): string {
  return `${PREFIX}:imports:${target}`;
}

/** Held for a day by the worker that has forgotten what is too old. */
export const FORGET_KEY = `${PREFIX}:forget`;

/** Held by the worker that looks whether there is something to notify of. */
export const WATCH_KEY = `${PREFIX}:watch`;

/** Who takes how many bytes of what may be begun and not imported; who waits for that. */
export function inFlightKey(of: string): { taken: string; waiting: string; seen: string } {
  return {
    taken: `${PREFIX}:in-flight:${of}`,
    waiting: `${PREFIX}:in-flight-waiting:${of}`,
    seen: `${PREFIX}:in-flight-seen:${of}`,
  };
}

/** A bucket that processes draw from together, and who does. */
export function bucketKey(name: string): { level: string; users: string } {
  return { level: `${PREFIX}:bucket:${name}`, users: `${PREFIX}:bucket-users:${name}` };
}

/** Batches that wait for their turns in a queue, by the bytes they were given. */
export function lanesKey(queue: string): string {
  return `${PREFIX}:lanes:${queue}`;
}

/** Jobs that wait for a time before they wait for their turns. */
export function laterKey(queue: string): string {
  return `${PREFIX}:later:${queue}`;
}

/** Jobs that read from an item that is enabled for download. */
export function offerKey(entityPath: string): string {
  return `${PREFIX}:offer:${entityPath}`;
}

/** Delayed jobs of a queue that have begun: they have something on the server. */
export function begunKey(queue: string): string {
  return `${PREFIX}:begun:${queue}`;
}

/** A batch's jobs that wait for their turns in a queue. */
export function laneKey(queue: string, batch: string): string {
  return `${PREFIX}:lane:${queue}:${batch}`;
}
