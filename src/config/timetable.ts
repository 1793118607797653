import { DateTime } from 'luxon';

/** A clock time of certain weekdays: 1 for Monday to 7 for Sunday, minutes since midnight. */
export interface WeeklyEntry<T> {
  readonly days: readonly number[];
  readonly from: number;
  readonly value: T;
}

/** A weekly period; `to` may lie on the following day. */
export interface WeeklyPeriod {
  readonly days: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** A value that changes with the time. Moments are milliseconds since the epoch. */
export interface Timetable<T> {
  at(moment: number): T;
  /** When another value may hold; undefined for never. */
  nextChange(moment: number): number | undefined;
}

/** Periods in which something may be done. */
export interface Windows {
  /** When the one that is open closes; undefined while none is open. Infinity for never. */
  closesAt(moment: number): number | undefined;
  /** When the next one opens, or the moment itself while one is open. */
  opensAt(moment: number): number;
}

const WEEK_DAYS = 7;

export function always<T>(value: T): Timetable<T> {
  return { at: () => value, nextChange: () => undefined };
}

/**
 * Each value holds from its time on until the next one, over midnight and over the end of the week. By
 * the clock of the zone: where that is set forward over an entry's time, it holds from then on; where
 * it is set back, the first of the two counts.
 */
export function weekly<T>(entries: readonly WeeklyEntry<T>[], zone: string): Timetable<T> {
  const startsOn = (day: DateTime): { at: number; value: T }[] =>
    entries
      .filter(({ days }) => days.includes(day.weekday))
      .map(({ from, value }) => ({ at: clockOn(day, from), value }))
      .sort((a, b) => a.at - b.at);
  const find = (moment: number): Held<T> => {
    const today = DateTime.fromMillis(moment, { zone }).startOf('day');
    let current: { at: number; value: T } | undefined;
    for (let back = 0; back <= WEEK_DAYS && !current; back += 1) {
      current = startsOn(today.minus({ days: back })).findLast(({ at }) => at <= moment);
    }
    let next: number | undefined;
    for (let on = 0; on <= WEEK_DAYS && next === undefined; on += 1) {
      next = startsOn(today.plus({ days: on })).find(({ at }) => at > moment)?.at;
    }
    const { at, value } = current ?? { at: moment, value: (entries[0] as WeeklyEntry<T>).value };
    return { from: at, to: next, value };
  };
  // Asked for each piece of each upload, and for each of thousands of forecasts.
  let held: Held<T> | undefined;
  const at = (moment: number): Held<T> => {
    const isHeld = held && held.from <= moment && moment < (held.to ?? Number.POSITIVE_INFINITY);
    if (!isHeld) held = find(moment);
    return held as Held<T>;
  };
  return { at: (moment) => at(moment).value, nextChange: (moment) => at(moment).to };
}

/** A value, and the time in which it holds. */
interface Held<T> {
  readonly from: number;
  readonly to: number | undefined;
  readonly value: T;
}

/** Open in any of these periods; those that touch or overlap are one. */
export function windows(periods: readonly WeeklyPeriod[], zone: string): Windows {
  const find = (day: DateTime): Open[] => {
    const found: Open[] = [];
    for (let on = -2; on <= WEEK_DAYS + 1; on += 1) {
      const date = day.plus({ days: on });
      for (const { days, from, to } of periods) {
        if (!days.includes(date.weekday)) continue;
        const start = clockOn(date, from);
        const end = to > from ? clockOn(date, to) : clockOn(date.plus({ days: 1 }), to);
        if (end > start) found.push({ start, end }); // else the clock is put forward over it
      }
    }
    return joined(found.sort((a, b) => a.start - b.start));
  };
  let held: { start: number; end: number; open: Open[] } | undefined;
  const around = (moment: number): Open[] => {
    if (!held || moment < held.start || moment >= held.end) {
      const day = DateTime.fromMillis(moment, { zone }).startOf('day');
      const end = day.plus({ days: 1 }).startOf('day').toMillis();
      held = { start: day.toMillis(), end, open: find(day) };
    }
    return held.open;
  };
  return {
    closesAt(moment) {
      const open = around(moment).find(({ start, end }) => start <= moment && moment < end);
      // One that reaches over the whole week has no end.
      return open && open.end - moment > WEEK_DAYS * 86_400_000
        ? Number.POSITIVE_INFINITY
        : open?.end;
    },
    opensAt(moment) {
      const next = around(moment).find(({ end }) => moment < end);
      return next ? Math.max(moment, next.start) : Number.POSITIVE_INFINITY;
    },
  };
}

interface Open {
  readonly start: number;
  end: number;
}

function joined(sorted: readonly Open[]): Open[] {
  const whole: Open[] = [];
  for (const { start, end } of sorted) {
    const last = whole.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else whole.push({ start, end });
  }
  return whole;
}

/**
 * The moment at which a day's clock shows a time; 24:00 is the next day's beginning. A time that the
 * clock passes over is the moment at which it does.
 */
function clockOn(day: DateTime, minutes: number): number {
  if (minutes >= 1_440) return day.plus({ days: 1 }).startOf('day').toMillis();
  const moment = day.set({ hour: Math.floor(minutes / 60), minute: minutes % 60 });
  if (moment.hour * 60 + moment.minute === minutes) return moment.toMillis();
  let [before, after] = [day.toMillis(), moment.toMillis()];
  const offsetAt = (at: number): number => DateTime.fromMillis(at, { zone: day.zone }).offset;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offsetAt(middle) === moment.offset) after = middle;
    else before = middle;
  }
  return after;
}
