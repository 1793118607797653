import { readFileSync } from 'node:fs';
import { hostname, uptime } from 'node:os';

/** When and where something was noted of a file that is being written. */
export interface Noted {
  readonly host: string;
  /** Names one run of one machine's system; null where the system does not say. */
  readonly boot: string | null;
  /** Milliseconds since the epoch. */
  readonly notedAt: number;
}

export function noted(): Noted {
  return { host: hostname(), boot: bootId(), notedAt: Date.now() };
}

let known: string | null | undefined;

/** Random, made anew by the kernel at each start: neither a host's name nor a clock tells as much. */
function bootId(): string | null {
  if (known === undefined) {
    try {
      known = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() || null;
    } catch {
      known = null; // no Linux
    }
  }
  return known;
}

/**
 * Whether what was written since then is still as it was: the same machine, and it has not gone down
 * meanwhile. A process that dies loses nothing of what it wrote; a machine loses what was not on its
 * disk yet, and may show zeros in its place.
 */
export function hasStayedUp({ host, boot, notedAt }: Noted): boolean {
  const own = bootId();
  if (own !== null && boot !== null) return own === boot;
  const bootedAt = Date.now() - uptime() * 1000;
  return host === hostname() && bootedAt <= notedAt;
}
