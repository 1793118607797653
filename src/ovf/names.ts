/**
 * One file goes by several spellings: percent-encoded or not, with or without `./`, composed or
 * decomposed Unicode, in another case. Two names are the same file if their plain spellings are.
 */

/** Percent signs decoded once, no leading `./`. */
export function plainName(name: string): string {
  const decoded = decodeOnce(name);
  return decoded.replace(/^(\.\/)+/, '');
}

/** What is behind the last slash of a name as it stands, of either kind. */
export function lastNameOf(name: string): string {
  return name.split(/[/\\]/).at(-1) ?? '';
}

function decodeOnce(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a literal percent sign
  }
}

/** Things by their names, in all their spellings. A package may have thousands: nothing is searched twice. */
export class NameIndex<T> {
  readonly #exact = new Map<string, T[]>();
  readonly #loose = new Map<string, T[]>();

  constructor(things: readonly T[], nameOf: (thing: T) => string) {
    for (const thing of things) {
      const name = nameOf(thing);
      push(this.#exact, name, thing);
      push(this.#loose, looseKey(name), thing);
    }
  }

  /** The one that is wanted, exactly as it stands if there is one, else the only one that is alike. */
  find(wanted: readonly string[]): T | undefined {
    const exact = wanted.flatMap((name) => this.#exact.get(name) ?? [])[0];
    if (exact !== undefined) return exact;
    const alike = this.all(wanted);
    return alike.length === 1 ? alike[0] : undefined;
  }

  /** All that go by one of these names. */
  all(wanted: readonly string[]): T[] {
    const keys = new Set(wanted.map(looseKey));
    return [...keys].flatMap((key) => this.#loose.get(key) ?? []);
  }
}

function push<T>(map: Map<string, T[]>, key: string, thing: T): void {
  const there = map.get(key);
  if (there) there.push(thing);
  else map.set(key, [thing]);
}

function looseKey(name: string): string {
  return plainName(name).trim().normalize('NFC').toLowerCase();
}
