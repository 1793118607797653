import type { Checkpoint, JobData } from './job-data.ts';
import type { Lease } from './lease.ts';
import type { Log } from './upload-deps.ts';

/** A running job's data in memory, and the one way to change it. */
export class JobRecord {
  readonly id: string;
  /** Milliseconds since the epoch: when this run began. */
  readonly begunAt = Date.now();
  data: JobData;
  readonly #lease: Lease;
  readonly #log: Log;

  /** @param parts of the log every line names the job and its run already */
  constructor(id: string, data: JobData, parts: { readonly lease: Lease; readonly log: Log }) {
    this.id = id;
    this.data = data;
    this.#lease = parts.lease;
    this.#log = parts.log;
  }

  /** Writes a line about this job. */
  say(level: 'info' | 'warn' | 'error', message: string): void {
    const { name, catalog } = this.data.request;
    this.#log[level]({ name, catalog }, message);
  }

  /** Stored with the next beat. */
  note(patch: Partial<JobData>): void {
    this.data = { ...this.data, ...patch };
    this.#lease.note(this.data);
  }

  /** @throws FerryError LOCK_LOST, REDIS_UNAVAILABLE; then nothing has changed */
  async save(patch: Partial<JobData>): Promise<void> {
    const before = this.data;
    await this.#save(patch, () => this.note(undone(this.data, patch, before)));
  }

  noteCheckpoint(patch: Partial<Checkpoint>): void {
    this.note(this.#withCheckpoint(patch));
  }

  /** @throws FerryError as `save` */
  async saveCheckpoint(patch: Partial<Checkpoint>): Promise<void> {
    const before = this.data.checkpoint;
    await this.#save(this.#withCheckpoint(patch), () =>
      this.noteCheckpoint(undone(this.data.checkpoint, patch, before)),
    );
  }

  async #save(patch: Partial<JobData>, undo: () => void): Promise<void> {
    this.data = { ...this.data, ...patch };
    try {
      await this.#lease.save(this.data);
    } catch (error) {
      undo(); // what was refused must not be stored by a later beat, for it will be acted on otherwise
      throw error;
    }
  }

  #withCheckpoint(patch: Partial<Checkpoint>): Partial<JobData> {
    return { checkpoint: { ...this.data.checkpoint, ...patch } };
  }
}

/** What undoes a patch, but for what somebody else has written in the meantime. */
function undone<T extends object>(now: T, patch: Partial<T>, before: T): Partial<T> {
  const keys = (Object.keys(patch) as (keyof T)[]).filter((key) => now[key] === patch[key]);
  return Object.fromEntries(keys.map((key) => [key, before[key]])) as Partial<T>;
}
