import type libxmljs from 'libxmljs2';
import type { Deployment } from './model.ts';
import { parseSafely } from './validate.ts';
import { OVF } from './xml.ts';

/** A File that the server now waits for. */
export interface ExpectedFile {
  readonly name: string;
  readonly size: number | undefined;
}

/**
 * What vCD does with a descriptor once it has all of it: 1.0 and 1.1 only, nothing compressed, every
 * disk's file known.
 *
 * @throws Error with the sentence that becomes the task's error
 */
export function readDescriptor(bytes: Buffer): ExpectedFile[] {
  let root: libxmljs.Element | null;
  try {
    root = parseSafely(bytes).root();
  } catch (error) {
    throw new Error(`The OVF descriptor is not valid: ${(error as Error).message}`);
  }
  if (root?.name() !== 'Envelope' || root.namespace()?.href() !== OVF) {
    throw new Error('The OVF descriptor is not valid: unsupported envelope or OVF version.');
  }
  if (find(root, './o:VirtualSystem|./o:VirtualSystemCollection').length === 0) {
    throw new Error(
      'The OVF descriptor is not valid: no VirtualSystem or VirtualSystemCollection.',
    );
  }
  const expected = new Map<string, ExpectedFile>();
  const ids = new Set<string>();
  for (const file of find(root, './o:References/o:File')) {
    const href = attribute(file, 'href');
    const id = attribute(file, 'id');
    if (!href || !id) throw new Error('The OVF descriptor is not valid: a File lacks id or href.');
    if (ids.has(id)) throw new Error(`The OVF descriptor is not valid: duplicate File id ${id}.`);
    ids.add(id);
    const compression = attribute(file, 'compression');
    if (compression && compression !== 'identity') {
      throw new Error(`Compressed OVF packages are not supported: ${href}.`);
    }
    const size = attribute(file, 'size');
    if (size !== undefined && !/^\d+$/.test(size)) {
      throw new Error(`The OVF descriptor is not valid: size ${size} of ${href}.`);
    }
    expected.set(href, { name: href, size: size === undefined ? undefined : Number(size) });
  }
  for (const disk of find(root, './o:DiskSection/o:Disk')) {
    const reference = attribute(disk, 'fileRef');
    if (reference && !ids.has(reference)) {
      throw new Error(`The OVF descriptor is not valid: unknown file reference ${reference}.`);
    }
  }
  return [...expected.values()];
}

/** What an instantiation depends on besides. @throws Error with the sentence that becomes the task's error */
export function assertDeployable(bytes: Buffer, { acceptsEulas, sources }: Deployment): void {
  const root = parseSafely(bytes).root() as libxmljs.Element;
  if (!acceptsEulas && find(root, './/o:EulaSection').length > 0) {
    throw new Error('All EULAs must be accepted: set AllEULAsAccepted.');
  }
  const names = find(root, './o:NetworkSection/o:Network').map((one) => attribute(one, 'name'));
  const unknown = sources.find((source) => !names.includes(source));
  if (unknown === undefined) return;
  throw new Error(`NetworkMapping: the OVF descriptor has no network "${unknown}".`);
}

function find(root: libxmljs.Element, path: string): libxmljs.Element[] {
  return root.find(path, { o: OVF }) as libxmljs.Element[];
}

/** The schema qualifies these attributes; vCD is known to take them unqualified, too. */
function attribute(element: libxmljs.Element, name: string): string | undefined {
  return element.attr(name)?.value();
}

/** Lines of a manifest as a strict reader takes them. */
export function readManifest(bytes: Buffer): { algorithm: string; name: string; digest: string }[] {
  const entries = [];
  for (const line of bytes.toString('utf8').split(/\r?\n/)) {
    const match = /^SHA(1|256|512)\((.+)\)= ?([0-9a-f]+)$/i.exec(line);
    if (!match) continue;
    const [, bits = '', name = '', digest = ''] = match;
    entries.push({ algorithm: `sha${bits}`, name, digest: digest.toLowerCase() });
  }
  return entries;
}
