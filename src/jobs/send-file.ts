import { classify, FerryError } from '../errors.ts';
import { readBlocks } from '../source/blocks.ts';
import type { ByteSource } from '../source/byte-source.ts';
import { DigestWatch, type DigestWish } from '../source/digest-watch.ts';
import { orAborted } from '../vcd/abort.ts';
import type { WantedFile } from '../vcd/entity.ts';
import { assertWithinBudget } from './budget.ts';
import { nextRange, type Range, SMALLEST_CHUNK_BYTES } from './chunks.ts';
import { readEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { TRICKLE_BYTES, untilWindowTurn, windowClosed } from './limits/window-turn.ts';
import { madeOf } from './server-manifest.ts';
import { untilSteady } from './settle.ts';
import type { Upload } from './upload-deps.ts';
import { assertPlausible, findWanted } from './wanted-file.ts';

/** A file that is to be sent, and what is known of its transfer. */
export interface Sending {
  /** As the server names it. */
  readonly name: string;
  /** As the package names it, for the meter. */
  readonly href: string;
  readonly source: ByteSource;
  readonly checks: readonly DigestWish[];
  /** The package's files are as they were when it was opened. @throws FerryError SOURCE_CHANGED */
  readonly assertUnchanged: () => Promise<void>;
  /** Every byte of the package has a digest that is checked: the time of a file may be another. */
  readonly isVouched: boolean;
  readonly item: OwnItem;
  /** Somebody may have sent bytes of this file before us: its last byte needs a fresh count. */
  readonly resumed: boolean;
}

/** Digests that are so far behind are waited for before the last byte, not inside its request. */
const FAR_BEHIND_BYTES = 64 * 1024 * 1024;
/**
 * On a line slower than this the hashes are of the kind whose state can be saved, so that a resume
 * does not read again what was sent. They cost several times as much, which only shows on a faster
 * line; and there reading again is quick.
 */
const SLOW_LINE_BYTES_PER_MS = 50_000;
/** Smaller files are read again in a moment. */
const WORTH_SAVING_BYTES = 128 * 1024 * 1024;
/** Longer without a request to the API, and the session may end while bytes flow. */
const KEEP_ALIVE_MS = 4 * 60_000;

/**
 * Sends what the server does not have yet of one file: asks how much it has, sends from there, and
 * after any failure asks again. Ranges never overlap and never leave a gap; the last byte goes only
 * when every digest is right and the file is still the one that was opened.
 *
 * @throws FerryError DIGEST_MISMATCH, SOURCE_CHANGED, TRANSFER_EXPIRED, IMPORT_REJECTED; a transient
 *   one when nothing moved for too long
 */
export async function sendFile(
  upload: Upload,
  sending: Sending,
  wanted: WantedFile,
): Promise<void> {
  const { checks, source, href } = sending;
  const saved = upload.deps.checkpoint.current.digests[href];
  const watch = checks.length > 0 ? new DigestWatch(source, checks, saved) : undefined;
  try {
    await sendRest(new FileTransfer(upload, sending, watch), wanted);
  } finally {
    await watch?.close();
  }
}

async function sendRest(transfer: FileTransfer, first: WantedFile): Promise<void> {
  const { deps, context } = transfer.upload;
  const patience = deps.newPatience();
  let wanted: WantedFile | undefined = first;
  while (wanted) {
    const before: number = wanted.bytesTransferred;
    try {
      // A pause of minutes between two trickles is no lack of progress.
      if (await transfer.untilItsTurn()) patience.progressed();
      wanted = await transfer.step(wanted);
      if (wanted && wanted.bytesTransferred > before) patience.progressed();
    } catch (error) {
      transfer.troubled = true;
      const { code, facts } = classify(error);
      // Stopped by ourselves, for a trickle: nothing has failed.
      if (code === 'WINDOW_CLOSED' && deps.window.phase() !== 'closed') {
        wanted = await patience.repeat(() => transfer.untilSteady(), context.signal);
        continue;
      }
      // Of an empty file nothing can be missing if a PUT is refused: one was taken, and its reply lost.
      if (code === 'OFFSET_MISMATCH' && facts['status'] === 416 && transfer.isEmpty) return;
      const bytes = transfer.lastBytes;
      const isTooLarge = facts['status'] === 413 && bytes > SMALLEST_CHUNK_BYTES;
      if (isTooLarge) deps.chunks.refused(bytes);
      else await patience.afterFailure(error, context.signal);
      // An outage lasts longer than one request: reading the count is part of the same patience.
      wanted = await patience.repeat(() => transfer.untilSteady(), context.signal);
      const hasMoved = wanted === undefined || wanted.bytesTransferred > before;
      if (hasMoved) patience.progressed();
      const isOfChunk = code !== 'OFFSET_MISMATCH' && !isTooLarge;
      if (isOfChunk && bytes > 0) deps.chunks.failed(bytes, { isVain: !hasMoved });
    }
  }
}

class FileTransfer {
  readonly upload: Upload;
  /** After a failure bytes of ours may still be on their way, as after a resume. */
  troubled: boolean;
  readonly #sending: Sending;
  readonly #watch: DigestWatch | undefined;
  lastBytes = 0; // of the range that was sent last
  #askedAt = performance.now();
  #sentAt = performance.now();

  constructor(upload: Upload, sending: Sending, watch: DigestWatch | undefined) {
    this.upload = upload;
    this.#sending = sending;
    this.#watch = watch;
    this.troubled = sending.resumed;
  }

  get isEmpty(): boolean {
    return this.#sending.source.size === 0;
  }

  /** Sends one range. Returns what the server then waits for, undefined if that is nothing. */
  async step(wanted: WantedFile): Promise<WantedFile | undefined> {
    const { deps } = this.upload;
    const { source, href } = this.#sending;
    const { bytesTransferred: offset } = wanted;
    this.lastBytes = 0;
    assertPlausible(wanted, source.size);
    deps.meter.kept(href, offset);
    if (offset === source.size && source.size > 0) return undefined;
    // Of an empty file no block ever passes by the watch.
    if (source.size === 0) await this.#decide();

    const isTrickle = deps.window.phase() !== 'open';
    const holdBack = this.troubled || (this.#watch?.behindBytes ?? 0) > FAR_BEHIND_BYTES;
    const chunkBytes = isTrickle ? TRICKLE_BYTES : deps.chunks.bytes;
    const range = nextRange(offset, { size: source.size, chunkBytes, holdBack });
    if (range.end === source.size && holdBack) {
      const fresh = await this.#readyForLastByte(offset);
      if (fresh) return fresh;
    }
    await this.#assertUnchanged();
    const ms = await this.#put(wanted, range);
    deps.meter.stored(href, range);
    deps.checkpoint.note({
      progressedAt: Date.now(),
      bytesResent: deps.meter.resent,
      bytesLost: deps.meter.lost,
    });
    assertWithinBudget(this.upload);
    await this.#saveDigests(range, ms);
    if (range.end === source.size) return undefined;
    return this.#keepAlive({ ...wanted, bytesTransferred: range.end });
  }

  /** @returns whether it has waited for its turn to trickle */
  untilItsTurn(): Promise<boolean> {
    return untilWindowTurn(this.upload, this.#sentAt);
  }

  /** What the server waits for once its counts have stopped growing. */
  async untilSteady(): Promise<WantedFile | undefined> {
    const { upload } = this;
    const { item, name } = this.#sending;
    const entity = await untilSteady(upload, item, upload.deps.settings.resettleMs);
    this.#askedAt = performance.now();
    return findWanted(entity, name);
  }

  /** Decides before the last byte: after it the server imports what it has. */
  async #readyForLastByte(offset: number): Promise<WantedFile | undefined> {
    const { signal } = this.upload.context;
    await orAborted(this.#decide(), signal);
    const fresh = await this.untilSteady();
    return fresh?.bytesTransferred === offset ? undefined : fresh;
  }

  /** Every digest is right; one that a manifest of ours needs is kept before the last byte goes. */
  async #decide(): Promise<void> {
    const { checkpoint } = this.upload.deps;
    const { checks, href } = this.#sending;
    const made = madeOf(checks, await this.#verdict());
    if (made === undefined || checkpoint.current.made[href] === made) return;
    await checkpoint.save({ made: { ...checkpoint.current.made, [href]: made } });
  }

  async #verdict(): Promise<readonly string[]> {
    try {
      return (await this.#watch?.verdict()) ?? [];
    } catch (error) {
      // Who has written to the file is to blame then, not who made the package.
      if (classify(error).code === 'DIGEST_MISMATCH') await this.#sending.assertUnchanged();
      throw error;
    }
  }

  /**
   * Before a range is read, and again after its last block was: in between it may have been written to.
   * Where digests of all that is sent are decided upon before the last byte, they say whether it was; but
   * what was sent again may have another content than what they were made of.
   */
  async #assertUnchanged(): Promise<void> {
    try {
      await this.#sending.assertUnchanged();
    } catch (error) {
      const isTouched = classify(error).facts['isTouched'] === true;
      if (!isTouched || !this.#sending.isVouched || this.troubled) throw error;
    }
  }

  /** Remembers how far the file has been hashed, where that will spare somebody reading it again. */
  async #saveDigests({ start, end }: Range, ms: number): Promise<void> {
    const { checkpoint } = this.upload.deps;
    const { source, href } = this.#sending;
    const watch = this.#watch;
    if (!watch) return;
    const { [href]: _own, ...others } = checkpoint.current.digests;
    if (end === source.size) {
      if (_own) checkpoint.note({ digests: others });
      return;
    }
    const isSlow = end - start < ms * SLOW_LINE_BYTES_PER_MS;
    if (source.size >= WORTH_SAVING_BYTES && isSlow) watch.makeSavable();
    const state = await watch.state();
    if (state) checkpoint.note({ digests: { ...others, [href]: state } });
  }

  /** Sends one range; returns how long that took, in milliseconds. */
  async #put(wanted: WantedFile, range: Range): Promise<number> {
    const { deps, context } = this.upload;
    const { source } = this.#sending;
    if (wanted.uploadHref === undefined) {
      throw new FerryError('TRANSFER_REFUSED', `the server shows no address for ${wanted.name}`);
    }
    let fault: unknown;
    const body = this.#body(range, (error) => {
      fault = error;
    });
    const startedAt = performance.now();
    this.lastBytes = range.end - range.start;
    deps.assertOwned();
    try {
      await deps.vcd.putRange(wanted.uploadHref, body, { ...range, total: source.size }, context);
    } catch (error) {
      // What our own side threw comes wrapped by the HTTP client; and it is the cause of the rest.
      throw fault ?? error;
    }
    this.#sentAt = performance.now();
    const ms = this.#sentAt - startedAt;
    deps.chunks.sent(range.end - range.start, ms);
    return ms;
  }

  async *#body(range: Range, onFault: (error: unknown) => void): AsyncGenerator<Buffer> {
    const { deps, context } = this.upload;
    const { source, href } = this.#sending;
    const observe = (block: Uint8Array, start: number): Promise<void> | undefined =>
      this.#watch?.observe(block, start);
    let at = range.start;
    try {
      for await (const block of readBlocks(source, range, deps.line.pool, observe)) {
        for (let done = 0; done < block.length; ) {
          const piece = block.subarray(done, done + deps.throttle.pieceBytes());
          await deps.throttle.pass(piece.length, context.signal);
          if (range.end - range.start > TRICKLE_BYTES && deps.window.phase() !== 'open') {
            throw windowClosed(deps.window.closedForMs());
          }
          at += piece.length;
          done += piece.length;
          if (at === source.size) {
            await this.#decide();
            await this.#assertUnchanged();
          }
          deps.assertOwned();
          yield piece;
          deps.meter.sent(href, piece.length);
        }
      }
    } catch (error) {
      onFault(error);
      throw error;
    }
  }

  async #ask(): Promise<WantedFile | undefined> {
    const entity = await readEntity(this.upload, this.#sending.item);
    this.#askedAt = performance.now();
    return findWanted(entity, this.#sending.name);
  }

  /** Transfers do not keep the API's session alive, and they do not notice a cancelled task. */
  async #keepAlive(wanted: WantedFile): Promise<WantedFile | undefined> {
    if (performance.now() - this.#askedAt < KEEP_ALIVE_MS) return wanted;
    return this.#ask();
  }
}
