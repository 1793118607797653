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
