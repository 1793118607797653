import type { JobProgress, Stage } from './job-data.ts';

/** Counts what a running upload sends, for people. Nothing is decided by it. */
export class Meter {
  #stage: Stage = 'inspecting';
  #resent: number;
  readonly #files = new Map<string, { size: number; sent: number }>();

  /** What the run before this one had sent; it may have died before it could see what was kept. */
  readonly #before: Pick<JobProgress, 'files' | 'bytesResent'>;

  constructor(before: Pick<JobProgress, 'files' | 'bytesResent'>) {
    this.#before = before;
    this.#resent = before.bytesResent;
  }

  enter(stage: Stage): void {
    this.#stage = stage;
  }

  expect(files: readonly { readonly name: string; readonly size: number }[]): void {
    for (const { name, size } of files) {
      const sent = this.#before.files.find((file) => file.name === name)?.sent ?? 0;
      this.#files.set(name, { size, sent });
    }
  }

  /** Bytes of this file have been handed to the socket. */
  sent(name: string, bytes: number): void {
    const file = this.#files.get(name);
    if (file) file.sent += bytes;
  }

  /** The server's own count: what was sent beyond it was sent in vain. */
  kept(name: string, bytes: number): void {
    const file = this.#files.get(name);
    if (!file) return;
    this.#resent += Math.max(0, file.sent - bytes);
    file.sent = bytes;
  }

  get resent(): number {
    return this.#resent;
  }

  snapshot(): JobProgress {
    const files = [...this.#files].map(([name, { size, sent }]) => ({ name, size, sent }));
    const sent = files.reduce((sum, file) => sum + file.sent, 0);
    return {
      stage: this.#stage,
      bytesSent: sent + this.#resent,
      bytesTotal: files.reduce((sum, file) => sum + file.size, 0),
      bytesResent: this.#resent,
      files,
    };
  }
}
