import { orAborted } from '../vcd/abort.ts';

let interrupted = false;

/** Whether somebody wanted this command to end before its time. */
export function wasInterrupted(): boolean {
  return interrupted;
}

/** Ctrl-C and `kill`, as a signal that things can wait for. A second one ends the process at once. */
export function interruption(): { signal: AbortSignal; close: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    interrupted = true;
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    close() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** Waits for what can't be broken off, like a look at a web server that says nothing. */
export async function unlessInterrupted<T>(waiting: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await orAborted(waiting, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    process.stderr.write('interrupted\n');
    process.exit(130);
  }
}

export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
