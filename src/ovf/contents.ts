import type { XmlElement } from '../xml.ts';

/** What a package is, as its descriptor tells. Plain data: it crosses a process boundary. */
export interface PackageContents {
  readonly product: {
    readonly name: string | null;
    readonly vendor: string | null;
    readonly version: string | null;
  } | null;
  readonly systems: readonly VirtualSystem[];
  readonly networks: readonly string[];
  readonly disks: readonly VirtualDisk[];
  /** Licences that whoever deploys it has to accept. */
  readonly licences: number;
  /** Settings that whoever deploys it may give, like `hostname`. */
  readonly properties: readonly string[];
  /** File elements whose attributes have no prefix, as the schema wants one. */
  readonly bareAttributes: number;
  /** Elements below the envelope are in no namespace, as in many 0.9 descriptors. */
  readonly hasBareElements: boolean;
}

interface VirtualSystem {
  readonly id: string;
  readonly name: string | null;
  readonly os: string | null;
  /** Hardware families, like `vmx-19`. */
  readonly hardware: readonly string[];
  readonly cpus: number | null;
  readonly memoryBytes: number | null;
  /** Names of the networks that its adapters are on, one for each adapter. */
  readonly adapters: readonly string[];
  /** Ids of the disks that its drives have. */
  readonly drives: readonly string[];
}

interface VirtualDisk {
  readonly id: string;
  /** The href of its file; null for an empty disk. */
  readonly file: string | null;
  /** Null where it is a property, or no number. */
  readonly capacityBytes: number | null;
  readonly format: string | null;
  /** It holds only what differs from another disk. */
  readonly isDelta: boolean;
}

/** CIM's resource types (DSP0004's CIM_ResourceAllocationSettingData). */
const CPU = '3';
const MEMORY = '4';
const ETHERNET = '10';

/** Longer lists tell nobody anything. */
const AT_MOST = 1_000;

/** Elements are found by local name, as everywhere in descriptors. */
export function contentsOf(root: XmlElement): PackageContents {
  const references = root.child('References')?.children('File') ?? [];
  const hrefs = new Map(
    references.map((file) => [file.attribute('id') ?? '', file.attribute('href') ?? '']),
  );
  const product = sectionsOf(root, 'ProductSection')[0];
  return {
    product: product
      ? {
          name: textOf(product, 'Product'),
          vendor: textOf(product, 'Vendor'),
          version: textOf(product, 'FullVersion') ?? textOf(product, 'Version'),
        }
      : null,
    systems: [...root.descendants('VirtualSystem'), ...root.descendants('Content')]
      .slice(0, AT_MOST)
      .map(systemOf),
    networks: root
      .descendants('Network')
      .slice(0, AT_MOST)
      .flatMap((network) => network.attribute('name') ?? []),
    disks: root
      .descendants('Disk')
      .slice(0, AT_MOST)
      .map((disk) => diskOf(disk, hrefs)),
    licences: sectionsOf(root, 'EulaSection').length,
    properties: root
      .descendants('Property')
      .slice(0, AT_MOST)
      .filter((property) => property.attribute('userConfigurable') === 'true')
      .flatMap((property) => property.attribute('key') ?? []),
    bareAttributes: references.filter(
      (file) => file.attribute('href', (namespace) => namespace === '') !== undefined,
    ).length,
    hasBareElements: root.child('References')?.namespace === '',
  };
}

/** Sections below an element; 0.9 calls each Section, and gives its kind as a type. */
export function sectionsOf(parent: XmlElement, name: string): XmlElement[] {
  const isTyped = (section: XmlElement): boolean =>
    section.attribute('type')?.split(':').at(-1) === `${name}_Type`;
  return [...parent.descendants(name), ...parent.descendants('Section').filter(isTyped)];
}

function systemOf(system: XmlElement): VirtualSystem {
  const [hardware] = sectionsOf(system, 'VirtualHardwareSection');
  const items = ['Item', 'StorageItem', 'EthernetPortItem'].flatMap(
    (name) => hardware?.children(name) ?? [],
  );
  const ofType = (type: string): XmlElement[] =>
    items.filter((item) => textOf(item, 'ResourceType') === type);
  const [cpu] = ofType(CPU);
  const [memory] = ofType(MEMORY);
  const [os] = sectionsOf(system, 'OperatingSystemSection');
  const families = hardware?.child('System')?.child('VirtualSystemType')?.text ?? '';
  return {
    id: system.attribute('id') ?? '',
    name: textOf(system, 'Name'),
    os: (os && (textOf(os, 'Description') ?? os.attribute('osType'))) ?? null,
    hardware: families.split(/\s+/).filter((family) => family !== ''),
    cpus: cpu ? numberOf(textOf(cpu, 'VirtualQuantity')) : null,
    memoryBytes: memory
      ? times(
          numberOf(textOf(memory, 'VirtualQuantity')),
          unitBytes(textOf(memory, 'AllocationUnits') ?? 'byte * 2^20'),
        )
      : null,
    adapters: ofType(ETHERNET).map((adapter) => textOf(adapter, 'Connection') ?? ''),
    drives: items.flatMap((item) => {
      const [, disk] = /^(?:ovf:)?\/disk\/(.+)$/.exec(textOf(item, 'HostResource') ?? '') ?? [];
      return disk ?? [];
    }),
  };
}

function diskOf(disk: XmlElement, hrefs: ReadonlyMap<string, string>): VirtualDisk {
  const reference = disk.attribute('fileRef') ?? '';
  const units = disk.attribute('capacityAllocationUnits') ?? 'byte';
  return {
    id: disk.attribute('diskId') ?? '',
    file: hrefs.get(reference) ?? null,
    capacityBytes: times(numberOf(disk.attribute('capacity') ?? null), unitBytes(units)),
    format: disk.attribute('format') ?? null,
    isDelta: disk.attribute('parentRef') !== undefined,
  };
}

function textOf(parent: XmlElement, name: string): string | null {
  const text = parent.child(name)?.text.trim() ?? '';
  return text === '' ? null : text;
}

function numberOf(text: string | null): number | null {
  return text !== null && /^\s*\d{1,15}\s*$/.test(text) ? Number(text) : null;
}

function times(one: number | null, other: number | null): number | null {
  const product = one === null || other === null ? Number.NaN : one * other;
  return Number.isSafeInteger(product) ? product : null;
}

/** `byte * 2^20` (DSP0004, annex C), or a word as older tools have it; null if it is neither. */
function unitBytes(units: string): number | null {
  const [, base, exponent] =
    /^\s*bytes?\s*(?:\*\s*(\d{1,4})\s*\^\s*(\d{1,3}))?\s*$/i.exec(units) ?? [];
  if (base !== undefined) return Number(base) ** Number(exponent);
  if (/^\s*bytes?\s*$/i.test(units)) return 1;
  const [, prefix] =
    /^\s*(k|m|g|t)(?:b|ilobytes?|egabytes?|igabytes?|erabytes?)\s*$/i.exec(units) ?? [];
  return prefix === undefined ? null : 1024 ** ('kmgt'.indexOf(prefix.toLowerCase()) + 1);
}
