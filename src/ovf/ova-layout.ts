import tar from 'tar-stream';
import { type ByteSource, concatenationOf } from '../source/byte-source.ts';

/** A member that an archive is to have. */
export interface OvaMember {
  readonly name: string;
  readonly source: ByteSource;
}

/** An archive that is made while it is read. */
export interface OvaSource {
  readonly source: ByteSource;
  /** Where each member's bytes begin, in their order. */
  readonly starts: readonly number[];
}

const BLOCK = 512;
/** Two blocks of zeros (POSIX.1, ustar). */
const END = Buffer.alloc(2 * BLOCK);

/**
 * An OVA of members, as bytes that can be read from any offset: headers and padding are made here, and
 * what lies between them is read from the members.
 *
 * @param modifiedAt of all members: the same members give the same bytes
 */
export async function ovaOf(
  name: string,
  members: readonly OvaMember[],
  modifiedAt: Date,
): Promise<OvaSource> {
  const pieces: ByteSource[] = [];
  const starts: number[] = [];
  let at = 0;
  const add = (piece: ByteSource): void => {
    pieces.push(piece);
    at += piece.size;
  };
  for (const member of members) {
    add(bytesSource(await headerOf(member, modifiedAt)));
    starts.push(at);
    add(member.source);
    add(bytesSource(Buffer.alloc((BLOCK - (at % BLOCK)) % BLOCK)));
  }
  add(bytesSource(END));
  return { source: concatenationOf(pieces, name), starts };
}

/** Bytes that are in memory. */
export function bytesSource(bytes: Buffer, name = ''): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(target, position) {
      target.set(bytes.subarray(position, position + target.length));
    },
  };
}

/** What stands in front of a member: tar-stream gives it at once, and waits for the rest. */
async function headerOf({ name, source }: OvaMember, mtime: Date): Promise<Buffer> {
  const pack = tar.pack();
  const chunks: Buffer[] = [];
  pack.on('data', (chunk) => chunks.push(chunk as Buffer));
  pack.on('error', () => undefined); // it is left before its end
  pack.entry({ name, size: source.size, mtime, mode: 0o644 });
  await new Promise((resolve) => setImmediate(resolve));
  pack.destroy();
  return Buffer.concat(chunks);
}
