import { actsAsProvider } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { badRequest, forbidden } from './errors.ts';
import { QUERY_TYPES, type Row } from './records.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

/** The query service: records of what one may see, with filter, order and pages. */
export const queryRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/query$/, handle: query },
];

const MAX_PAGE = 128;

function query(call: Call): Reply {
  const asked = parameters(call.search);
  const type = asked.get('type');
  if (type === undefined) return queryList(call);
  const known = Object.hasOwn(QUERY_TYPES, type) ? QUERY_TYPES[type] : undefined;
  if (!known) throw badRequest(`Bad request\n - Unknown query type: ${type}`);
  if (known.isAdmin && !actsAsProvider(call.session)) throw forbidden(`query ${type}`);
  const format = asked.get('format') ?? 'records';
  if (!FORMATS.includes(format)) throw badRequest(`Bad request\n - Unknown format: ${format}`);
  const assertField = fieldCheck(call, known.properties);
  const matches = filterOf(asked, assertField);
  const rows = sort(known.rows(call).filter(matches), asked, assertField);
  const shown: Shown = {
    references: (row) =>
      element(`${referenceName(known.element)}Reference`, {
        href: String(row['href']),
        name: String(row['name']),
        type: mime(known.type),
      }),
    idrecords: ({ href, ...row }) =>
      element(`${known.element}Record`, { id: urnOf(String(href)), ...row }),
    records: (row) => element(`${known.element}Record`, row),
  };
  return page(call, { type, format, root: rootOf(format, known.element), rows, asked, shown });
}

const FORMATS = ['records', 'idrecords', 'references'];

type Shown = Readonly<Record<string, (row: Row) => Markup>>;

function rootOf(format: string, name: string): string {
  return format === 'references' ? `${referenceName(name)}References` : 'QueryResultRecords';
}

/** References look alike for administrators, but for those to storage profiles. */
function referenceName(name: string): string {
  return name.replace(/^Admin(?!OrgVdcStorageProfile)/, '');
}

/** `…/api/catalog/ID` → `urn:vcloud:catalog:ID` */
function urnOf(href: string): string {
  const [kind = '', id = ''] = href.split('/').slice(-2);
  return `urn:vcloud:${kind.toLowerCase()}:${id.replace('vappTemplate-', '')}`;
}

interface Found {
  readonly type: string;
  readonly format: string;
  readonly root: string;
  readonly rows: Row[];
  readonly asked: Map<string, string>;
  readonly shown: Shown;
}

function page({ world }: Call, { type, format, root, rows, asked, shown }: Found): Reply {
  const size = Math.min(MAX_PAGE, numberOf(asked, 'pageSize', 25));
  const number = numberOf(asked, 'page', 1);
  const start = (number - 1) * size;
  if (number > 1 && start >= rows.length)
    throw badRequest('Bad request\n - The page does not exist.');
  const kept = ['filter', 'filterEncoded', 'sortAsc', 'sortDesc']
    .filter((key) => asked.has(key))
    .map((key) => `&${key}=${encodeURIComponent(asked.get(key) ?? '')}`)
    .join('');
  const href = (wanted: number): string =>
    `${world.base}/api/query?type=${type}&page=${wanted}&pageSize=${size}&format=${format}${kept}`;
  const last = Math.max(1, Math.ceil(rows.length / size));
  const show = shown[format] as (row: Row) => Markup;
  return {
    status: 200,
    type: `query.${format}`,
    xml: element(
      root,
      {
        xmlns: VCLOUD,
        total: rows.length,
        pageSize: size,
        page: number,
        name: type,
        href: href(number),
        type: mime(`query.${format}`),
      },
      ...(number > 1
        ? [
            link('firstPage', href(1), `query.${format}`),
            link('previousPage', href(number - 1), `query.${format}`),
          ]
        : []),
      ...(number < last
        ? [
            link('nextPage', href(number + 1), `query.${format}`),
            link('lastPage', href(last), `query.${format}`),
          ]
        : []),
      ...rows.slice(start, start + size).map(show),
    ),
  };
}

/** @throws ApiError 400 */
function numberOf(asked: Map<string, string>, key: string, otherwise: number): number {
  const text = asked.get(key);
  if (text === undefined) return otherwise;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw badRequest(`Bad request\n - ${key} must be a positive number`);
}

type FieldCheck = (field: string) => void;

/** @throws ApiError 400 for what no record of the type has, and for what only providers may ask */
function fieldCheck({ session }: Call, properties: string): FieldCheck {
  const known = properties.split(' ');
  return (field) => {
    const isTheirs = field !== 'org' || actsAsProvider(session);
    if (known.includes(field) && isTheirs) return;
    throw badRequest(`Bad request\n - Unknown property name ${field}`);
  };
}

function sort(rows: Row[], asked: Map<string, string>, assertField: FieldCheck): Row[] {
  const ascending = asked.get('sortAsc');
  const descending = asked.get('sortDesc');
  const key = ascending ?? descending;
  if (key === undefined) return rows;
  assertField(key);
  const sign = descending === undefined ? 1 : -1;
  return [...rows].sort((a, b) => sign * compare(String(a[key] ?? ''), String(b[key] ?? '')));
}

function queryList({ world, session }: Call): Reply {
  const types = Object.entries(QUERY_TYPES).filter(
    ([, { isAdmin }]) => !isAdmin || actsAsProvider(session),
  );
  return {
    status: 200,
    type: 'query.queryList',
    xml: element(
      'QueryList',
      { xmlns: VCLOUD, href: `${world.base}/api/query`, type: mime('query.queryList') },
      ...types.flatMap(([type]): Markup[] =>
        ['records', 'idrecords', 'references'].map((format) =>
          link(
            'down',
            `${world.base}/api/query?type=${type}&format=${format}`,
            `query.${format}`,
            type,
          ),
        ),
      ),
    ),
  };
}

/** By hand: a filter holds `;` and encoded `&`, and some clients begin the query with `&`. */
function parameters(search: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of search.split('&')) {
    if (part === '') continue;
    const [key = '', ...rest] = part.split('=');
    found.set(key, decodeURIComponent(rest.join('=').replaceAll('+', ' ')));
  }
  return found;
}

function compare(a: string, b: string): number {
  const [left, right] = [Number(a), Number(b)];
  return Number.isNaN(left) || Number.isNaN(right) ? a.localeCompare(b) : left - right;
}

const OPERATORS: Readonly<Record<string, (actual: string, wanted: string) => boolean>> = {
  '==': sameValue,
  '!=': (actual, wanted) => !sameValue(actual, wanted),
  '=lt=': (actual, wanted) => compare(actual, wanted) < 0,
  '=le=': (actual, wanted) => compare(actual, wanted) <= 0,
  '=gt=': (actual, wanted) => compare(actual, wanted) > 0,
  '=ge=': (actual, wanted) => compare(actual, wanted) >= 0,
};

type Test = (row: Row) => boolean;

/** `;` is and, which binds closer than `,`, or; `\` escapes, parentheses group. @throws ApiError 400 */
function filterOf(asked: Map<string, string>, assertField: FieldCheck): Test {
  const text = asked.get('filter');
  if (text === undefined || text === '') return () => true;
  const decode = (value: string): string =>
    asked.get('filterEncoded') === 'true' ? decodeURIComponent(value) : value;
  const condition = (part: string): Test => {
    const match = /^([\w:@]+)(==|!=|=lt=|=le=|=gt=|=ge=)(.*)$/s.exec(part);
    if (!match) throw badRequest(`Bad request\n - Invalid filter: ${part}`);
    const [, field = '', operator = '', value = ''] = match;
    assertField(field);
    const wanted = decode(value).replaceAll(/\\(.)/g, '$1');
    return (row) => OPERATORS[operator]?.(String(row[field] ?? ''), wanted) ?? false;
  };
  const read = (part: string): Test => {
    const alternatives = splitOutside(part, ',');
    if (alternatives.length > 1) return anyOf(alternatives.map(read));
    const all = splitOutside(part, ';');
    if (all.length > 1) return allOf(all.map(read));
    const [, group] = /^\((.*)\)$/s.exec(part) ?? [];
    return group === undefined ? condition(part) : read(group);
  };
  return read(text);
}

function anyOf(tests: readonly Test[]): Test {
  return (row) => tests.some((test) => test(row));
}

function allOf(tests: readonly Test[]): Test {
  return (row) => tests.every((test) => test(row));
}

/** At separators that are neither escaped nor in parentheses. */
function splitOutside(text: string, separator: string): string[] {
  const parts: string[] = [''];
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const isEscaped = text[i] === '\\';
    const piece = isEscaped ? text.slice(i, i + 2) : (text[i] ?? '');
    if (isEscaped) i += 1;
    if (piece === '(') depth += 1;
    if (piece === ')') depth -= 1;
    if (piece === separator && depth === 0) parts.push('');
    else parts[parts.length - 1] += piece;
  }
  return parts;
}

/** References match by their id as well as by the whole address; `*` is any text. */
function sameValue(actual: string, wanted: string): boolean {
  if (actual === wanted) return true;
  if (/^(urn:|https?:)/.test(wanted)) {
    return actual.split(/[/:]/).at(-1) === wanted.split(/[/:]/).at(-1);
  }
  if (!wanted.includes('*')) return false;
  const pattern = wanted.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('.*')}$`, 's').test(actual);
}
