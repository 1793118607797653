import {
  DESCRIPTOR_LIMITS,
  parseXml,
  type ScannedTag,
  scanXml,
  type XmlElement,
  XmlError,
} from '../xml.ts';
import { contentsOf, type PackageContents, sectionsOf } from './contents.ts';

/** A File of the descriptor's References. */
export interface FileReference {
  readonly id: string;
  readonly href: string;
  /** Bytes; undefined if missing or not a number. */
  readonly size: number | undefined;
  readonly chunkBytes: number | undefined;
  readonly compression: string | undefined;
}

/** What we need to know of a descriptor. Plain data: it crosses a process boundary. */
export interface DescriptorFacts {
  readonly version: '0.9' | '1.x' | '2.x';
  readonly files: readonly FileReference[];
  readonly virtualSystems: readonly string[];
  /** What it asks for and vCD does not do, in words. */
  readonly unsupported: readonly string[];
  /** What is wrong with its namespaces, and only strict parsers refuse. */
  readonly namespaceFaults: readonly string[];
  /** What makes the descriptor useless, in words; empty if nothing does. */
  readonly problems: readonly string[];
  /** What the package is; undefined unless that was asked for. */
  readonly contents?: PackageContents;
}

const VERSIONS: Readonly<Record<string, DescriptorFacts['version']>> = {
  'http://schemas.dmtf.org/ovf/envelope/1': '1.x',
  'http://schemas.dmtf.org/ovf/envelope/2': '2.x',
  'http://www.vmware.com/schema/ovf/1/envelope': '0.9',
};

/** The first ones are mended first. */
const TOLD_FAULTS = 3;

/**
 * Reads a descriptor (DSP0243 clause 7). Elements are found by local name below a checked root,
 * since 0.9 descriptors have children without a namespace.
 *
 * @throws XmlError if it is not XML at all, or not an Envelope
 */
export function parseDescriptor(
  text: string,
  { contents = false }: { readonly contents?: boolean } = {},
): DescriptorFacts {
  const root = parseXml(text, DESCRIPTOR_LIMITS);
  if (root.name !== 'Envelope') {
    const what = /^html$/i.test(root.name) ? 'an HTML page' : `a ${root.name} document`;
    throw new XmlError(`is ${what}, not an OVF envelope`);
  }
  const version = VERSIONS[root.namespace];
  if (!version) throw new XmlError(`has the unknown OVF namespace "${root.namespace}"`);
  const files = (root.child('References')?.children('File') ?? []).map(parseFile);
  return {
    version,
    files,
    virtualSystems: root.descendants('VirtualSystem').map((system) => system.attribute('id') ?? ''),
    unsupported: unsupportedOf(root),
    namespaceFaults: root.namespaceFaults().slice(0, TOLD_FAULTS),
    problems: problemsOf(root, files),
    ...(contents ? { contents: contentsOf(root) } : {}),
  };
}

function parseFile(file: XmlElement): FileReference {
  const ovf = (name: string): string | undefined =>
    file.attribute(name, (namespace) => namespace === '' || namespace in VERSIONS);
  return {
    id: ovf('id') ?? '',
    href: ovf('href') ?? '',
    size: wholeNumber(ovf('size')),
    chunkBytes: wholeNumber(ovf('chunkSize')),
    compression: ovf('compression'),
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  return Number(text);
}

/** Sections of DSP0243, and those of VMware's own in namespaces of theirs. */
const KNOWN_SECTIONS = /^http:\/\/(schemas\.dmtf\.org\/ovf|www\.vmware\.com)\//;

/**
 * Parts that vCD passes over (10.x Tenant Portal Guide, "Upload an OVF Template"), or that it needs and
 * are not there.
 */
function unsupportedOf(root: XmlElement): string[] {
  const found: string[] = [];
  found.push(...systemsOf(root).flatMap(hardwareFaults));
  for (const section of root.requiredElements()) {
    // Older ones are in no namespace at all.
    if (section.namespace === '' || KNOWN_SECTIONS.test(section.namespace)) continue;
    found.push(`it requires the section ${section.name} (line ${section.line}), unknown to vCD`);
  }
  if (root.descendants('DeploymentOptionSection').length > 0) {
    found.push('it has deployment options, of which vCD knows none but the default');
  }
  if (root.descendants('ExtraConfig').length > 0) {
    found.push('it has extra configuration, of which vCD keeps only what its provider allows');
  }
  return found;
}

/** 0.9 calls it Content and gives its kind as a type. */
function systemsOf(root: XmlElement): XmlElement[] {
  return [...root.descendants('VirtualSystem'), ...root.children('Content')];
}

function hardwareFaults(system: XmlElement): string[] {
  const id = system.attribute('id') ?? '';
  const [hardware] = sectionsOf(system, 'VirtualHardwareSection');
  if (!hardware) return [`${id} has no VirtualHardwareSection: vCD may refuse it`];
  const isNewer = ['StorageItem', 'EthernetPortItem'].some((name) => hardware.child(name));
  return isNewer && system.namespace.endsWith('/1')
    ? [`the hardware of ${id} is described as in OVF 2, in an envelope of OVF 1`]
    : [];
}

function problemsOf(root: XmlElement, files: readonly FileReference[]): string[] {
  const problems: string[] = [];
  if (files.some(({ href }) => href === '')) problems.push('a File has no href');
  const ids = new Set(files.map(({ id }) => id));
  for (const disk of root.descendants('Disk')) {
    const reference = disk.attribute('fileRef');
    if (reference !== undefined && reference !== '' && !ids.has(reference)) {
      problems.push(
        `disk ${disk.attribute('diskId') ?? ''} refers to the unknown file ${reference}`,
      );
    }
  }
  if (systemsOf(root).length === 0) problems.push('it has no VirtualSystem');
  return problems;
}

/**
 * The descriptor with these sizes in its Files, all other bytes as they were: vCD answers
 * "Client sent more data than expected" where `ovf:size` and the file differ.
 *
 * @param sizes bytes by position in References; undefined leaves a File as it is
 */
export function withFileSizes(text: string, sizes: readonly (number | undefined)[]): string {
  const prefixes = ovfPrefixes(text);
  const isOvf = (name: string, local: string): boolean =>
    name === local || prefixes.some((prefix) => name === `${prefix}:${local}`);
  let corrected = '';
  let copied = 0;
  for (const [i, tag] of fileTags(text).entries()) {
    const size = sizes[i];
    if (size === undefined) continue;
    const present = tag.attributes.find(({ name }) => isOvf(name, 'size'));
    if (present) {
      corrected += text.slice(copied, present.start) + size;
      copied = present.end;
    } else {
      const href = tag.attributes.find(({ name }) => isOvf(name, 'href'))?.name ?? '';
      const prefix = href.slice(0, href.indexOf(':') + 1);
      corrected += `${text.slice(copied, tag.nameEnd)} ${prefix}size="${size}"`;
      copied = tag.nameEnd;
    }
  }
  return corrected + text.slice(copied);
}

/** The prefixes that the root binds to an OVF namespace: other vendors have sizes of their own. */
function ovfPrefixes(text: string): string[] {
  for (const { attributes } of scanXml(text)) {
    return attributes
      .filter(({ name, value }) => name.startsWith('xmlns:') && value in VERSIONS)
      .map(({ name }) => name.slice('xmlns:'.length));
  }
  return [];
}

/** The tags of the Files in the first References below the root, in order. */
function fileTags(text: string): ScannedTag[] {
  const files: ScannedTag[] = [];
  let references = 0;
  let inside = false;
  for (const tag of scanXml(text)) {
    if (tag.depth <= 2) {
      inside = tag.depth === 2 && localName(tag.name) === 'References' && references === 0;
      if (inside) references += 1;
    } else if (inside && tag.depth === 3 && localName(tag.name) === 'File') {
      files.push(tag);
    }
  }
  return files;
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}
