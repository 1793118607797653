import { NO_END_MARK } from './container.ts';
import type { PackageContents } from './contents.ts';
import type { OpenImage } from './image.ts';
import type { OvfPackage } from './package.ts';
import type { PackageFile } from './references.ts';
import { lookAtVmdk } from './vmdk.ts';

/** What whoever looks at a package should know. */
export interface Findings {
  /** What an import may fail by, or what comes out other than expected, worst first. */
  readonly warnings: readonly string[];
  /** What is odd, and does no harm here; other tools may refuse it. */
  readonly notes: readonly string[];
}

/** What an upload would say, and what a server would import: hardware, heads and ends of disks. */
export async function findingsOf(
  image: OvfPackage & Pick<OpenImage, 'identity'>,
  contents: PackageContents,
): Promise<Findings> {
  const disks: string[] = [];
  for (const file of image.files) disks.push(...(await diskWarnings(file, contents)));
  const isCut = (warning: string): boolean => warning === NO_END_MARK;
  return {
    // What may be broken, what may be refused, what is not vouched for or comes out other.
    warnings: [
      ...image.warnings.filter(isCut),
      ...disks,
      ...descriptorWarnings(contents),
      ...hardwareWarnings(contents),
      ...image.warnings.filter((warning) => !isCut(warning)),
    ],
    notes: [...image.notes, ...contentsNotes(image, contents)],
  };
}

function hardwareWarnings({ systems }: PackageContents): string[] {
  return systems.flatMap(({ id, hardware }) => {
    if (hardware.length === 0 || hardware.some((family) => /^vmx-\d+$/i.test(family))) return [];
    const families = hardware.join(' ');
    return [`${id} asks for the hardware ${families}; vCD's hosts have vmx-… and may refuse it`];
  });
}

function descriptorWarnings({
  bareAttributes,
  disks,
  networks,
  systems,
}: PackageContents): string[] {
  const warnings: string[] = [];
  const ids = new Set(disks.map(({ id }) => id));
  for (const { id, adapters, drives } of systems) {
    for (const drive of drives.filter((one) => !ids.has(one))) {
      warnings.push(`${id} has a drive with the disk ${drive}, which there is not`);
    }
    for (const adapter of adapters.filter((one) => one !== '' && !networks.includes(one))) {
      warnings.push(`${id} is on the network ${adapter}, which the descriptor does not describe`);
    }
  }
  if (bareAttributes > 0) {
    warnings.push(
      `the attributes of ${bareAttributes} files have no ovf: prefix, as the schema wants; a server may miss them`,
    );
  }
  for (const { id, isDelta } of disks) {
    if (isDelta)
      warnings.push(`disk ${id} holds only what differs from another; vCD may refuse it`);
  }
  return warnings;
}

async function diskWarnings(file: PackageFile, { disks }: PackageContents): Promise<string[]> {
  const disk = disks.find((candidate) => candidate.file === file.href);
  if (!disk && !/\.vmdk$/i.test(file.href)) return [];
  const { faults, capacityBytes } = await lookAtVmdk(file.source);
  const warnings = faults.map((fault) => `${file.href} ${fault}`);
  const said = disk?.capacityBytes ?? undefined;
  if (capacityBytes === undefined || said === undefined || said === capacityBytes) return warnings;
  warnings.push(`${file.href} is a disk of ${capacityBytes} bytes, the descriptor says ${said}`);
  return warnings;
}

function contentsNotes(
  { descriptorName, files, manifestName }: OvfPackage,
  { licences, hasBareElements }: PackageContents,
): string[] {
  const notes: string[] = [];
  if (descriptorName.includes('/')) {
    notes.push(`everything lies in a folder: ${descriptorName}`);
  }
  if (manifestName === undefined) {
    notes.push('there is no manifest: nothing says what the files should be');
  }
  if (hasBareElements) notes.push('its elements are in no namespace, as in old descriptors');
  if (licences > 0) notes.push('whoever deploys it has to accept a licence');
  for (const { href, members } of files) {
    const [member, ...others] = members;
    if (others.length > 0) {
      notes.push(`${href} lies in ${members.length} parts and is sent as one file`);
    } else if (member !== undefined && !member.endsWith(href)) {
      notes.push(`${href} is called ${member} in the package`);
    }
  }
  return notes;
}
