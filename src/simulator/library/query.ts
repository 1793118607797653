import type { LibraryItem } from './items.ts';

/** What a request of a list asks for that can't be. */
export class QueryError extends Error {}

const NUMBERS: ReadonlySet<string> = new Set([
  'size',
  'version',
  'content_version',
  'metadata_version',
]);
const FIELDS: ReadonlySet<string> = new Set([
  ...['id', 'name', 'description', 'type', 'urn', 'path', 'library', 'library_id', ...NUMBERS],
  ...['creation_time', 'last_modified_time', 'created_on', 'updated_on'],
]);

/** Negative, zero, positive: as the field is compared, numbers as numbers. */
function compare(field: string, left: string, right: string): number {
  if (NUMBERS.has(field)) return Number(left) - Number(right);
  return left < right ? -1 : Number(left > right);
}

type Test = (field: string, own: string, value: string) => boolean;

const OPERATORS: Readonly<Record<string, Test>> = {
  eq: (field, own, value) => compare(field, own, value) === 0,
  ne: (field, own, value) => compare(field, own, value) !== 0,
  lt: (field, own, value) => compare(field, own, value) < 0,
  le: (field, own, value) => compare(field, own, value) <= 0,
  gt: (field, own, value) => compare(field, own, value) > 0,
  ge: (field, own, value) => compare(field, own, value) >= 0,
  like: (_field, own, value) => likeness(value).test(own),
  in: (field, own, value) => value.split(',').some((one) => compare(field, own, one) === 0),
};

/** As SQL's: `%` for anything, `_` for one character, without case. */
function likeness(pattern: string): RegExp {
  const source = [...pattern]
    .map((char) => {
      if (char === '%') return '.*';
      return char === '_' ? '.' : char.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    })
    .join('');
  return new RegExp(`^${source}$`, 'is');
}

/** `FIELD,OPERATOR,VALUE`, joined by `;`: all of them must be so. @throws QueryError */
export function filterOf(text: string): (item: LibraryItem) => boolean {
  const conditions = text.split(';').map((condition) => {
    const [field = '', name = '', ...rest] = condition.split(',');
    const value = rest.join(',');
    if (!FIELDS.has(field)) throw new QueryError(`Invalid filter column: ${field}`);
    const test = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
    if (!test) throw new QueryError(`Invalid filter operator: ${name}`);
    if (value === '') throw new QueryError(`Invalid filter: ${condition}`);
    return (item: LibraryItem): boolean => test(field, textOf(item, field), value);
  });
  return (item) => conditions.every((holds) => holds(item));
}

/** `FIELD,asc` or `FIELD,desc`. @throws QueryError */
export function orderOf(text: string): (a: LibraryItem, b: LibraryItem) => number {
  const [field = '', order = '', ...more] = text.split(',');
  if (!FIELDS.has(field)) throw new QueryError(`Invalid sort column: ${field}`);
  if (!/^(asc|desc)$/.test(order) || more.length > 0) {
    throw new QueryError(`Invalid sort order: ${order}`);
  }
  const sign = order === 'asc' ? 1 : -1;
  return (a, b) => sign * compare(field, textOf(a, field), textOf(b, field));
}

function textOf(item: LibraryItem, field: string): string {
  if (field === 'library') return item.library.name;
  if (field === 'path') return `[${item.library.name}] ${item.name}`;
  return String(item[field as keyof LibraryItem]);
}
