import type { JobProgress, Stage } from './job-data.ts';

interface Metered {
  readonly size: number;
  /** Bytes handed to the socket, less what was sent in vain. */
  sent: number;
  /** What the server said last that it has. */
  kept: number;
  /** Where the last range ended that it took. */
  confirmed: number;
}

type MeterBefore = Pick<JobProgress, 'files' | 'bytesResent'> & { readonly bytesLost: number };

interface MeterListener {
  /** Told of all bytes, those that are sent again included. */
  readonly onSent?: (bytes: number) => void;
  readonly onEnter?: (stage: Stage) => void;
}

/** Counts what a running upload sends, and what the server had and lost again. */
export class Meter {
  #stage: Stage = 'inspecting';
  #resent: number;
  #lost: number;
  readonly #files = new Map<string, Metered>();

  /** By file what the run before this one had sent; it may have died before it could see what was kept. */
  readonly #before: Map<string, number>;

  readonly #listener: MeterListener;

  constructor(before: MeterBefore, listener: MeterListener = {}) {
    this.#before = new Map(before.files.map(({ name, sent }) => [name, sent]));
    this.#listener = listener;
    this.#resent = before.bytesResent;
    this.#lost = before.bytesLost;
  }

  enter(stage: Stage): void {
    this.#stage = stage;
    this.#listener.onEnter?.(stage);
  }

  expect(files: readonly { readonly name: string; readonly size: number }[]): void {
    for (const { name, size } of files) {
      const sent = this.#before.get(name) ?? 0;
      this.#before.delete(name); // counted once, however often this run begins anew
      this.#files.set(name, { size, sent, kept: 0, confirmed: 0 });
    }
  }

  /** Bytes of this file have been handed to the socket. */
  sent(name: string, bytes: number): void {
    const file = this.#files.get(name);
    if (file) file.sent += bytes;
    this.#listener.onSent?.(bytes);
  }

  /** The server's own count: what was sent beyond it was sent in vain. */
  kept(name: string, bytes: number): void {
    const file = this.#files.get(name);
    if (!file) return;
    this.#resent += Math.max(0, file.sent - bytes);
    file.sent = bytes;
    file.kept = bytes;
  }

  /** A range went through. Where it lies before what was confirmed, the server had lost that. */
  stored(name: string, { start, end }: { readonly start: number; readonly end: number }): void {
    const file = this.#files.get(name);
    if (!file) return;
    this.#lost += Math.max(0, file.confirmed - start);
    file.confirmed = end;
    file.kept = end;
  }

  /** The server lost everything: it is to be sent again. */
  restart(): void {
    for (const file of this.#files.values()) this.#lost += Math.max(file.confirmed, file.kept);
    this.giveUp();
  }

  /** We have decided that everything is to be sent again. */
  giveUp(): void {
    for (const [name, file] of this.#files) {
      file.confirmed = 0;
      this.kept(name, 0);
    }
  }

  /** Bytes that the server had confirmed and that were, or have to be, sent again. */
  get lost(): number {
    return this.#lost;
  }

  get resent(): number {
    return this.#resent;
  }

  snapshot(): JobProgress {
    const files = [...this.#files].map(([name, { size, sent }]) => ({ name, size, sent }));
    const sent = files.reduce((sum, file) => sum + file.sent, 0);
    let bytesConfirmed = 0;
    for (const { kept } of this.#files.values()) bytesConfirmed += kept;
    return {
      stage: this.#stage,
      bytesSent: sent + this.#resent,
      bytesTotal: files.reduce((sum, file) => sum + file.size, 0),
      bytesResent: this.#resent,
      bytesConfirmed,
      files,
    };
  }
}
