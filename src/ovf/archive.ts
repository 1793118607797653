import tar from 'tar-stream';
import { FerryError } from '../errors.ts';
import { type ByteSource, windowOf } from '../source/byte-source.ts';

/** A member of an OVA and where its bytes lie in the archive. */
export interface ArchiveMember {
  /** Without a leading `./`. */
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

export interface ArchiveIndex {
  readonly members: readonly ArchiveMember[];
  /** False if the archive lacks its end mark: it may have been cut exactly between two members. */
  readonly ended: boolean;
  /** What is odd about it and does no harm here, in words. */
  readonly oddities: readonly string[];
}

const BLOCK = 512;
/** More members than any package has; keeps a hostile archive from filling the memory. */
const MAX_MEMBERS = 10_000;
/** Long names and PAX records in front of one member. */
const MAX_HEADER_BYTES = 1024 * 1024;
const WINDOW_BYTES = 4 * 1024;

/**
 * Reads the headers of an OVA and skips the bodies, so the cost depends on the number of members,
 * not on their size. tar-stream parses the headers; it is fed nothing else.
 *
 * @throws FerryError PACKAGE_CORRUPT, PACKAGE_UNSUPPORTED, PACKAGE_UNSAFE
 */
export async function indexArchive(source: ByteSource): Promise<ArchiveIndex> {
  const readBlock = windowedReader(source);
  const members: ArchiveMember[] = [];
  const odd = new Oddities();
  let at = 0;
  for (;;) {
    if (at + BLOCK > source.size) return { members, ended: false, oddities: odd.words };
    const first = await readBlock(at);
    // The first zero block ends the archive: what follows it (padding, garbage, a second archive
    // put behind the first) is not part of the package.
    if (first.every((byte) => byte === 0)) return { members, ended: true, oddities: odd.words };
    const { header, next } = await readHeader(source, readBlock, at);
    const member = checkMember(source, header, next);
    if (member) members.push(member);
    odd.see(header);
    if (members.length > MAX_MEMBERS) {
      throw new FerryError('PACKAGE_UNSUPPORTED', `${source.name} has over ${MAX_MEMBERS} members`);
    }
    at = next + Math.ceil((header.size ?? 0) / BLOCK) * BLOCK;
  }
}

/** A member's bytes as a source. */
export function memberSource(archive: ByteSource, member: ArchiveMember): ByteSource {
  return windowOf(archive, member.name, {
    start: member.start,
    end: member.start + member.size,
  });
}

/** Names that are shown of what was left out. */
const SHOWN_JUNK = 5;

/** What other readers stumble over. */
class Oddities {
  readonly #junk: string[] = [];
  #isDotted = false;
  #hasPaxSize = false;

  see({ name, type, ...header }: tar.Header): void {
    const pax = (header as { pax?: Record<string, string> | null }).pax;
    if (name.startsWith('./')) this.#isDotted = true;
    if (pax?.['size'] !== undefined) this.#hasPaxSize = true;
    if (type === 'file' && isJunk(name.replace(/^(\.\/+)+/, ''))) this.#junk.push(name);
  }

  get words(): string[] {
    const words: string[] = [];
    if (this.#isDotted) words.push('names in the archive begin with ./');
    if (this.#hasPaxSize) {
      words.push('sizes are in PAX headers, which other tools do not read; vCD never sees them');
    }
    const more = this.#junk.length > SHOWN_JUNK ? ' …' : '';
    if (this.#junk.length > 0) {
      words.push(`left out: ${this.#junk.slice(0, SHOWN_JUNK).join(', ')}${more}`);
    }
    return words;
  }
}

type ReadBlock = (at: number) => Promise<Uint8Array>;

/** One large read first (the descriptor usually comes with it), small ones afterwards. */
function windowedReader(source: ByteSource): ReadBlock {
  let held: Buffer = Buffer.alloc(0);
  let heldFrom = 0;
  return async (at) => {
    if (at < heldFrom || at + BLOCK > heldFrom + held.length) {
      const want = at === 0 ? WINDOW_BYTES * 2 : WINDOW_BYTES;
      held = Buffer.alloc(Math.min(want, source.size - at));
      await source.read(held, at);
      heldFrom = at;
    }
    return held.subarray(at - heldFrom, at - heldFrom + BLOCK);
  };
}

/** Feeds tar-stream the blocks from `at` on until it has understood one member's header. */
async function readHeader(
  source: ByteSource,
  readBlock: ReadBlock,
  at: number,
): Promise<{ header: tar.Header; next: number }> {
  const extract = tar.extract();
  let header: tar.Header | undefined;
  let failure: Error | undefined;
  extract.on('entry', (found) => {
    header = found;
  });
  extract.on('error', (error) => {
    failure = error;
  });
  try {
    let next = at;
    while (!header) {
      if (next + BLOCK > source.size) throw cutShort(source, 'in the middle of a header');
      if (next - at > MAX_HEADER_BYTES) {
        throw new FerryError('PACKAGE_CORRUPT', `${source.name} has an endless header at ${at}`);
      }
      // The copy matters: the parser may hold on to what it is fed.
      extract.write(Buffer.from(await readBlock(next)));
      await new Promise(setImmediate);
      if (failure) {
        throw new FerryError(
          'PACKAGE_CORRUPT',
          `${source.name} is not a valid tar archive at byte ${next}`,
          { cause: failure, facts: { offset: next } },
        );
      }
      next += BLOCK;
    }
    return { header, next };
  } finally {
    extract.on('error', () => undefined);
    extract.destroy(); // never waits for a body
  }
}

/** Undefined for what a package does not consist of: folders and the like. */
function checkMember(
  source: ByteSource,
  header: tar.Header,
  start: number,
): ArchiveMember | undefined {
  const { name, size, type } = header;
  const pax = (header as { pax?: Record<string, string> | null }).pax ?? {};
  const fault = (code: 'PACKAGE_UNSUPPORTED' | 'PACKAGE_CORRUPT', what: string): FerryError =>
    new FerryError(code, `${source.name}: ${name} ${what}`, { facts: { member: name } });

  if (type === 'symlink' || type === 'link') {
    throw new FerryError(
      'PACKAGE_UNSAFE',
      `${source.name}: ${name} is a link to ${header.linkname}`,
      {
        facts: { member: name },
      },
    );
  }
  const sparse = Object.keys(pax).some((key) => key.startsWith('GNU.sparse.'));
  if (sparse || name.includes('GNUSparseFile.')) {
    throw fault(
      'PACKAGE_UNSUPPORTED',
      'is stored as a sparse member; build the OVA without tar -S',
    );
  }
  // tar-stream calls what it does not know null, GNU's own sparse type among it.
  if (type === null || type === undefined) {
    throw fault('PACKAGE_UNSUPPORTED', 'is of a kind that no package has (a sparse member?)');
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0) {
    throw fault('PACKAGE_CORRUPT', 'has a size that makes no sense');
  }
  const bytes = size as number;
  if (start + bytes > source.size) {
    throw fault(
      'PACKAGE_CORRUPT',
      `is cut short: ${bytes} bytes should follow, ${source.size - start} do`,
    );
  }
  if (type !== 'file' && type !== 'contiguous-file') return undefined;
  const plain = name.replace(/^(\.\/+)+/, '');
  if (plain.startsWith('/') || plain.split('/').includes('..')) {
    throw new FerryError('PACKAGE_UNSAFE', `${source.name}: ${name} leads out of the package`, {
      facts: { member: name },
    });
  }
  if (isJunk(plain)) return undefined;
  return { name: plain, start, size: bytes };
}

/** What macOS and some tars put beside the real files. */
export function isJunk(name: string): boolean {
  const base = name.split('/').at(-1) ?? '';
  return base.startsWith('._') || /^(__MACOSX|PaxHeaders[^/]*)\//.test(name);
}

function cutShort(source: ByteSource, where: string): FerryError {
  return new FerryError('PACKAGE_CORRUPT', `${source.name} is cut short ${where}`);
}
