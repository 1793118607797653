import type { TargetLimits } from './limits.ts';

/** Whether an upload that is under way may send. */
export interface TransferWindow {
  /** 'trickle': as little as keeps its transfer alive. */
  phase(): 'open' | 'trickle' | 'closed';
  /** Milliseconds until the next one opens; 0 while one is open. */
  closedForMs(): number;
}

/** By the clock on the wall, looked at anew each time: it may be set, and the limits may change. */
export function transferWindow(
  limits: () => Pick<TargetLimits, 'windows' | 'atWindowEnd'>,
  now: () => number = Date.now,
): TransferWindow {
  return {
    phase() {
      const { windows, atWindowEnd } = limits();
      if (!windows || atWindowEnd === 'finish') return 'open';
      if (windows.closesAt(now()) !== undefined) return 'open';
      return atWindowEnd === 'trickle' ? 'trickle' : 'closed';
    },
    closedForMs() {
      const moment = now();
      return Math.max(0, (limits().windows?.opensAt(moment) ?? moment) - moment);
    },
  };
}
