import type { Container } from './container.ts';

/** DSP0243 clause 5.3. What lies in a folder has no order. */
export function orderNotes(
  { isOrdered, names }: Pick<Container, 'isOrdered' | 'names'>,
  descriptorName: string,
): string[] {
  if (!isOrdered || names[0] === descriptorName) return [];
  return [
    `${descriptorName} is not the first in the archive, which other tools ask for; ovaferry does not`,
  ];
}

/** Members that nothing names. */
export function strangers(
  { names, isOrdered }: Pick<Container, 'names' | 'isOrdered'>,
  named: readonly string[],
): string[] {
  if (!isOrdered) return []; // a folder may hold anything
  const known = new Set(named);
  return names
    .filter((name) => !known.has(name) && !/\.(mf|cert)$/i.test(name))
    .map((name) => `${name} is not in the descriptor and is not sent`);
}
