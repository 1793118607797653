import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { asideName, findMark, interimName, isOfContent, markText } from '../../src/jobs/mark.ts';

const owner = { installation: '0123456789ab', jobId: 'my-lab_1-0123456789abcdef' };

test('a mark is found in any description, as it was written', () => {
  const description = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('[ovaferry'));
  const replaces = fc.option(fc.uuid(), { nil: undefined });
  fc.assert(
    fc.property(description, replaces, (text, place) => {
      const mark = {
        ...owner,
        content: 'rICtENvvDpgCuspoiOJOAhG3tx8YqEQXsLUerPKYnR4',
        replaces: place,
      };
      const found = findMark(`${text}\n${markText(mark)}`);
      expect(found).toMatchObject({ ...owner, replaces: place });
      expect(found && isOfContent(found, mark.content)).toBe(true);
      expect(found && isOfContent(found, `x${mark.content}`)).toBe(false);
    }),
  );
});

test.each([
  '',
  '[ovaferry',
  '[ovaferry 0123/lab-1]',
  'ovaferry 0123/lab-1 abc',
  '[OVAFERRY 01/a b]',
])('%j is no mark', (text) => expect(findMark(text)).toBeUndefined());

test('names of items that make room for each other fit, differ, and are whole characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 128 }), (text) => {
      const name = text.slice(0, 128);
      const names = [interimName({ name }, owner), asideName({ name }, owner)];
      for (const made of names) {
        expect(made.length).toBeLessThanOrEqual(128);
        expect(made).toContain('0123456789abcdef');
        if (!/[\uD800-\uDFFF]/.test(name)) continue;
        expect(Buffer.from(made).toString('utf8')).toBe(made);
      }
      expect(new Set([name, ...names]).size).toBe(3);
    }),
  );
});
