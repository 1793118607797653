import { FerryError } from '../errors.ts';
import type { ManifestEntry } from './manifest.ts';
import { lastNameOf, NameIndex, plainName } from './names.ts';

/** The name of a chunked file's part, counted from 0 (DSP0243 7.1). */
export function partName(href: string, i: number): string {
  return `${href}.${String(i).padStart(9, '0')}`;
}

/** A part of a chunked file. */
interface Part {
  readonly href: string;
  readonly i: number;
}

/** @returns undefined for a name that no part has */
export function parsePartName(name: string): Part | undefined {
  const [, href, digits] = /^(.+)\.(\d{9})$/s.exec(name) ?? [];
  return href === undefined ? undefined : { href, i: Number(digits) };
}

/**
 * Which lines of a manifest speak of which file. Tools that were called in another folder write another
 * path before a name; where one line alone has a file's last name, and speaks of no other file, that file
 * is meant: it is checked rather than sent unverified.
 */
export class DigestLines {
  readonly #entries: readonly ManifestEntry[];
  readonly #byName: NameIndex<ManifestEntry>;
  /** Lines whose names are no file's, by their last names. */
  readonly #strays: NameIndex<ManifestEntry>;
  readonly #parts: NameIndex<Part>;
  readonly #strayParts: NameIndex<Part>;
  /** From a stray line's name to the file that took it. */
  readonly #taken = new Map<string, string>();

  /** @param names by which the package's own files go, those of their parts included */
  constructor(entries: readonly ManifestEntry[], names: readonly string[]) {
    this.#entries = entries;
    this.#byName = new NameIndex(entries, ({ name }) => name);
    this.#parts = partsIn(entries.map(({ name }) => name));
    const own = new NameIndex(names, (name) => name);
    const isStray = ({ name }: ManifestEntry): boolean =>
      own.all([name, parsePartName(name)?.href ?? name]).length === 0;
    const strays = entries.filter(isStray);
    this.#strays = new NameIndex(strays, ({ name }) => plainLastName(name));
    this.#strayParts = partsIn(strays.map(({ name }) => plainLastName(name)));
  }

  /**
   * @param names of one file, or part of one
   * @throws FerryError MANIFEST_INVALID where it can't be told which line, or which file, is meant
   */
  of(names: readonly string[]): ManifestEntry[] {
    const own = this.#byName.all(names);
    if (own.length > 0) return own;
    const [name = ''] = names;
    const alike = this.#strays.all(names.map(plainLastName));
    const meant = new Set(alike.map((entry) => entry.name));
    for (const stray of meant) {
      const other = this.#taken.get(stray) ?? name;
      if (meant.size > 1) throw ambiguous(`${[...meant].join(' and ')} may both mean ${name}`);
      if (other !== name) throw ambiguous(`${stray} may mean ${other} or ${name}`);
      this.#taken.set(stray, name);
    }
    return alike;
  }

  /** Lines with this very name, or one that is alike. */
  named(name: string): ManifestEntry[] {
    return this.#byName.all([name]);
  }

  /** How many parts a chunked file has at least, by the lines there are for them. */
  partsOf(href: string): number {
    const own = this.#parts.all([href]);
    const named = own.length > 0 ? own : this.#strayParts.all([plainLastName(href)]);
    return named.reduce((most, { i }) => Math.max(most, i + 1), 0);
  }

  /** Names that speak of none of these files. */
  othersThan(names: readonly string[]): string[] {
    const own = new NameIndex(names, (name) => name);
    return this.#entries.flatMap(({ name }) => {
      const href = parsePartName(name)?.href ?? name;
      return this.#taken.has(name) || own.all([name, href]).length > 0 ? [] : [name];
    });
  }
}

function partsIn(names: readonly string[]): NameIndex<Part> {
  return new NameIndex(
    names.flatMap((name) => parsePartName(name) ?? []),
    ({ href }) => href,
  );
}

/** Manifests of other tools have whole paths, some of them encoded. */
function plainLastName(name: string): string {
  return lastNameOf(plainName(name));
}

function ambiguous(what: string): FerryError {
  return new FerryError('MANIFEST_INVALID', `of the manifest's lines ${what}`, {
    hint: "Write the files' names into the manifest as the descriptor has them.",
  });
}
