import { assertMayEdit, findByEntity, findItem } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { badRequest, forbidden } from './errors.ts';
import type { Item, Note } from './model.ts';
import { doneTask, entityHref } from './parts.ts';
import { childElements, childText, parseRequest, type RequestElement } from './validate.ts';
import { atLeast } from './versions.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

const PATH = '/api/(?:vAppTemplate|vApp|media|catalogItem)/([^/]+)/metadata';
const KEY = `${PATH}(?:/(SYSTEM|GENERAL))?/([^/]+)`;

/** Notes on templates, media and, apart from those, on catalog items: with typed values. */
export const metadataRoutes: readonly Route[] = [
  { method: 'GET', path: new RegExp(`^${PATH}$`), handle: getMetadata },
  { method: 'POST', path: new RegExp(`^${PATH}$`), handle: addMetadata },
  { method: 'GET', path: new RegExp(`^${KEY}$`), handle: getValue },
  { method: 'PUT', path: new RegExp(`^${KEY}$`), handle: putValue },
  { method: 'DELETE', path: new RegExp(`^${KEY}$`), handle: deleteValue },
];

const XSI = 'http://www.w3.org/2001/XMLSchema-instance';
const LONGEST_KEY = 256;

/** What is noted on: an item, or what it stands for. */
interface Noted {
  readonly item: Item;
  readonly notes: Map<string, Note>;
  readonly href: string;
}

function findNoted(call: Call): Noted {
  const { base } = call.world;
  if (call.path.startsWith('/api/catalogItem/')) {
    const item = findItem(call);
    return { item, notes: item.metadata, href: `${base}/api/catalogItem/${item.id}` };
  }
  const item = findByEntity(call);
  return { item, notes: item.entity.metadata, href: entityHref(call.world, item) };
}

function getMetadata(call: Call): Reply {
  const { item, notes, href } = findNoted(call);
  const entries = [...notes].map(([key, note]) =>
    element(
      'MetadataEntry',
      { type: mime('metadata.value'), href: `${href}/metadata/${encodeURIComponent(key)}` },
      domainElement(note),
      element('Key', {}, key),
      typedElement(note),
    ),
  );
  const isItem = call.path.startsWith('/api/catalogItem/');
  const xml = element(
    'Metadata',
    { xmlns: VCLOUD, 'xmlns:xsi': XSI, type: mime('metadata'), href: `${href}/metadata` },
    link('up', href, isItem ? 'catalogItem' : item.entity.kind),
    ...entries,
  );
  return { status: 200, type: 'metadata', xml };
}

/** Only what is not of the general domain says so. */
function domainElement({ domain }: Note): Markup | undefined {
  return domain === 'SYSTEM' ? element('Domain', { visibility: 'READONLY' }, domain) : undefined;
}

function typedElement({ type, text }: Note): Markup {
  return element('TypedValue', { 'xsi:type': type }, element('Value', {}, text));
}

/** Adds to what is there. */
function addMetadata(call: Call): Reply {
  const { item, notes } = findNoted(call);
  assertMayEdit(call, item);
  const root = parseRequest(call.body, 'Metadata');
  for (const entry of childElements(root, 'MetadataEntry')) {
    const key = childText(entry, 'Key') ?? '';
    notes.set(checked(key), noteOf(call, entry, childText(entry, 'Domain')));
  }
  return doneTask(call, item, 'metadataUpdate', 'Updating metadata for');
}

function keyOf({ params }: Call): string {
  return decodeURIComponent(params[2] ?? '');
}

/** @throws ApiError 400 */
function checked(key: string): string {
  if (key !== '' && key.length <= LONGEST_KEY) return key;
  throw badRequest(`Bad request\n - A key has 1 to ${LONGEST_KEY} characters`);
}

function getValue(call: Call): Reply {
  const note = findNoted(call).notes.get(keyOf(call));
  if (!note) throw forbidden('metadata');
  const xml = element(
    'MetadataValue',
    { xmlns: VCLOUD, 'xmlns:xsi': XSI, type: mime('metadata.value') },
    domainElement(note),
    typedElement(note),
  );
  return { status: 200, type: 'metadata.value', xml };
}

function putValue(call: Call): Reply {
  const { item, notes } = findNoted(call);
  assertMayEdit(call, item);
  const root = parseRequest(call.body, 'MetadataValue');
  const domain = call.params[1] ?? childText(root, 'Domain');
  notes.set(checked(keyOf(call)), noteOf(call, root, domain));
  return doneTask(call, item, 'metadataUpdate', 'Updating metadata for');
}

function deleteValue(call: Call): Reply {
  const { item, notes } = findNoted(call);
  assertMayEdit(call, item);
  if (!notes.delete(keyOf(call))) throw forbidden('metadata');
  return doneTask(call, item, 'metadataDelete', 'Deleting metadata for');
}

/** @throws ApiError 400 for a value without a type, which only versions before 5.1 know */
function noteOf({ version }: Call, parent: RequestElement, domain: string | undefined): Note {
  const [typed] = childElements(parent, 'TypedValue');
  if (!typed && atLeast(version, '5.1')) throw badRequest('Bad request\n - A value has a type');
  // Its prefix is the client's own.
  const type = typed?.attr('type')?.value().replace(/^.*:/, '') ?? 'MetadataStringValue';
  const text = childText(typed ?? parent, 'Value') ?? '';
  return { type, text, domain: domain === 'SYSTEM' ? 'SYSTEM' : 'GENERAL' };
}
