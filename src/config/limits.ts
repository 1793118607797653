import type { RawBandwidth, RawConfig } from './schema.ts';
import { always, type Timetable, weekly, windows } from './timetable.ts';

/** What may be changed while workers run. Rates are bytes per second, undefined for no limit. */
export type Limits = ReturnType<typeof limitsOf>;

/** Times are those of `worker.timezone`, else of `timezone`, else of this machine. */
export function limitsOf(raw: RawConfig) {
  const { worker, lines, groups } = raw;
  const zone =
    worker.timezone ?? raw.timezone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const targets = Object.entries(raw.targets).map(([name, target]) => {
    const { concurrency, imports, atWindowEnd, group } = target;
    const own =
      target.inFlight === undefined ? [] : [{ of: `target ${name}`, bytes: target.inFlight }];
    const shared = groups[group ?? '']?.inFlight;
    const inFlight = shared === undefined ? own : [...own, { of: `group ${group}`, bytes: shared }];
    const limits = {
      ...{ name, concurrency, imports, atWindowEnd, inFlight },
      bandwidth: bandwidthOf(target.bandwidth, zone),
      windows: target.windows && windows(target.windows, zone),
    };
    return [name, limits] as const;
  });
  const line = worker.line;
  return {
    targets: new Map(targets),
    concurrency: worker.concurrency,
    bandwidth: bandwidthOf(worker.bandwidth, zone),
    line:
      line === undefined ? undefined : { name: line, bandwidth: bandwidthOf(lines[line], zone) },
  };
}

function bandwidthOf(raw: RawBandwidth | undefined, zone: string): Timetable<number | undefined> {
  if (raw === undefined || typeof raw === 'number') return always(raw);
  return weekly(
    raw.map(({ days, from, limit: value }) => ({ days, from, value })),
    zone,
  );
}
