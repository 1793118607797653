import { closest, distance } from 'fastest-levenshtein';

/** What was meant by a misspelt word, as the end of a sentence; '' if it is like none. */
export function suggestion(word: string, known: Iterable<string>): string {
  const words = [...known];
  if (words.length === 0) return '';
  const best = closest(
    word.toLowerCase(),
    words.map((one) => one.toLowerCase()),
  );
  const meant = words.find((one) => one.toLowerCase() === best) ?? '';
  const far = distance(word.toLowerCase(), best);
  return far < word.length && far <= Math.max(2, word.length / 3)
    ? ` (did you mean ${meant}?)`
    : '';
}
