import type { Call, Reply, Route } from './call.ts';
import { doneTask, entityHref, findOwn } from './entity.ts';
import { forbidden } from './errors.ts';
import type { Item } from './model.ts';
import { childElements, childText, parseRequest, type RequestElement } from './validate.ts';
import { element, link, type Markup, mime, VCLOUD } from './xml.ts';

const PATH = '/api/(?:vAppTemplate|media)/([^/]+)/metadata';

/** Notes on templates and media: keys of the general domain, with typed values. */
export const metadataRoutes: readonly Route[] = [
  { method: 'GET', path: new RegExp(`^${PATH}$`), handle: getMetadata },
  { method: 'POST', path: new RegExp(`^${PATH}$`), handle: addMetadata },
  { method: 'GET', path: new RegExp(`^${PATH}/([^/]+)$`), handle: getValue },
  { method: 'PUT', path: new RegExp(`^${PATH}/([^/]+)$`), handle: putValue },
  { method: 'DELETE', path: new RegExp(`^${PATH}/([^/]+)$`), handle: deleteValue },
];

const XSI = 'http://www.w3.org/2001/XMLSchema-instance';

function getMetadata(call: Call): Reply {
  const item = findOwn(call);
  const href = `${entityHref(call.world, item)}/metadata`;
  const entries = [...item.entity.metadata].map(([key, value]) =>
    element(
      'MetadataEntry',
      { type: mime('metadata.value'), href: `${href}/${encodeURIComponent(key)}` },
      element('Key', {}, key),
      element('TypedValue', { 'xsi:type': value.type }, element('Value', {}, value.text)),
    ),
  );
  const xml = element(
    'Metadata',
    { xmlns: VCLOUD, 'xmlns:xsi': XSI, type: mime('metadata'), href },
    link('up', entityHref(call.world, item), item.entity.kind),
    ...entries,
  );
  return { status: 200, type: 'metadata', xml };
}

/** Adds to what is there. */
function addMetadata(call: Call): Reply {
  const item = findOwn(call);
  const root = parseRequest(call.body, 'Metadata');
  for (const entry of childElements(root, 'MetadataEntry')) {
    note(item, childText(entry, 'Key') ?? '', childElements(entry, 'TypedValue')[0]);
  }
  return doneTask(call, item, 'metadataUpdate', 'Updating metadata for');
}

function keyOf({ params }: Call): string {
  return decodeURIComponent(params[1] ?? '');
}

function getValue(call: Call): Reply {
  const value = findOwn(call).entity.metadata.get(keyOf(call));
  if (!value) throw forbidden('metadata');
  return { status: 200, type: 'metadata.value', xml: valueElement(value) };
}

function valueElement(value: { readonly type: string; readonly text: string }): Markup {
  return element(
    'MetadataValue',
    { xmlns: VCLOUD, 'xmlns:xsi': XSI, type: mime('metadata.value') },
    element('TypedValue', { 'xsi:type': value.type }, element('Value', {}, value.text)),
  );
}

function putValue(call: Call): Reply {
  const item = findOwn(call);
  const root = parseRequest(call.body, 'MetadataValue');
  note(item, keyOf(call), childElements(root, 'TypedValue')[0]);
  return doneTask(call, item, 'metadataUpdate', 'Updating metadata for');
}

function deleteValue(call: Call): Reply {
  const item = findOwn(call);
  if (!item.entity.metadata.delete(keyOf(call))) throw forbidden('metadata');
  return doneTask(call, item, 'metadataDelete', 'Deleting metadata for');
}

function note({ entity }: Item, key: string, typed: RequestElement | undefined): void {
  const type = typed?.attr('type')?.value() ?? 'MetadataStringValue';
  const text = typed ? (childText(typed, 'Value') ?? '') : '';
  entity.metadata.set(key, { type, text });
}
