import type { Limits } from '../limits/limits.ts';
import type { Supply } from './forecast.ts';
import type { Rates } from './rates.ts';

/**
 * What targets and the line will carry: what was measured of late, and no more than the timetables and
 * windows allow. Where nothing was measured the limits alone are taken, and without any nobody knows.
 *
 * @param workers processes that send to each target
 */
export async function supplyOf(
  targets: readonly string[],
  limits: Limits,
  { rates, workers }: { rates: Pick<Rates, 'ofTarget'>; workers: number },
): Promise<Supply> {
  const free = new Map<string, number | undefined>();
  const limited = new Map<string, number | undefined>();
  for (const target of targets) {
    free.set(target, await rates.ofTarget(target, 'free'));
    limited.set(target, await rates.ofTarget(target, 'limited'));
  }
  const { line } = limits;
  const tables = [limits.bandwidth, line?.bandwidth, ...targetTables(limits)];
  /** What several targets got at once went over one line. */
  const measured = (of: readonly string[], cap: number | undefined): number | undefined => {
    const withoutLimit = sumOf(of.map((target) => free.get(target)));
    // What a limit held back can do at least that, and as much as another limit allows.
    const withLimit = sumOf(of.map((target) => limited.get(target)));
    if (withoutLimit === undefined) return cap ?? withLimit;
    return lowest(Math.max(withoutLimit, withLimit ?? 0), cap);
  };
  const ofProcesses = (moment: number): number | undefined => {
    const own = limits.bandwidth.at(moment);
    return own === undefined ? undefined : own * Math.max(1, workers);
  };
  return {
    rateOf(target, moment) {
      const own = limits.targets.get(target);
      if (own?.windows && own.windows.closesAt(moment) === undefined) return 0;
      const cap = lowest(own?.bandwidth.at(moment), line ? undefined : ofProcesses(moment));
      // On a shared line what one target got says nothing about what it can take.
      return line ? cap : measured([target], cap);
    },
    sharedBy() {
      if (!line) return undefined;
      const rate = (moment: number): number | undefined => {
        const cap = lowest(line.bandwidth.at(moment), ofProcesses(moment));
        return measured(targets, cap);
      };
      return { name: line.name, rate };
    },
    nextChange(moment) {
      const changes = tables.flatMap((table) => table?.nextChange(moment) ?? []);
      for (const { windows } of limits.targets.values()) {
        if (!windows) continue;
        const next = windows.closesAt(moment) ?? windows.opensAt(moment);
        if (Number.isFinite(next) && next > moment) changes.push(next);
      }
      return changes.length === 0 ? undefined : Math.min(...changes);
    },
  };
}

function sumOf(rates: readonly (number | undefined)[]): number | undefined {
  const known = rates.filter((rate) => rate !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, rate) => sum + rate, 0);
}

function targetTables({ targets }: Limits): Limits['bandwidth'][] {
  return [...targets.values()].map(({ bandwidth }) => bandwidth);
}

function lowest(...rates: readonly (number | undefined)[]): number | undefined {
  const known = rates.filter((rate) => rate !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
