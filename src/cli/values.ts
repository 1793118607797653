import { parseDuration, parseListen } from '../config/units.ts';
import { FerryError } from '../errors.ts';

/** Values as people write them, on the command line and in manifests. Each throws FerryError USAGE. */

/** `2026-12-24T20:00:00Z`, or without a zone by the clock of this machine. */
export function parseTime(text: string): Date {
  const at = new Date(text);
  // What is only a number would be taken for a year, or for milliseconds; and there is no 31st of June.
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})(?:[T ]|$)/.exec(text) ?? [];
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  const isDate = date.getUTCMonth() + 1 === Number(month) && date.getUTCDate() === Number(day);
  if (isDate && !Number.isNaN(at.getTime())) return at;
  throw new FerryError('USAGE', `"${text}" is not a time like 2026-12-24T20:00:00Z`);
}

/** `never` or a time; in seconds, 0 for never. */
export function parseLease(text: string): number {
  if (text === 'never') return 0;
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 1_000) return Math.round(ms / 1_000);
  throw new FerryError('USAGE', `"${text}" is neither never nor a time like 30d`);
}

/** `key=value` or `key:type=value`. */
export function parseMetadata(
  text: string,
): [key: string, value: string | number | boolean | Date] {
  const [, key = '', type = 'string', value = ''] =
    /^(.+?)(?::(string|number|boolean|datetime))?=(.*)$/is.exec(text) ?? [];
  const refuse = (expected: string): never => {
    throw new FerryError('USAGE', `"${text}": expected ${expected}`, {
      hint: 'Say key=value, or key:number=, key:boolean= or key:datetime=.',
    });
  };
  if (key === '') return refuse('key=value');
  switch (type.toLowerCase()) {
    case 'number':
      return /^[+-]?\d{1,15}$/.test(value) ? [key, Number(value)] : refuse('a whole number');
    case 'boolean':
      return /^(true|false)$/.test(value) ? [key, value === 'true'] : refuse('true or false');
    case 'datetime':
      return Number.isNaN(Date.parse(value))
        ? refuse('a time like 2026-12-24T20:00:00Z')
        : [key, new Date(value)];
    default:
      return [key, value];
  }
}

/**
 * What `--listen` says; undefined where it is not said.
 *
 * @param example an address as it should look
 * @throws FerryError USAGE
 */
export function listenOf(
  listen: string | undefined,
  example: string,
): ReturnType<typeof parseListen> {
  if (listen === undefined) return undefined;
  const address = parseListen(listen);
  if (address) return address;
  throw new FerryError('USAGE', `--listen: "${listen}" is not an address like ${example}`);
}
