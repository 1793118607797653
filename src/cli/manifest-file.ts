import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { parse as parseCsv } from 'csv-parse/sync';
import { escapePath, isDynamicPattern } from 'tinyglobby';
import { isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { suggestion } from '../config/suggest.ts';
import { FerryError } from '../errors.ts';
import type { UploadOrder } from '../index.ts';
import { isAddress } from '../source/open-source.ts';
import { parseLease, parseMetadata, parseTime } from './values.ts';

/** What may stand in a manifest of uploads; a list of many uploads, not the .mf of a package. */

function value<T>(parse: (text: string) => T) {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });
}

/** CSV knows only text. */
const flag = z.union([z.boolean(), z.stringbool()]);
const whole = z.union([
  z.number().int('expected a whole number'),
  value((text) => {
    if (!/^\d{1,9}$/.test(text)) throw new FerryError('USAGE', 'expected a whole number');
    return Number(text);
  }),
]);
const places = z.union([
  z.array(z.string().min(1)).min(1),
  z
    .string()
    .min(1)
    .transform((text) => text.split(';').map((place) => place.trim())),
]);
const metadata = z.union([
  z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  value((text) => Object.fromEntries(text.split(';').map((entry) => parseMetadata(entry.trim())))),
]);

const options = {
  to: places,
  description: z.string(),
  media: flag,
  storageProfile: z.string(),
  lease: value(parseLease),
  metadata,
  verify: z.enum(['full', 'off', 'server']),
  ifExists: z.enum(['fail', 'skip', 'replace']),
  keepFailed: flag,
  batch: z.string().min(1),
  pool: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/, 'expected letters, digits, _ and -'),
  priority: whole,
  startAt: value(parseTime),
  deadline: value(parseTime),
};
const Defaults = z.strictObject(options).partial();
const Entry = z
  .strictObject({ ...options, source: z.string().min(1), serverPull: z.string(), name: z.string() })
  .partial()
  .refine(({ source, serverPull }) => (source === undefined) !== (serverPull === undefined), {
    message: 'expected either source or serverPull',
  });
type Entry = z.output<typeof Entry>;
const ENTRY_KEYS = [...Object.keys(options), 'source', 'serverPull', 'name'];

/** An upload of a manifest: its source may still be a glob. */
export interface Listed {
  readonly order: Omit<UploadOrder, 'to'>;
  /** Undefined for what is said for all. */
  readonly to: readonly string[] | undefined;
}

interface Row {
  readonly line: number;
  readonly value: unknown;
  /** The line of one of its values. */
  readonly lineOf: (key: string) => number;
}

/** What a manifest says, and every mistake in it with its line. */
export interface ReadManifest {
  readonly listed: readonly Listed[];
  readonly faults: readonly string[];
}

/**
 * Reads a manifest of uploads, YAML or, by its name, CSV. Paths in it start at its own folder.
 *
 * @throws FerryError USAGE if there is no reading it
 */
export function readManifestFile(path: string): ReadManifest {
  const text = readText(path);
  const faults: string[] = [];
  const fault = (line: number, what: string): void => {
    faults.push(`${basename(path)}:${line}: ${what}`);
  };
  const { rows, defaults } = /\.csv$/i.test(path)
    ? rowsOfCsv(path, text, fault)
    : rowsOfYaml(path, text, fault);
  const common = defaults ? check(Defaults, defaults, fault) : {};
  const listed = rows.flatMap((row): Listed[] => {
    const entry = check(Entry, row, fault);
    return entry ? [toListed({ ...common, ...entry }, { path, line: row.line })] : [];
  });
  if (faults.length === 0 && listed.length === 0) fault(1, 'there is no upload in it');
  return { listed, faults };
}

type Fault = (line: number, what: string) => void;

function check<T>(schema: z.ZodType<T>, { line, value, lineOf }: Row, fault: Fault): T | undefined {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    const key = String(issue.path[0] ?? '');
    if (issue.code === 'unrecognized_keys') {
      for (const unknown of issue.keys) fault(lineOf(unknown), `unknown key ${unknown}`);
    } else if (key === '') fault(line, issue.message);
    else fault(lineOf(key), `${key}: ${messageOf(issue)}`);
  }
  return undefined;
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_union') return issue.message;
  const inner = issue.errors.flat();
  return (inner.find(({ code }) => code === 'custom') ?? inner.at(-1))?.message ?? issue.message;
}

function toListed(entry: Entry, { path, line }: { path: string; line: number }): Listed {
  const { to, source, serverPull, lease, ...rest } = entry;
  return {
    to,
    order: {
      ...rest,
      source: serverPull ?? pathOf(source ?? '', path),
      serverPull: serverPull !== undefined,
      leaseSeconds: lease,
      origin: `${basename(path)}:${line}`,
    },
  };
}

/** Only what stands in the manifest may be a glob, and not the name of its folder. */
function pathOf(source: string, manifest: string): string {
  if (isAddress(source)) return source;
  const path = resolve(dirname(manifest), source);
  if (!isDynamicPattern(source) || existsSync(path)) return path;
  return isAbsolute(source) ? source : join(escapePath(resolve(dirname(manifest))), source);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FerryError('USAGE', `the manifest ${path} can't be read (${code})`, { cause: error });
  }
}

interface Rows {
  readonly rows: Row[];
  readonly defaults?: Row;
}

function rowsOfYaml(path: string, text: string, fault: Fault): Rows {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { prettyErrors: false, lineCounter });
  const lineAt = (node: unknown): number =>
    lineCounter.linePos((node as Node | undefined)?.range?.[0] ?? 0).line;
  for (const error of document.errors) {
    fault(lineCounter.linePos(error.pos[0]).line, error.message.split('\n')[0] ?? '');
  }
  if (document.errors.length > 0) return { rows: [] };
  const root = document.contents;
  const plain = (node: unknown): unknown => {
    try {
      return (node as Node).toJS(document);
    } catch (error) {
      fault(lineAt(node), (error as Error).message); // an alias that names nothing, or too much
      return undefined;
    }
  };
  const rowOf = (node: unknown): Row => ({
    line: lineAt(node),
    value: plain(node),
    lineOf(key) {
      const pair = isMap(node) ? node.items.find((item) => String(item.key) === key) : undefined;
      return lineAt(pair?.key ?? node);
    },
  });
  const list = isMap(root) ? root.get('uploads', true) : root;
  if (!isSeq(list)) {
    fault(lineAt(list ?? root), `${basename(path)} holds no list of uploads`);
    return { rows: [] };
  }
  const defaults = isMap(root) ? root.get('defaults', true) : undefined;
  for (const { key } of isMap(root) ? root.items : []) {
    if (!/^(uploads|defaults)$/.test(String(key))) fault(lineAt(key), `unknown key ${key}`);
  }
  return { rows: list.items.map(rowOf), ...(defaults ? { defaults: rowOf(defaults) } : {}) };
}

function rowsOfCsv(path: string, text: string, fault: Fault): Rows {
  try {
    const records = parseCsv(text, {
      info: true,
      skip_empty_lines: true,
      trim: true,
      relax_column_count: true, // told with its line below, like every other mistake
    }) as unknown as { record: string[]; info: { lines: number } }[];
    const [header, ...rest] = records;
    const columns = header?.record ?? [];
    for (const column of columns.filter((one) => !ENTRY_KEYS.includes(one))) {
      fault(1, `there is no column ${column}${suggestion(column, ENTRY_KEYS)}`);
    }
    const twice = columns.filter((column, i) => columns.indexOf(column) !== i);
    for (const column of twice) fault(1, `the column ${column} stands there twice`);
    let line = (header?.info.lines ?? 1) + 1;
    const rows = rest.flatMap(({ record, info }): Row[] => {
      const own = line;
      line = info.lines + 1;
      if (record.length !== columns.length) {
        fault(own, `expected ${columns.length} columns, got ${record.length}`);
        return [];
      }
      // An empty cell says nothing.
      const said = columns.flatMap((column, i) => (record[i] ? [[column, record[i]]] : []));
      return [{ line: own, value: Object.fromEntries(said), lineOf: () => own }];
    });
    return { rows };
  } catch (error) {
    const { lines = 1, message } = error as Error & { lines?: number };
    fault(lines, `${basename(path)} is no CSV: ${message}`);
    return { rows: [] };
  }
}
