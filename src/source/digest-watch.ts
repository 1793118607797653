import type { Worker } from 'node:worker_threads';
import { FerryError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import type { DigestAnswer, DigestMessage } from './digest-thread.ts';
import { giveBackThread, takeThread } from './digest-threads.ts';

/** A digest of the bytes [start, end) of a file. */
export interface DigestWish {
  /** A name that node:crypto knows: sha1, sha256, sha512. */
  readonly algorithm: string;
  readonly start: number;
  readonly end: number;
  /** Hexadecimal, lower case; undefined where the digest is only to be known. */
  readonly expected: string | undefined;
  /** The manifest's name for these bytes. */
  readonly name: string;
}

/** What the bytes must hash to. */
export interface DigestCheck extends DigestWish {
  readonly expected: string;
}

/** How far a file has been hashed, so that another process can go on from there. */
export interface DigestState {
  /** Bytes [0, offset) are in. */
  readonly offset: number;
  /** Base64, in the order of the checks. */
  readonly states: readonly string[];
}

/**
 * Hashes a file while it is being sent. Blocks that the sender has just read are taken as they are;
 * what it did not read (the part that the server already has, after a resume) is read here, in the
 * background, so that the sender never waits for it before its last byte.
 */
export class DigestWatch {
  readonly #source: ByteSource;
  readonly #checks: readonly DigestWish[];
  readonly #thread: Worker;
  readonly #answers: { resolve: (answer: DigestAnswer) => void; reject: (error: Error) => void }[] =
    [];
  /** Bytes [0, taken) have been given to the thread. */
  #taken = 0;
  /** How far reading by ourselves may go: where the sender is. */
  #limit = 0;
  #catchingUp: Promise<void> | undefined;
  #verdict: Promise<readonly string[]> | undefined;
  #failure: Error | undefined;
  readonly #listeners = [
    ['message', (answer: DigestAnswer) => this.#hear(answer)],
    ['error', (error: Error) => this.#fail(error)],
    ['exit', () => this.#fail(new Error('the digest thread ended'))],
  ] as const;
  /** It has answered since it was told what to hash. */
  #isProven = false;
  #closed = false;
  #savable = false;
  #restored = false;

  /** @param restored what an earlier process had hashed of this very state of the source */
  constructor(source: ByteSource, checks: readonly DigestWish[], restored?: DigestState) {
    this.#source = source;
    this.#checks = checks;
    this.#thread = takeThread();
    for (const [event, hear] of this.#listeners) this.#thread.on(event, hear);
    const fits = restored && restored.states.length === checks.length;
    this.#begin(fits ? restored : undefined);
  }

  /** True once `state` has something to save. */
  get isSavable(): boolean {
    return this.#savable;
  }

  /**
   * From now on with hashes whose state can be saved. What has been hashed is read and hashed again in
   * the background, so this is for the beginning of a file on a line that turned out to be slow.
   */
  makeSavable(): void {
    if (!this.#savable) this.#begin({ offset: 0, states: [] });
  }

  /** Where hashing stands; undefined where that can't be saved. */
  async state(): Promise<DigestState | undefined> {
    if (!this.#savable || this.#verdict !== undefined) return undefined;
    const offset = this.#taken;
    const states = await this.#ask({ kind: 'save' });
    return states ? { offset, states } : undefined;
  }

  /** Where the next byte that is to be hashed lies. */
  get position(): number {
    return this.#taken;
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
   * @returns the digests, hexadecimal, in the order of the checks
   * @throws FerryError DIGEST_MISMATCH naming the file and both digests
   */
  verdict(): Promise<readonly string[]> {
    this.#verdict ??= this.#decide();
    return this.#verdict;
  }

  /** Hashes the rest; hexadecimal, in the order of the checks. Only once: it ends the hashes. */
  async digests(): Promise<readonly string[]> {
    this.#limit = this.#source.size;
    while (this.#taken < this.#source.size) {
      if (this.#closed) throw new Error('the digest watch was closed');
      this.#catchUp();
      await this.#catchingUp;
    }
    return (await this.#ask({ kind: 'finish' })) ?? [];
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // One that has not answered yet may be about to fail by what it was told.
    const isIdle = this.#isProven && this.#answers.length === 0 && this.#failure === undefined;
    if (!isIdle) return void (await this.#thread.terminate());
    // What is still being read behind must not reach a thread that is somebody else's by then.
    this.#failure = new Error('the digest watch was closed');
    for (const [event, hear] of this.#listeners) this.#thread.off(event, hear);
    giveBackThread(this.#thread);
  }

  async #decide(): Promise<readonly string[]> {
    const digests = await this.digests();
    for (const [i, check] of this.#checks.entries()) {
      const actual = digests[i];
      if (check.expected === undefined || actual === check.expected) continue;
      // What was saved may have been damaged; a package is not called corrupt for that.
      if (this.#restored) {
        this.#begin(undefined);
        return this.#decide();
      }
      throw new FerryError(
        'DIGEST_MISMATCH',
        `${check.name} has the ${check.algorithm.toUpperCase()} ${actual}, but the manifest says ${check.expected}`,
        { facts: { member: check.name, algorithm: check.algorithm } },
      );
    }
    return digests;
  }

  #hear(answer: DigestAnswer): void {
    this.#isProven = true;
    this.#answers.shift()?.resolve(answer);
  }

  #begin(from: DigestState | undefined): void {
    this.#isProven = false;
    this.#savable = from !== undefined;
    this.#restored = from !== undefined && from.offset > 0;
    this.#taken = from?.offset ?? 0;
    this.#post({
      kind: 'ranges',
      ranges: this.#checks.map(({ algorithm, start, end }) => ({ algorithm, start, end })),
      savable: this.#savable,
      ...(this.#restored && from ? { states: from.states } : {}),
    });
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
    if (!this.#closed) this.#thread.postMessage(message);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#answers.splice(0)) reject(error);
  }
}

/**
 * The digest of a whole source, hexadecimal.
 *
 * @param algorithm as node:crypto names it
 * @throws the signal's reason as soon as it is aborted
 */
export async function digestOf(
  source: ByteSource,
  algorithm: string,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const { size: end, name } = source;
  const whole = { algorithm, start: 0, end, expected: undefined, name };
  const watch = new DigestWatch(source, [whole]);
  const stop = (): void => void watch.close();
  signal.addEventListener('abort', stop);
  try {
    const [digest = ''] = await watch.digests();
    return digest;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    await watch.close();
  }
}
