import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import libxmljs from 'libxmljs2';

/** What `extract.mjs` wrote down of the published schemas. */
interface Facts {
  readonly elements: Readonly<Record<string, string>>;
  readonly groups: Readonly<Record<string, readonly string[]>>;
  readonly types: Readonly<Record<string, Type>>;
}

interface Type {
  readonly base?: string;
  readonly children: readonly Child[];
  /** By name; the simple type, with `!` where the attribute is required. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly any?: boolean;
}

interface Child {
  readonly name: string;
  readonly type?: string;
  /** Stands for the members of a substitution group. */
  readonly isRef?: boolean;
  readonly min: number;
  readonly many?: boolean;
}

const FILE = join(import.meta.dirname, '..', '..', '..', 'test', 'schema', 'facts.json');
const facts = JSON.parse(readFileSync(FILE, 'utf8')) as Facts;

/** Of the OVF schema no more than this is needed. */
const SECTION: Type = {
  children: [{ name: 'Info', min: 1, type: 'string' }],
  attributes: { required: 'boolean' },
};

const SIMPLE: Readonly<Record<string, RegExp>> = {
  boolean: /^(true|false|0|1)$/,
  int: /^-?\d{1,10}$/,
  long: /^-?\d{1,19}$/,
  dateTime: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$/,
};

/**
 * Checks a document against the facts: names, order and number of children, attributes, simple types.
 *
 * @returns what is wrong, as `Parent/Child@attribute: what`
 */
export function violations(text: string): string[] {
  const root = libxmljs.parseXml(text).root();
  if (!root) return ['no root'];
  const type = typeOfRoot(root.name());
  return type === undefined ? [`${root.name()}: unknown root`] : check(root, type);
}

function typeOfRoot(name: string): string | undefined {
  return facts.groups['References']?.includes(name) ? 'ReferencesType' : facts.elements[name];
}

function check(element: libxmljs.Element, declared: string): string[] {
  const typeName = namedType(element) ?? declared;
  const type = wholeType(typeName);
  if (!type) return simpleFault(element.text(), typeName, element.name());
  return [...attributeFaults(element, type), ...childFaults(element, type)];
}

/** As an element says itself, by `xsi:type`. */
function namedType(element: libxmljs.Element): string | undefined {
  return element
    .attrs()
    .find((a) => a.name() === 'type' && a.namespace()?.href().includes('XMLSchema-instance'))
    ?.value();
}

/** A type with everything that it extends. */
function wholeType(name: string): Type | undefined {
  if (name === 'Section_Type') return SECTION;
  const type = facts.types[name];
  const base = type?.base === undefined ? undefined : wholeType(type.base);
  if (!type || !base) return type;
  return {
    children: [...base.children, ...type.children],
    attributes: { ...base.attributes, ...type.attributes },
    any: Boolean(base.any || type.any),
  };
}

function attributeFaults(element: libxmljs.Element, { attributes }: Type): string[] {
  const faults: string[] = [];
  const own = new Map(
    element
      .attrs()
      .filter((attribute) => !attribute.namespace()?.href().includes('XMLSchema-instance'))
      .map((attribute) => [attribute.name(), attribute.value()]),
  );
  for (const [name, value] of own) {
    const place = `${element.name()}@${name}`;
    const type = attributes[name];
    if (type === undefined) faults.push(`${place}: unknown attribute`);
    else faults.push(...simpleFault(value, type.replace('!', ''), place));
  }
  for (const [name, type] of Object.entries(attributes)) {
    if (type.endsWith('!') && !own.has(name)) faults.push(`${element.name()}@${name}: missing`);
  }
  return faults;
}

/** Children come in the order of the sequence; what is passed over must be optional. */
function childFaults(element: libxmljs.Element, type: Type): string[] {
  const faults: string[] = [];
  let at = 0;
  let count = 0;
  const leave = (): void => {
    const wanted = type.children[at];
    if (wanted && count < wanted.min) faults.push(`${element.name()}/${wanted.name}: missing`);
    at += 1;
    count = 0;
  };
  for (const child of elementsIn(element)) {
    const place = `${element.name()}/${child.name()}`;
    const found = type.children.findIndex((wanted, i) => i >= at && matches(wanted, child.name()));
    if (found < 0) {
      faults.push(`${place}: unknown or out of order`);
      continue;
    }
    while (at < found) leave();
    count += 1;
    const wanted = type.children[at] as Child;
    if (count > 1 && !wanted.many) faults.push(`${place}: more than one`);
    const childType = wanted.isRef ? typeOfMember(child.name()) : wanted.type;
    if (childType !== undefined) faults.push(...check(child, childType));
  }
  while (at < type.children.length) leave();
  return faults;
}

function matches({ name, isRef }: Child, found: string): boolean {
  if (!isRef) return name === found;
  return facts.groups[name]?.includes(found) ?? name === found;
}

function typeOfMember(name: string): string | undefined {
  return facts.groups['Reference']?.includes(name) ? 'ReferenceType' : facts.elements[name];
}

function elementsIn(element: libxmljs.Element): libxmljs.Element[] {
  return element
    .childNodes()
    .filter((node) => node.type() === 'element')
    .map((node) => node as libxmljs.Element);
}

function simpleFault(value: string, type: string, place: string): string[] {
  const pattern = SIMPLE[type];
  return pattern && !pattern.test(value) ? [`${place}: "${value}" is no ${type}`] : [];
}
