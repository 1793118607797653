/**
 * One file goes by several spellings: percent-encoded or not, with or without `./`, composed or
 * decomposed Unicode, in another case. Two names are the same file if their plain spellings are.
 */

/** Percent signs decoded once, no leading `./`. */
export function plainName(name: string): string {
  const decoded = decodeOnce(name);
  return decoded.replace(/^(\.\/)+/, '');
}

function decodeOnce(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a literal percent sign
  }
}

/** The name that is wanted, exactly as it stands if there is one, else the only one that is alike. */
export function findAlike(names: readonly string[], wanted: readonly string[]): string | undefined {
  const exact = wanted.find((name) => names.includes(name));
  if (exact !== undefined) return exact;
  const keys = new Set(wanted.map(looseKey));
  const alike = names.filter((name) => keys.has(looseKey(name)));
  return alike.length === 1 ? alike[0] : undefined;
}

export function isAlike(name: string, wanted: readonly string[]): boolean {
  return wanted.includes(name) || wanted.some((other) => looseKey(other) === looseKey(name));
}

function looseKey(name: string): string {
  return plainName(name).trim().normalize('NFC').toLowerCase();
}
