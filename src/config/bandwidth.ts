import type { RawConfig } from './schema.ts';

type Bandwidth = RawConfig['worker']['bandwidth'];

/** Bytes per second that are allowed at a moment; undefined for no limit. */
export function bandwidthAt(
  bandwidth: Bandwidth,
  timezone: string | undefined,
  moment: Date,
): number | undefined {
  if (bandwidth === undefined || typeof bandwidth === 'number') return bandwidth;
  const clock = new Intl.DateTimeFormat('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...(timezone === undefined ? {} : { timeZone: timezone }),
  }).format(moment);
  const sorted = [...bandwidth].sort((a, b) => a.from.localeCompare(b.from));
  // Before the day's first entry yesterday's last one still holds.
  const current = sorted.findLast(({ from }) => from <= clock) ?? sorted.at(-1);
  return current?.limit;
}
