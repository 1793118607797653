import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';

export function bytes(count: number): string {
  return prettyBytes(count);
}

export function rate(perSecond: number): string {
  return `${prettyBytes(perSecond)}/s`;
}

export function duration(ms: number): string {
  return prettyMs(ms, { secondsDecimalDigits: 0, unitCount: 2 });
}

export function percent(part: number, whole: number): string {
  return `${whole > 0 ? Math.floor((100 * part) / whole) : 100}%`;
}

/** By the clock of whoever looks; the day where it is another than today. */
export function moment(when: string | number): string {
  const date = new Date(when);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(undefined, {
    ...(isToday ? {} : { weekday: 'short', month: 'short', day: 'numeric' }),
    ...{ hour: '2-digit', minute: '2-digit', second: isToday ? '2-digit' : undefined },
  });
}
