import { hostname, uptime } from 'node:os';

/** When and where something was noted of a file that is being written. */
export interface Noted {
  readonly host: string;
  /** Milliseconds since the epoch. */
  readonly notedAt: number;
}

export function noted(): Noted {
  return { host: hostname(), notedAt: Date.now() };
}

/**
 * Whether what was written since then is still as it was: the same machine, and it has not gone down
 * meanwhile. A process that dies loses nothing of what it wrote; a machine loses what was not on its
 * disk yet, and may show zeros in its place.
 */
export function hasStayedUp({ host, notedAt }: Noted): boolean {
  const bootedAt = Date.now() - uptime() * 1000;
  return host === hostname() && bootedAt <= notedAt;
}
