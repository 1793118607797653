// node test/schema/extract.mjs FOLDER > test/schema/facts.json
//
// Reads the published schemas of the vCloud API (FOLDER holds 1.5/schemas and schemas/versioning) and
// writes down what our answers are checked against: which element has which attributes and children,
// in which order. Only what the answers' root elements lead to.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import libxmljs from 'libxmljs2';

const ROOTS =
  'Session OrgList Org Catalog CatalogItem VAppTemplate Media Task Error Metadata MetadataValue QueryList QueryResultRecords Vdc VApp VdcStorageProfile LeaseSettingsSection OrgVAppTemplateLeaseSettings SupportedVersions CatalogReferences'.split(
    ' ',
  );
const XS = { xs: 'http://www.w3.org/2001/XMLSchema' };
const [folder] = process.argv.slice(2);
const types = {};
const elements = {};
/** Attributes that several types share. */
const attributeGroups = {};
/** From the head of a substitution group to its members. */
const groups = {};

const files = readdirSync(folder, { recursive: true }).map(String).sort();
for (const file of files.filter((name) => name.endsWith('.xsd'))) {
  const root = libxmljs.parseXml(readFileSync(join(folder, file), 'utf8')).root();
  for (const group of root.find('./xs:attributeGroup[@name]', XS)) {
    attributeGroups[at(group, 'name')] = readAttributes(group);
  }
  for (const type of root.find('./xs:complexType[@name]', XS))
    types[at(type, 'name')] ??= readType(type);
  for (const element of root.find('./xs:element[@name]', XS)) {
    elements[at(element, 'name')] ??= at(element, 'type');
    const head = at(element, 'substitutionGroup');
    if (head) groups[local(head)] = [...(groups[local(head)] ?? []), at(element, 'name')];
  }
}
process.stdout.write(`${JSON.stringify(reachable(), null, 1)}\n`);

function at(node, name) {
  return node.attr(name)?.value();
}

function local(name) {
  return name.slice(name.indexOf(':') + 1);
}

function readType(type) {
  const extension = type.get('./*/xs:extension', XS);
  const body = extension ?? type;
  return {
    base: extension ? local(at(extension, 'base')) : undefined,
    children: body.find('./xs:sequence/xs:element', XS).map((element) => ({
      name: local(at(element, 'name') ?? at(element, 'ref')),
      type: at(element, 'type') && local(at(element, 'type')),
      isRef: at(element, 'ref') !== undefined || undefined,
      min: Number(at(element, 'minOccurs') ?? 1),
      many: at(element, 'maxOccurs') === 'unbounded' || undefined,
    })),
    attributes: readAttributes(body),
    groups: body.find('./xs:attributeGroup[@ref]', XS).map((group) => local(at(group, 'ref'))),
    any: body.get('./xs:sequence/xs:any', XS) ? true : undefined,
  };
}

function only(names) {
  return Object.fromEntries(names.map((name) => [name, groups[name] ?? []]));
}

function readAttributes(body) {
  return Object.fromEntries(
    body
      .find('./xs:attribute[@name]', XS)
      .map((a) => [
        at(a, 'name'),
        `${local(at(a, 'type'))}${at(a, 'use') === 'required' ? '!' : ''}`,
      ]),
  );
}

/** Without what no answer of ours can contain. */
function reachable() {
  const records = (groups.Record ?? []).filter((name) =>
    /^(Admin)?(Org|Catalog|CatalogItem|VAppTemplate|Media|Task|OrgVdc|OrgVdcStorageProfile)Record$/.test(
      name,
    ),
  );
  const wanted = [...ROOTS, ...records];
  const kept = {
    elements: {},
    groups: {
      ...only(['References', 'Reference']),
      Record: records,
      Section: ['LeaseSettingsSection'],
    },
    types: {},
  };
  const open = wanted.map((name) => {
    kept.elements[name] = local(elements[name] ?? '');
    return kept.elements[name];
  });
  // What `xsi:type` may name.
  open.push(...Object.keys(types).filter((name) => /^Metadata\w+Value$/.test(name)));
  while (open.length > 0) {
    const name = open.pop();
    const type = types[name];
    if (!type || kept.types[name]) continue;
    const { groups: shared, ...facts } = type;
    const attributes = Object.assign(
      {},
      ...shared.map((group) => attributeGroups[group]),
      type.attributes,
    );
    kept.types[name] = { ...facts, attributes };
    if (type.base) open.push(type.base);
    for (const child of type.children) if (child.type) open.push(child.type);
  }
  return kept;
}
