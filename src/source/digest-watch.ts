import { Worker } from 'node:worker_threads';
import { FerryError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import type { DigestAnswer, DigestMessage } from './digest-thread.ts';

/** What the bytes [start, end) of a file must hash to. */
export interface DigestCheck {
  /** A name that node:crypto knows: sha1, sha256, sha512. */
  readonly algorithm: string;
  readonly start: number;
  readonly end: number;
  /** Hexadecimal, lower case. */
  readonly expected: string;
  /** The manifest's name for these bytes. */
  readonly name: string;
}

/**
 * Hashes a file while it is being sent. Blocks that the sender has just read are taken as they are;
 * what it did not read (the part that the server already has, after a resume) is read here, in the
 * background, so that the sender never waits for it before its last byte.
 */
export class DigestWatch {
  readonly #source: ByteSource;
  readonly #checks: readonly DigestCheck[];
  readonly #thread: Worker;
  readonly #answers: { resolve: (answer: DigestAnswer) => void; reject: (error: Error) => void }[] =
    [];
  /** Bytes [0, taken) have been given to the thread. */
  #taken = 0;
  /** How far reading by ourselves may go: where the sender is. */
  #limit = 0;
  #catchingUp: Promise<void> | undefined;
  #verdict: Promise<void> | undefined;
  #failure: Error | undefined;
  #closed = false;

  constructor(source: ByteSource, checks: readonly DigestCheck[]) {
    this.#source = source;
    this.#checks = checks;
    this.#thread = new Worker(new URL('./digest-thread.js', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8 },
    });
    this.#thread.unref();
    this.#thread.on('message', (answer: DigestAnswer) => this.#answers.shift()?.resolve(answer));
    this.#thread.on('error', (error) => this.#fail(error));
    this.#thread.on('exit', () => this.#fail(new Error('the digest thread ended')));
    const ranges = checks.map(({ algorithm, start, end }) => ({ algorithm, start, end }));
    this.#post({ kind: 'ranges', ranges });
  }

  /** How many bytes are still to be hashed before the sender's position is reached. */
  get behindBytes(): number {
    return Math.max(0, this.#limit - this.#taken);
  }

  /**
   * Shows a block that is about to be sent. The promise settles when the thread no longer needs it;
   * undefined if it does not need it at all.
   */
  observe(block: Uint8Array, start: number): Promise<void> | undefined {
    const end = start + block.length;
    this.#limit = Math.max(this.#limit, end);
    if (end <= this.#taken) return undefined;
    if (start > this.#taken) {
      this.#catchUp();
      return undefined;
    }
    const fresh = block.subarray(this.#taken - start);
    return this.#take(fresh);
  }

  /**
   * Hashes the rest and compares. Asked again, it answers the same.
   *
   * @throws FerryError DIGEST_MISMATCH naming the file and both digests
   */
  verdict(): Promise<void> {
    this.#verdict ??= this.#decide();
    return this.#verdict;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#thread.terminate();
  }

  async #decide(): Promise<void> {
    this.#limit = this.#source.size;
    while (this.#taken < this.#source.size) {
      if (this.#closed) throw new Error('the digest watch was closed');
      this.#catchUp();
      await this.#catchingUp;
    }
    const digests = await this.#ask({ kind: 'finish' });
    for (const [i, check] of this.#checks.entries()) {
      const actual = digests?.[i];
      if (actual === check.expected) continue;
      throw new FerryError(
        'DIGEST_MISMATCH',
        `${check.name} has the ${check.algorithm.toUpperCase()} ${actual}, but the manifest says ${check.expected}`,
        { facts: { member: check.name, algorithm: check.algorithm } },
      );
    }
  }

  #catchUp(): void {
    this.#catchingUp ??= this.#readBehind().finally(() => {
      this.#catchingUp = undefined;
    });
    this.#catchingUp.catch(() => undefined); // #decide reads again and meets the same error
  }

  async #readBehind(): Promise<void> {
    const block = Buffer.from(new SharedArrayBuffer(1024 * 1024));
    while (this.#taken < this.#limit && !this.#closed) {
      const start = this.#taken;
      const bytes = block.subarray(0, Math.min(block.length, this.#limit - start));
      await this.#source.read(bytes, start);
      // The sender may have come by with these very bytes while we were reading.
      if (this.#taken === start) await this.#take(bytes);
    }
  }

  async #take(bytes: Uint8Array): Promise<void> {
    const start = this.#taken;
    this.#taken += bytes.length;
    await this.#ask({ kind: 'block', bytes, start });
  }

  #ask(message: DigestMessage): Promise<DigestAnswer> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#answers.push({ resolve, reject });
      this.#post(message);
    });
  }

  #post(message: DigestMessage): void {
    this.#thread.postMessage(message);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#answers.splice(0)) reject(error);
  }
}
