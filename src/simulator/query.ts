import type { Call, Reply, Route } from './call.ts';
import { entityHref } from './entity.ts';
import { badRequest } from './errors.ts';
import type { Item } from './model.ts';
import { visibleOrgs } from './organization.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

/** The query service: records of what one may see, with filter, order and pages. */
export const queryRoutes: readonly Route[] = [
  { method: 'GET', path: /^\/api\/query$/, handle: query },
];

type Row = Readonly<Record<string, string | number | boolean>>;
const MAX_PAGE = 128;

interface QueryType {
  readonly element: string;
  readonly rows: (call: Call) => Row[];
}

const TYPES: Readonly<Record<string, QueryType>> = {
  catalog: { element: 'CatalogRecord', rows: (call) => catalogRows(call, '/api') },
  adminCatalog: { element: 'AdminCatalogRecord', rows: (call) => catalogRows(call, '/api/admin') },
  catalogItem: { element: 'CatalogItemRecord', rows: itemRows },
  adminCatalogItem: { element: 'AdminCatalogItemRecord', rows: itemRows },
  vAppTemplate: { element: 'VAppTemplateRecord', rows: (call) => entityRows(call, 'vAppTemplate') },
  adminVAppTemplate: {
    element: 'AdminVAppTemplateRecord',
    rows: (call) => entityRows(call, 'vAppTemplate'),
  },
  media: { element: 'MediaRecord', rows: (call) => entityRows(call, 'media') },
  adminMedia: { element: 'AdminMediaRecord', rows: (call) => entityRows(call, 'media') },
  task: { element: 'TaskRecord', rows: taskRows },
  orgVdc: { element: 'OrgVdcRecord', rows: () => [] },
};

function query(call: Call): Reply {
  const asked = parameters(call.search);
  const type = asked.get('type');
  if (type === undefined) return queryList(call);
  const known = TYPES[type];
  if (!known) throw badRequest(`Bad request\n - Unknown query type: ${type}`);
  const format = asked.get('format') ?? 'records';
  if (!['records', 'idrecords', 'references'].includes(format)) {
    throw badRequest(`Bad request\n - Unknown format: ${format}`);
  }
  const rows = known.rows(call).filter(filterOf(asked));
  return page(call, { type, element: known.element, rows, asked });
}

interface Found {
  readonly type: string;
  readonly element: string;
  readonly rows: Row[];
  readonly asked: Map<string, string>;
}

function page({ world }: Call, { type, element: name, rows, asked }: Found): Reply {
  const size = Math.min(MAX_PAGE, Math.max(1, Number(asked.get('pageSize') ?? 25)));
  const number = Math.max(1, Number(asked.get('page') ?? 1));
  const sorted = sort(rows, asked);
  const start = (number - 1) * size;
  const href = (wanted: number): string =>
    `${world.base}/api/query?type=${type}&page=${wanted}&pageSize=${size}&format=records${
      asked.has('filter') ? `&filter=${encodeURIComponent(asked.get('filter') ?? '')}` : ''
    }`;
  return {
    status: 200,
    type: 'query.records',
    xml: element(
      'QueryResultRecords',
      {
        xmlns: VCLOUD,
        total: rows.length,
        pageSize: size,
        page: number,
        name: type,
        href: href(number),
        type: mime('query.records'),
      },
      start + size < rows.length ? link('nextPage', href(number + 1), 'query.records') : undefined,
      ...sorted.slice(start, start + size).map((row) => element(name, row)),
    ),
  };
}

function sort(rows: Row[], asked: Map<string, string>): Row[] {
  const ascending = asked.get('sortAsc');
  const descending = asked.get('sortDesc');
  const key = ascending ?? descending;
  if (key === undefined) return rows;
  const sign = descending === undefined ? 1 : -1;
  return [...rows].sort((a, b) => sign * String(a[key]).localeCompare(String(b[key])));
}

function queryList({ world }: Call): Reply {
  return {
    status: 200,
    type: 'query.queryList',
    xml: element(
      'QueryList',
      { xmlns: VCLOUD, href: `${world.base}/api/query`, type: mime('query.queryList') },
      ...Object.keys(TYPES).flatMap((type): Markup[] =>
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

/** `name==x;catalog==y`: `;` is and, `,` is or, `\` escapes. */
function filterOf(asked: Map<string, string>): (row: Row) => boolean {
  const text = asked.get('filter');
  if (text === undefined || text === '') return () => true;
  const decode = (value: string): string =>
    asked.get('filterEncoded') === 'true' ? decodeURIComponent(value) : value;
  const all = splitUnescaped(stripParentheses(text), ';').map((alternatives) =>
    splitUnescaped(stripParentheses(alternatives), ',').map((condition) => {
      const match = /^([\w:@]+)(==|!=)(.*)$/s.exec(condition);
      if (!match) throw badRequest(`Bad request\n - Invalid filter: ${condition}`);
      const [, field = '', operator, value = ''] = match;
      const wanted = decode(value).replaceAll(/\\(.)/g, '$1');
      return (row: Row): boolean => {
        if (!(field in row)) throw badRequest(`Bad request\n - Unknown property name ${field}`);
        return sameValue(String(row[field]), wanted) === (operator === '==');
      };
    }),
  );
  return (row) => all.every((some) => some.some((test) => test(row)));
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

function stripParentheses(text: string): string {
  return /^\(.*[^\\]\)$/s.test(text) ? text.slice(1, -1) : text;
}

function splitUnescaped(text: string, separator: string): string[] {
  const pattern = new RegExp(`(?:\\\\.|[^\\\\${separator}])+`, 'gs');
  return text.match(pattern) ?? [];
}

function items({ world, session }: Call): Item[] {
  const visible = visibleOrgs(world.orgs, session.org);
  return [...world.items()].filter(({ catalog }) => visible.includes(catalog.org));
}

function catalogRows({ world, session }: Call, path: string): Row[] {
  return visibleOrgs(world.orgs, session.org).flatMap((org) =>
    org.catalogs.map((catalog) => ({
      name: catalog.name,
      href: `${world.base}${path}/catalog/${catalog.id}`,
      orgName: org.name,
      org: `${world.base}/api/org/${org.id}`,
      isPublished: !catalog.writable,
      isShared: false,
      isExpired: false,
      creationDate: catalog.created.toISOString(),
      numberOfVAppTemplates: catalog.items.filter((i) => i.entity.kind === 'vAppTemplate').length,
      numberOfMedia: catalog.items.filter((i) => i.entity.kind === 'media').length,
      ownerName: 'admin',
    })),
  );
}

function itemRows(call: Call): Row[] {
  return items(call).map((item) => ({
    name: item.name,
    href: `${call.world.base}/api/catalogItem/${item.id}`,
    catalog: `${call.world.base}/api/catalog/${item.catalog.id}`,
    catalogName: item.catalog.name,
    entity: entityHref(call.world, item),
    entityName: item.name,
    entityType: item.entity.kind.toLowerCase(),
    status: item.entity.status > 0 ? 'RESOLVED' : 'UNRESOLVED',
    ownerName: item.entity.owner,
    creationDate: item.created.toISOString(),
  }));
}

function entityRows(call: Call, kind: Item['entity']['kind']): Row[] {
  return items(call)
    .filter(({ entity }) => entity.kind === kind)
    .map((item) => ({
      name: item.name,
      href: entityHref(call.world, item),
      catalog: `${call.world.base}/api/catalog/${item.catalog.id}`,
      catalogName: item.catalog.name,
      catalogItem: `${call.world.base}/api/catalogItem/${item.id}`,
      ownerName: item.entity.owner,
      creationDate: item.created.toISOString(),
      status: item.entity.status > 0 ? 'RESOLVED' : 'UNRESOLVED',
    }));
}

function taskRows(call: Call): Row[] {
  return items(call).map(({ name, entity: { task } }) => ({
    name: task.operationName,
    href: `${call.world.base}/api/task/${task.id}`,
    status: task.status,
    objectName: name,
    ownerName: task.user,
    startDate: task.start.toISOString(),
  }));
}
