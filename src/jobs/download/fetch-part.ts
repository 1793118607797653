import { join } from 'node:path';
import { hasStayedUp, noted } from '../../destination/machine.ts';
import { PartFile, sizeOfFile } from '../../destination/part-file.ts';
import { FerryError } from '../../errors.ts';
import { readBlocks } from '../../source/blocks.ts';
import { DigestWatch } from '../../source/digest-watch.ts';
import { orAborted } from '../../vcd/abort.ts';
import type { DownloadState } from '../job-data.ts';
import { windowClosed } from '../limits/window-turn.ts';
import type { Download } from '../upload-deps.ts';
import type { PlannedFile } from './local-plan.ts';

export const PART = '.part';

/**
 * Fetches what a file lacks: goes on from the bytes that are on the disk, and after any failure again
 * from there. It is whole when its digests are right.
 *
 * @returns its digests, hexadecimal, in the order of the wishes
 * @throws FerryError DIGEST_MISMATCH, SOURCE_CHANGED, DESTINATION_…; a transient one when nothing came
 *   for too long
 */
export async function fetchPart(
  download: Download,
  folder: string,
  file: PlannedFile,
): Promise<readonly string[]> {
  const { deps } = download;
  const { name, source, wishes } = file;
  const { size } = source;
  const known = stateOf(download).parts[name];
  const path = join(folder, `${name}${PART}`);
  // Another machine may have the folder, and not the file.
  if (known?.digests && (await sizeOfFile(path)) === size) {
    deps.meter.kept(name, size);
    return known.digests;
  }
  deps.assertOwned(); // what follows may cut the file
  const { synced = 0 } = known ?? {};
  const trusted = known !== undefined && !known.refused && hasStayedUp(known) ? size : synced;
  const part = await PartFile.open(path, { size, trusted, synced });
  const watch = new DigestWatch(part, wishes);
  try {
    deps.meter.kept(name, part.length);
    await fetchRest(download, file, { part, watch });
    const digests = await orAborted(watch.verdict(), download.context.signal);
    await part.sync();
    await deps.checkpoint.save({ download: withPart(download, name, { synced: size, digests }) });
    return digests;
  } catch (error) {
    // Said by the disk once only, so that it is remembered before anything else.
    if (part.isRefused) note(download, name, part);
    throw error;
  } finally {
    await watch.close();
    await part.close();
  }
}

interface Open {
  readonly part: PartFile;
  readonly watch: DigestWatch;
}

async function fetchRest(download: Download, file: PlannedFile, open: Open): Promise<void> {
  const { deps, context } = download;
  const { part } = open;
  // What came before it broke counts: a bad line is no hopeless one.
  const patience = deps.newPatience();
  while (part.length < part.size) {
    try {
      await fetchOn(download, file, { ...open, onMoved: () => patience.progressed() });
    } catch (error) {
      await patience.afterFailure(error, context.signal);
    }
  }
}

async function fetchOn(
  download: Download,
  { name, source }: PlannedFile,
  { part, watch, onMoved }: Open & { readonly onMoved: () => void },
): Promise<void> {
  const { deps, context } = download;
  const range = { start: part.length, end: part.size };
  for await (const block of readBlocks(source, range, deps.line.pool)) {
    await pass(download, block.length);
    // What has arrived stays: it goes on from there when the window opens.
    if (deps.window.phase() !== 'open') throw windowClosed(deps.window.closedForMs());
    context.signal.throwIfAborted();
    deps.assertOwned();
    const at = part.length;
    // Beside the writing, unless what lies before it is still to be read from the disk.
    const hashed = watch.position === at ? watch.observe(block, at) : undefined;
    hashed?.catch(() => undefined); // awaited below
    await part.append(block);
    onMoved();
    deps.meter.sent(name, block.length);
    deps.meter.stored(name, { start: at, end: part.length });
    note(download, name, part);
    await (hashed ?? watch.observe(block, at));
  }
}

/** At the rate that is allowed: the line waits with what comes next. */
async function pass({ deps, context }: Download, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const piece = Math.min(left, deps.throttle.pieceBytes());
    await deps.throttle.pass(piece, context.signal);
    left -= piece;
  }
}

function note(download: Download, name: string, { synced, isRefused }: PartFile): void {
  const { checkpoint, meter } = download.deps;
  checkpoint.note({
    download: withPart(download, name, { synced, digests: null, refused: isRefused }),
    progressedAt: Date.now(),
    bytesResent: meter.resent,
    bytesLost: meter.lost,
  });
}

export function stateOf({ deps }: Pick<Download, 'deps'>): DownloadState {
  const { download } = deps.checkpoint.current;
  if (download) return download;
  throw new FerryError('INTERNAL', 'the download was not begun');
}

function withPart(
  download: Download,
  name: string,
  part: Pick<DownloadState['parts'][string], 'synced' | 'digests'> & { readonly refused?: boolean },
): DownloadState {
  const state = stateOf(download);
  const one = { refused: false, ...part, ...noted() };
  return { ...state, parts: { ...state.parts, [name]: one } };
}
