/** The promise's outcome, or the signal's reason if that comes first. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => undefined); // nobody may be waiting for it any more
  signal.throwIfAborted();
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Something that may be ended by itself, and is ended by a signal that lives longer. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
  /** Nothing of it stays with the other signal, as it would of `AbortSignal.any`, for years in a worker. */
  unlink(): void;
}

export function linkedAbort(outer: AbortSignal): LinkedAbort {
  const own = new AbortController();
  const onAbort = (): void => own.abort(outer.reason);
  if (outer.aborted) onAbort();
  outer.addEventListener('abort', onAbort);
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    unlink: () => outer.removeEventListener('abort', onAbort),
  };
}
