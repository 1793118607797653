const NAMES = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
export const EVERY_DAY: readonly number[] = [1, 2, 3, 4, 5, 6, 7];

/** `mon-fri`, `sat,sun`, `fri-mon` → weekdays from 1 for Monday; undefined if it is none of these. */
export function parseDays(text: string): number[] | undefined {
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [first = '', last = first, ...more] = part.trim().split('-');
    const from = NAMES.indexOf(first.trim());
    const to = NAMES.indexOf(last.trim());
    if (from < 0 || to < 0 || more.length > 0) return undefined;
    for (let day = from; ; day = (day + 1) % NAMES.length) {
      days.add(day + 1);
      if (day === to) break;
    }
  }
  return [...days].sort();
}

/** `08:30` → minutes since midnight; `24:00` where a day's end is meant. */
export function parseClock(text: string): number | undefined {
  const [, hour, minute] = /^([01]\d|2[0-4]):([0-5]\d)$/.exec(text) ?? [];
  if (hour === undefined || minute === undefined) return undefined;
  const minutes = Number(hour) * 60 + Number(minute);
  return minutes <= 1_440 ? minutes : undefined;
}
