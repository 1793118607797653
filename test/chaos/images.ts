import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  descriptorOf,
  digest,
  isoOf,
  type Member,
  manifestOf,
  packageOf,
  writeFolder,
  writeOva,
} from '../helpers/packages.ts';
import type { Choices } from './choices.ts';

/** An image to be uploaded, and what has to arrive. */
export interface ChaosImage {
  readonly name: string;
  readonly source: string;
  readonly kind: 'vAppTemplate' | 'media';
  /** SHA-256 of each file but the descriptor, in the server's order. */
  readonly digests: readonly string[];
  readonly bytes: number;
}

type Shape = (folder: string, name: string, random: Choices) => Promise<ChaosImage>;

const size = (random: Choices): number => random.between(100_000, 1_600_000);

function expected(name: string, source: string, disks: readonly Member[]): ChaosImage {
  return {
    name,
    source,
    kind: 'vAppTemplate',
    digests: disks.map(({ bytes }) => digest(bytes)),
    bytes: disks.reduce((sum, { bytes }) => sum + bytes.length, 0),
  };
}

async function archive(
  folder: string,
  name: string,
  sizes: readonly number[],
): Promise<ChaosImage> {
  const members = packageOf(sizes, name);
  const source = await writeOva(join(folder, `${name}.ova`), members);
  return expected(name, source, members.slice(2));
}

/** Of what real packages look like: each shape goes another way through the code. */
const SHAPES: readonly Shape[] = [
  (folder, name, random) => archive(folder, name, [size(random)]),
  (folder, name, random) => archive(folder, name, [size(random), 5_000, size(random)]),
  (folder, name, random) => archive(folder, name, [size(random), 0]),
  async function withoutDisks(folder, name) {
    return archive(folder, name, []);
  },
  async function inFolder(folder, name, random) {
    const members = packageOf([size(random), size(random)], name);
    const own = join(folder, name);
    await mkdir(own);
    return expected(name, await writeFolder(own, members), members.slice(2));
  },
  async function withSha1(folder, name, random) {
    const [descriptor, , disk] = packageOf([size(random)], name) as [Member, Member, Member];
    const manifest = { name: `${name}.mf`, bytes: manifestOf([descriptor, disk], 'sha1') };
    const source = join(folder, `${name}.ova`);
    return expected(name, await writeOva(source, [descriptor, manifest, disk]), [disk]);
  },
  async function withoutManifest(folder, name, random) {
    const [, , disk] = packageOf([size(random)], name) as [Member, Member, Member];
    // Without ovf:size, too: the server learns it from the bytes.
    const descriptor = { name: `${name}.ovf`, bytes: descriptorOf([{ href: disk.name }]) };
    const source = await writeOva(join(folder, `${name}.ova`), [descriptor, disk]);
    return expected(name, source, [disk]);
  },
  async function iso(folder, name, random) {
    const bytes = isoOf(40_000 + size(random));
    const source = join(folder, `${name}.iso`);
    await writeFile(source, bytes);
    return { name, source, kind: 'media', digests: [digest(bytes)], bytes: bytes.length };
  },
];

/** @param first number of the first; each number has a name and a shape of its own */
export async function makeImages(
  folder: string,
  { first, count }: { readonly first: number; readonly count: number },
  random: Choices,
): Promise<ChaosImage[]> {
  const images: ChaosImage[] = [];
  for (let i = first; i < first + count; i += 1) {
    const shape = SHAPES[i % SHAPES.length] as Shape;
    images.push(await shape(folder, `image${i}`, random));
  }
  return images;
}
