import { readdir, realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { classify, FerryError } from '../errors.ts';
import type { ByteSource } from '../source/byte-source.ts';
import { fileError, isLossy, LocalFile } from '../source/local-file.ts';
import { openSource } from '../source/open-source.ts';
import type { SourceFile } from '../source/source-file.ts';
import { type ArchiveMember, indexArchive, isJunk, memberSource } from './archive.ts';

/** Where a package's files come from: an archive, or a folder. Names use `/`. */
export interface Container {
  /** All names, for finding the descriptor and the manifest. */
  readonly names: readonly string[];
  readonly warnings: readonly string[];
  /** What is odd and does no harm here. */
  readonly notes: readonly string[];
  /** Whether the order of the names is that of the package. */
  readonly isOrdered: boolean;
  /** Whether what is there can be known without asking for it by name. */
  readonly isListed: boolean;
  /**
   * The names in a folder below (ending in '/'), without the folder's, where `names` has only what lies at
   * the top; none if there is no such folder.
   */
  readonly list?: (folder: string) => Promise<readonly string[]>;
  /** Bytes of the member with exactly this name. */
  open(name: string): Promise<ByteSource>;
  /** The files that were opened so far. */
  opened(): SourceFile[];
  /** @throws FerryError SOURCE_CHANGED if any file that was opened was changed since */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
}

export const NO_END_MARK = 'the archive has no end mark: it may have been cut short';

/** @throws FerryError as `indexArchive` */
export async function openArchive(file: SourceFile): Promise<Container> {
  const { members, ended, oddities } = await indexArchive(file);
  const byName = new Map<string, ArchiveMember>();
  const twice = new Set<string>();
  for (const member of members) {
    if (byName.has(member.name)) twice.add(member.name);
    byName.set(member.name, member);
  }
  return {
    names: members.map(({ name }) => name),
    warnings: ended ? [] : [NO_END_MARK],
    notes: [
      ...oddities,
      ...(/\.ova$/i.test(file.name) ? [] : [`${file.name} is an OVA, though it is not called one`]),
    ],
    isOrdered: true,
    isListed: true,
    async open(name) {
      const member = byName.get(name);
      if (!member) throw missing(name);
      if (twice.has(name)) {
        throw new FerryError('PACKAGE_AMBIGUOUS', `the archive holds ${name} twice`, {
          facts: { member: name },
        });
      }
      return memberSource(file, member);
    },
    opened: () => [file],
    assertUnchanged: () => file.assertUnchanged(),
    close: () => file.close(),
  };
}

/**
 * The folder in which a descriptor lies. A link may not lead out of it.
 *
 * @throws FerryError SOURCE_…: only what is said not to be there is missing from the package
 */
export async function openFolder(descriptorPath: string): Promise<Container> {
  const asked = dirname(descriptorPath);
  const folder = await inOurWords(asked, realpath(asked));
  const opened = new Map<string, SourceFile>();
  const within = async (name: string): Promise<string> => {
    const path = join(folder, ...name.split('/'));
    const real = await inOurWords(path, realpath(path));
    if (real.startsWith(folder + sep)) return real;
    throw new FerryError('PACKAGE_UNSAFE', `${name} is a link that leads out of the package`, {
      facts: { member: name },
    });
  };
  const names = await namesIn(folder);
  return {
    names,
    ...{ warnings: [], notes: [], isOrdered: false, isListed: true },
    async list(below) {
      try {
        return await namesIn(await within(below));
      } catch (error) {
        if (isAbsent(error)) return [];
        throw error;
      }
    },
    async open(name) {
      const known = opened.get(name);
      if (known) return known;
      const real = await within(name).catch((error: unknown) => {
        throw isAbsent(error) ? missing(name, names) : error;
      });
      const file = await LocalFile.open(real);
      opened.set(name, file);
      return file;
    },
    ...holding(opened),
  };
}

async function namesIn(folder: string): Promise<string[]> {
  const names = await inOurWords(folder, readdir(folder));
  return names.filter((name) => !isJunk(name));
}

async function inOurWords<T>(path: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw fileError(path, error);
  }
}

function isAbsent(error: unknown): boolean {
  return classify(error).code === 'SOURCE_NOT_FOUND';
}

/** What lies beside a descriptor on a web server: it can't be listed, only asked for by name. */
export async function openBeside(descriptor: string): Promise<Container> {
  const base = new URL(descriptor);
  const own = nameIn(base);
  const opened = new Map<string, SourceFile>();
  const open = async (name: string): Promise<SourceFile> => {
    const known = opened.get(name);
    if (known) return known;
    const address = new URL(name.split('/').map(encodeURIComponent).join('/'), base);
    try {
      const file = await openSource(address.href);
      opened.set(name, file);
      return file;
    } catch (error) {
      if (classify(error).code === 'SOURCE_NOT_FOUND') throw missing(name);
      throw error;
    }
  };
  const names = [own];
  const manifest = own.replace(/\.ovf$/i, '.mf');
  const warnings: string[] = [];
  try {
    await open(manifest);
    names.push(manifest);
  } catch (error) {
    const { code, facts } = classify(error);
    // Some stores say "forbidden" of what is not there, and hardly any package says that it has one.
    const isAbsent = code === 'PACKAGE_INCOMPLETE' || facts['status'] === 403;
    if (!isAbsent) throw error;
    if (code !== 'PACKAGE_INCOMPLETE')
      warnings.push(`${manifest} may not be read; taken as absent`);
  }
  const kind = { isOrdered: false, isListed: false };
  return { names, warnings, notes: [], ...kind, open, ...holding(opened) };
}

/** @throws FerryError SOURCE_UNREADABLE for a name that no file can have */
function nameIn({ pathname, href }: URL): string {
  const last = pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    const name = decodeURIComponent(last);
    if (!name.includes('/') && name !== '..') return name;
  } catch {
    // a percent sign that begins nothing
  }
  throw new FerryError('SOURCE_UNREADABLE', `${href} ends in no name of a file`, {
    hint: 'Correct the address; a percent sign is written %25.',
  });
}

/** What has been opened, as a container tells and closes it. */
function holding(
  opened: ReadonlyMap<string, SourceFile>,
): Pick<Container, 'opened' | 'assertUnchanged' | 'close'> {
  return {
    opened: () => [...opened.values()],
    async assertUnchanged() {
      for (const file of opened.values()) await file.assertUnchanged();
    },
    async close() {
      for (const file of opened.values()) await file.close();
    },
  };
}

/** @param beside what lies beside it: it may be there under a name that can't be opened */
function missing(name: string, beside: readonly string[] = []): FerryError {
  const lossy = beside.find(isLossy);
  if (lossy !== undefined) {
    return new FerryError(
      'PACKAGE_INCOMPLETE',
      `${name} is missing from the package; the name of ${lossy} beside it is not UTF-8`,
      { facts: { member: name }, hint: 'Rename that file.' },
    );
  }
  return new FerryError('PACKAGE_INCOMPLETE', `${name} is missing from the package`, {
    facts: { member: name },
  });
}
