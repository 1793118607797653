import { FerryError } from '../errors.ts';

/** Fields of an item by which a list may be narrowed and sorted. */
const FIELDS = {
  ...{ id: 'text', name: 'text', description: 'text', path: 'text', urn: 'text' },
  ...{ library: 'text', library_id: 'text', type: 'type', size: 'number' },
  ...{ version: 'number', content_version: 'number', metadata_version: 'number' },
  ...{ created_on: 'time', updated_on: 'time', creation_time: 'time', last_modified_time: 'time' },
} as const;

/** What may be said of a field, with what it means. */
const OPERATORS = {
  ...{ eq: 'equals', ne: 'does not equal', lt: 'is lower than', le: 'is at most' },
  ...{ gt: 'is greater than', ge: 'is at least', like: 'matches a pattern, % for anything' },
  in: 'is one of several, separated by commas',
} as const;

const TYPES: readonly string[] = ['OVF', 'ISO', 'VM'];

/** What helps whoever has misspelt a word; handed in, for its words are the caller's. */
type Suggest = (word: string, known: Iterable<string>) => string;

/**
 * Checks `FIELD,OPERATOR,VALUE` as the service takes it.
 *
 * @returns the same, to be sent
 * @throws FerryError USAGE naming the field, the operator or the value that is wrong
 */
export function parseFilter(text: string, suggest: Suggest = () => ''): string {
  const [field = '', operator, ...rest] = text.split(',');
  const value = rest.join(',');
  const refuse = (what: string, hint: string): never => {
    throw new FerryError('USAGE', `--filter ${text}: ${what}`, { hint });
  };
  if (operator === undefined || rest.length === 0) {
    refuse('expected FIELD,OPERATOR,VALUE', "Like --filter type,eq,ISO or 'name,like,ubuntu%'.");
  }
  const kind = kindOf(field);
  if (!kind)
    refuse(`there is no field ${field}${suggest(field, Object.keys(FIELDS))}`, KNOWN_FIELDS);
  if (!Object.hasOwn(OPERATORS, operator ?? '')) {
    const meant = suggest(operator ?? '', Object.keys(OPERATORS));
    refuse(`there is no operator ${operator}${meant}`, KNOWN_OPERATORS);
  }
  // It would end the filter, and begin another.
  if (value.includes(';'))
    refuse('a value has no semicolon', 'Say --filter once for each condition.');
  if (value === '') refuse('the value is missing', 'Like --filter type,eq,ISO.');
  for (const one of operator === 'in' ? rest : [value]) {
    const wrong = operator === 'like' || kind === undefined ? undefined : faultOf(one, kind);
    if (wrong) refuse(`${field} ${wrong}, and "${one}" is not`, 'See docs/content-library.md.');
  }
  return text;
}

/**
 * Checks `FIELD,asc` or `FIELD,desc`.
 *
 * @throws FerryError USAGE
 */
export function parseSort(text: string, suggest: Suggest = () => ''): string {
  const [field = '', order, ...more] = text.split(',');
  const refuse = (what: string, hint: string): never => {
    throw new FerryError('USAGE', `--sort ${text}: ${what}`, { hint });
  };
  if (!kindOf(field)) {
    refuse(`there is no field ${field}${suggest(field, Object.keys(FIELDS))}`, KNOWN_FIELDS);
  }
  if ((order !== 'asc' && order !== 'desc') || more.length > 0) {
    refuse('expected FIELD,asc or FIELD,desc', 'Like --sort name,desc.');
  }
  return text;
}

const KNOWN_FIELDS = `There are: ${Object.keys(FIELDS).join(', ')}.`;
const KNOWN_OPERATORS = `There are: ${Object.entries(OPERATORS)
  .map(([name, what]) => `${name} (${what})`)
  .join(', ')}.`;

type Kind = (typeof FIELDS)[keyof typeof FIELDS];

function kindOf(field: string): Kind | undefined {
  return Object.hasOwn(FIELDS, field) ? FIELDS[field as keyof typeof FIELDS] : undefined;
}

function faultOf(value: string, kind: Kind): string | undefined {
  if (kind === 'number' && !/^\d+$/.test(value)) return 'is a whole number';
  if (kind === 'type' && !TYPES.includes(value)) return `is one of ${TYPES.join(', ')}`;
  if (kind === 'time' && !/^\d{4}(-\d{2}(-\d{2}.*)?)?$/.test(value)) {
    return 'is a time like 2021-04-12';
  }
  return undefined;
}
