import type { Choices } from '../chaos/choices.ts';

/** Numbers and bytes at which parsers have gone wrong before. */
const BYTES = [0x00, 0x01, 0x20, 0x22, 0x26, 0x3c, 0x3e, 0x7f, 0x80, 0xff];

type Mutation = (bytes: Buffer, random: Choices, dictionary: readonly string[]) => Buffer;

const insert = (bytes: Buffer, at: number, what: Buffer): Buffer =>
  Buffer.concat([bytes.subarray(0, at), what, bytes.subarray(at)]);

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    const changed = Buffer.from(bytes);
    const at = random.between(0, bytes.length);
    changed[at] = (changed[at] ?? 0) ^ (1 << random.between(0, 8));
    return changed;
  },
  function setByte(bytes, random) {
    const changed = Buffer.from(bytes);
    changed[random.between(0, bytes.length)] = random.one(BYTES);
    return changed;
  },
  function insertWord(bytes, random, dictionary) {
    return insert(bytes, random.between(0, bytes.length), Buffer.from(random.one(dictionary)));
  },
  function overwriteWithWord(bytes, random, dictionary) {
    const changed = Buffer.from(bytes);
    changed.write(random.one(dictionary), random.between(0, bytes.length), 'latin1');
    return changed;
  },
  function cutOut(bytes, random) {
    const start = random.between(0, bytes.length);
    const end = Math.min(bytes.length, start + random.between(1, 600));
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  function repeat(bytes, random) {
    const start = random.between(0, bytes.length);
    const part = bytes.subarray(start, start + random.between(1, 600));
    const times = random.one([1, 2, 50]);
    return insert(bytes, start, Buffer.concat(Array.from({ length: times }, () => part)));
  },
  function truncate(bytes, random) {
    return bytes.subarray(0, random.between(0, bytes.length));
  },
];

/** An input made of a seed by a few changes, or of two seeds. */
export function mutate(
  seeds: readonly Buffer[],
  dictionary: readonly string[],
  random: Choices,
): Buffer {
  let bytes = random.one(seeds);
  if (random.next() < 0.1) {
    const other = random.one(seeds);
    const half = bytes.subarray(0, random.between(0, bytes.length + 1));
    bytes = Buffer.concat([half, other.subarray(random.between(0, other.length + 1))]);
  }
  const changes = random.between(1, 8);
  for (let i = 0; i < changes && bytes.length > 0; i += 1) {
    bytes = random.one(MUTATIONS)(bytes, random, dictionary);
  }
  return bytes;
}
