/** An upload that is not over. */
export interface Pending {
  readonly id: string;
  /** Still to be sent. */
  readonly bytes: number;
  /** From its last byte until it is ready, milliseconds. */
  readonly importMs: number;
}

/** Uploads of one batch to one target, in the order in which they begin. */
export interface Flow {
  readonly target: string;
  readonly pending: readonly Pending[];
}

/** How fast things go. Rates are bytes per second, moments milliseconds since the epoch. */
export interface Supply {
  /** What a target takes at a moment; 0 while it takes nothing. Undefined where nobody knows. */
  rateOf(target: string, moment: number): number | undefined;
  /** What several targets share: its name, and what goes over it at a moment. */
  sharedBy(
    target: string,
  ): { readonly name: string; rate(moment: number): number | undefined } | undefined;
  /** When any of this may change; undefined for never. */
  nextChange(moment: number): number | undefined;
}

/** Further than this nobody looks. */
const HORIZON_MS = 366 * 86_400_000;
/** Changes of timetables and ends of uploads that are gone through at most. */
const MAX_STEPS = 200_000;

interface Running {
  readonly target: string;
  readonly pending: readonly Pending[];
  next: number;
  /** Bytes left of the one that is being sent. */
  left: number;
}

/**
 * When each upload will have arrived, if all goes on as it does: flows share what their targets and
 * lines carry in equal parts, each sends one upload after the other, and imports go on beside.
 *
 * @returns by id, milliseconds since the epoch; what will not arrive within a year, or can't be told, is
 *   missing
 */
export function forecast(flows: readonly Flow[], supply: Supply, now: number): Map<string, number> {
  const ends = new Map<string, number>();
  const running: Running[] = flows.map(({ target, pending }) => ({
    ...{ target, pending, next: 0 },
    left: pending[0]?.bytes ?? 0,
  }));
  let moment = now;
  for (let step = 0; step < MAX_STEPS && moment - now < HORIZON_MS; step += 1) {
    for (const flow of running) skipEnded(flow, moment, ends);
    const active = running.filter(({ next, pending }) => next < pending.length);
    if (active.length === 0) break;
    const rates = share(active, supply, moment);
    const change = supply.nextChange(moment) ?? Number.POSITIVE_INFINITY;
    let untilMs = change - moment;
    for (const [flow, rate] of rates) {
      if (rate > 0) untilMs = Math.min(untilMs, (flow.left / rate) * 1_000);
    }
    if (!Number.isFinite(untilMs)) break; // nothing moves, and nothing will
    for (const [flow, rate] of rates) flow.left = Math.max(0, flow.left - (rate * untilMs) / 1_000);
    moment += untilMs;
  }
  return ends;
}

/** Goes on to the next upload that has bytes to send. Less than a byte is none. */
function skipEnded(flow: Running, moment: number, ends: Map<string, number>): void {
  while (flow.left < 1) {
    const ended = flow.pending[flow.next];
    if (!ended) return;
    ends.set(ended.id, moment + ended.importMs);
    flow.next += 1;
    flow.left = flow.pending[flow.next]?.bytes ?? 0;
  }
}

/** What each flow gets at a moment: the smaller of its parts of its target and of the line. */
function share(active: readonly Running[], supply: Supply, moment: number): Map<Running, number> {
  const open = active.filter(({ target }) => supply.rateOf(target, moment) !== 0);
  const ofTarget = countBy(open, ({ target }) => target);
  const ofLine = countBy(open, ({ target }) => supply.sharedBy(target)?.name ?? '');
  const rates = new Map<Running, number>();
  for (const flow of open) {
    const line = supply.sharedBy(flow.target);
    const lineRate = line?.rate(moment);
    const targetRate = supply.rateOf(flow.target, moment);
    const parts = [
      targetRate === undefined ? undefined : targetRate / (ofTarget.get(flow.target) ?? 1),
      lineRate === undefined ? undefined : lineRate / (ofLine.get(line?.name ?? '') ?? 1),
    ].filter((part) => part !== undefined);
    rates.set(flow, parts.length === 0 ? 0 : Math.min(...parts));
  }
  return rates;
}

function countBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(keyOf(one), (counts.get(keyOf(one)) ?? 0) + 1);
  return counts;
}
