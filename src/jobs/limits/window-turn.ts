import { FerryError } from '../../errors.ts';
import { pause } from '../retry.ts';
import type { Upload } from '../upload-deps.ts';

/** What is sent of a file outside its target's window, each time. */
export const TRICKLE_BYTES = 4 * 1024;
const LOOK_MS = 1_000;

export function windowClosed(retryAfterMs: number): FerryError {
  const opensAt = new Date(Date.now() + retryAfterMs).toISOString();
  return new FerryError(
    'WINDOW_CLOSED',
    `the target's window for transfers is closed until ${opensAt}`,
    { retryAfterMs },
  );
}

/**
 * Outside the target's window waits until it is time to send a little, without a place on the line.
 *
 * @param sentAt when something was sent last, by the clock that nobody can set
 * @returns whether it has waited
 * @throws FerryError WINDOW_CLOSED
 */
export async function untilWindowTurn({ deps, context }: Upload, sentAt: number): Promise<boolean> {
  for (let waited = false; ; waited = true) {
    const phase = deps.window.phase();
    if (phase === 'closed') throw windowClosed(deps.window.closedForMs());
    const leftMs = sentAt + deps.settings.trickleEveryMs - performance.now();
    if (phase === 'open' || leftMs <= 0) {
      if (waited) await deps.line.take(context.signal);
      return waited;
    }
    // Others need the place in between; files that are sent side by side share it.
    if (deps.settings.filesInParallel === 1) deps.line.free();
    await pause(Math.min(leftMs, LOOK_MS), context.signal);
  }
}
