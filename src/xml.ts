import libxmljs from 'libxmljs2';

/**
 * The only door to libxmljs2, which bundles a libxml2 of 2019 with known memory-safety holes. Almost
 * all of them need a document type or an option; so no text reaches the parser that has a `<!` other
 * than a comment or CDATA, or that is large enough in any dimension to hurt (see SECURITY.md).
 */
export interface XmlLimits {
  readonly maxBytes: number;
  readonly maxElements: number;
  readonly maxDepth: number;
  readonly maxAttributes: number;
}

/** What real descriptors stay far below: 956 of them reach 4.1 MB, 3,244 elements, depth 9, 10 attributes. */
export const DESCRIPTOR_LIMITS: XmlLimits = {
  maxBytes: 12 * 1024 * 1024,
  maxElements: 50_000,
  maxDepth: 64,
  maxAttributes: 64,
};

/** A catalog lists its items unpaged, so a server's reply may be longer than any descriptor. */
export const REPLY_LIMITS: XmlLimits = {
  maxBytes: 32 * 1024 * 1024,
  maxElements: 250_000,
  maxDepth: 64,
  maxAttributes: 64,
};

/** Text that is not XML we accept. `line` counts from 1, 0 where unknown. */
export class XmlError extends Error {
  override readonly name = 'XmlError';
  readonly line: number;

  constructor(message: string, line = 0) {
    super(line > 0 ? `${message} (line ${line})` : message);
    this.line = line;
  }
}

/** One attribute of a start tag; `start` and `end` are the offsets of its value in the text. */
interface ScannedAttribute {
  readonly name: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** A start tag as it stands in the text; `nameEnd` is where an attribute could be inserted. */
export interface ScannedTag {
  readonly name: string;
  readonly nameEnd: number;
  /** 1 for the root. */
  readonly depth: number;
  readonly attributes: readonly ScannedAttribute[];
}

/**
 * Walks over the tags of a text in one pass and refuses what the parser must not see: document
 * types, entity declarations, NUL, and more of anything than the limits allow.
 *
 * @throws XmlError
 */
export function* scanXml(
  text: string,
  limits: XmlLimits = DESCRIPTOR_LIMITS,
): Generator<ScannedTag> {
  if (text.length > limits.maxBytes) throw new XmlError(`is longer than ${limits.maxBytes} bytes`);
  const nul = text.indexOf('\0');
  if (nul >= 0) throw new XmlError('contains a NUL character', lineAt(text, nul));
  let depth = 0;
  let elements = 0;
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    const skipped = skipMarkup(text, at);
    if (skipped !== undefined) {
      at = skipped;
    } else if (text[at + 1] === '/') {
      depth -= 1;
      at = endOf(text, '>', at);
    } else {
      const { next, empty, ...tag } = scanStartTag(text, at, limits.maxAttributes);
      elements += 1;
      if (elements > limits.maxElements) throw new XmlError('has too many elements');
      if (depth >= limits.maxDepth) throw new XmlError('is nested too deeply', lineAt(text, at));
      yield { ...tag, depth: depth + 1 };
      if (!empty) depth += 1;
      at = next;
    }
  }
}

/** Steps over a comment, CDATA or processing instruction; refuses every other `<!`. */
function skipMarkup(text: string, at: number): number | undefined {
  if (text.startsWith('<!--', at)) return endOf(text, '-->', at + 4);
  if (text.startsWith('<![CDATA[', at)) return endOf(text, ']]>', at + 9);
  if (text.startsWith('<?', at)) return endOf(text, '?>', at + 2);
  if (text.startsWith('<!', at)) {
    throw new XmlError('has a document type or entity declaration', lineAt(text, at));
  }
  return undefined;
}

function endOf(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from);
  if (end < 0) throw new XmlError(`ends before "${mark}"`, lineAt(text, from));
  return end + mark.length;
}

const NAME = /[^\s/>="'<]+/y;
const SPACE = /\s*/y;

function scanStartTag(
  text: string,
  at: number,
  maxAttributes: number,
): Omit<ScannedTag, 'depth'> & { next: number; empty: boolean } {
  const match = (pattern: RegExp, from: number): string => {
    pattern.lastIndex = from;
    return pattern.exec(text)?.[0] ?? '';
  };
  const bad = (where: number): XmlError => new XmlError('has a malformed tag', lineAt(text, where));
  const name = match(NAME, at + 1);
  if (name === '') throw bad(at);
  const nameEnd = at + 1 + name.length;
  const attributes: ScannedAttribute[] = [];
  let here = nameEnd;
  for (;;) {
    here += match(SPACE, here).length;
    if (text[here] === '>') return { name, nameEnd, attributes, next: here + 1, empty: false };
    if (text.startsWith('/>', here)) {
      return { name, nameEnd, attributes, next: here + 2, empty: true };
    }
    const attribute = match(NAME, here);
    if (attribute === '') throw bad(here);
    here += attribute.length;
    here += match(SPACE, here).length;
    if (text[here] !== '=') throw bad(here);
    here += 1;
    here += match(SPACE, here).length;
    const quote = text[here];
    if (quote !== '"' && quote !== "'") throw bad(here);
    const start = here + 1;
    const end = endOf(text, quote, start) - 1;
    attributes.push({ name: attribute, value: text.slice(start, end), start, end });
    if (attributes.length > maxAttributes) {
      throw new XmlError('has a tag with too many attributes', lineAt(text, at));
    }
    here = end + 1;
  }
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
  }
  return line;
}

/** Of libxml2's levels, which begin with warnings, the first that says that something is wrong. */
const ERROR_LEVEL = 2;

/** An element; names are local names, because real files mix namespaces freely (0.9 descriptors). */
export class XmlElement {
  readonly #node: libxmljs.Element;

  constructor(node: libxmljs.Element) {
    this.#node = node;
  }

  get name(): string {
    return this.#node.name();
  }

  get namespace(): string {
    return this.#node.namespace()?.href() ?? '';
  }

  get line(): number {
    return this.#node.line();
  }

  get text(): string {
    return this.#node.text();
  }

  /**
   * The value of the attribute with this local name.
   *
   * @param isWanted which namespaces count; by default all. Attributes without prefix have none ('').
   */
  attribute(name: string, isWanted?: (namespace: string) => boolean): string | undefined {
    if (!isWanted) return this.#node.attr(name)?.value();
    // Safe behind the guard: what makes `attrs()` dangerous needs an entity declaration.
    return this.#node
      .attrs()
      .find((found) => found.name() === name && isWanted(found.namespace()?.href() ?? ''))
      ?.value();
  }

  children(name?: string): XmlElement[] {
    const found: XmlElement[] = [];
    for (const node of this.#node.childNodes()) {
      if (node.type() !== 'element') continue;
      const element = node as libxmljs.Element;
      if (name === undefined || element.name() === name) found.push(new XmlElement(element));
    }
    return found;
  }

  child(name: string): XmlElement | undefined {
    return this.children(name)[0];
  }

  /**
   * What is wrong with the namespaces of its document, each with its line: prefixes that are not declared,
   * attributes that are one and the same. Only strict parsers refuse it.
   */
  namespaceFaults(): string[] {
    return this.#node
      .doc()
      .errors.filter(({ level }) => (level ?? 0) >= ERROR_LEVEL)
      .map(({ message, line }) => `${message.trim()} (line ${line})`);
  }

  /** Every element below this one that is said to be required. */
  requiredElements(): XmlElement[] {
    return this.#find(`.//*[@*[local-name()='required']='true']`);
  }

  /** Every element below this one with that local name, in document order. */
  descendants(name: string): XmlElement[] {
    return this.#find(`.//*[local-name()='${name}']`);
  }

  #find(path: string): XmlElement[] {
    return this.#node.find(path).map((node) => new XmlElement(node as libxmljs.Element));
  }
}

/**
 * Guards, then parses. No entities are expanded, nothing is loaded.
 *
 * @returns the root element
 * @throws XmlError
 */
export function parseXml(text: string, limits: XmlLimits = DESCRIPTOR_LIMITS): XmlElement {
  for (const _tag of scanXml(text, limits));
  let root: libxmljs.Element | null;
  try {
    root = libxmljs.parseXml(text, { nonet: true }).root();
  } catch (error) {
    const { message, line } = error as { message: string; line?: number };
    throw new XmlError(message.trim(), line ?? 0);
  }
  if (!root) throw new XmlError('has no root element');
  return new XmlElement(root);
}

/** What `buildXml` makes an element of. Attributes and children that are undefined are left out. */
export interface XmlSpec {
  readonly name: string;
  /** Its parent's unless another is given. */
  readonly namespace?: string;
  readonly attributes?: Readonly<Record<string, string | undefined>>;
  readonly children?: readonly (XmlSpec | undefined)[];
  readonly text?: string;
}

/** Characters that no XML 1.0 document may contain; the builder would emit them raw. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const ILLEGAL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

/** Builds a document in one default namespace. Illegal characters are dropped, the rest is escaped. */
export function buildXml(root: XmlSpec, namespace: string): string {
  const document = new libxmljs.Document();
  const node = document.node(root.name);
  node.namespace(namespace);
  fill(node, root);
  return document.toString(false);
}

function fill(node: libxmljs.Element, spec: XmlSpec): void {
  for (const [name, value] of Object.entries(spec.attributes ?? {})) {
    if (value !== undefined) node.attr({ [name]: value.replace(ILLEGAL, '') });
  }
  if (spec.text !== undefined) node.text(spec.text.replace(ILLEGAL, ''));
  for (const child of spec.children ?? []) {
    if (!child) continue;
    const made = node.node(child.name);
    made.namespace(child.namespace ?? node.namespace()?.href() ?? '');
    fill(made, child);
  }
}
