import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  asideName,
  findMark,
  interimName,
  isOfContent,
  markText,
  withoutMark,
  withoutMarkAtEnd,
} from '../../src/jobs/mark.ts';

import { isJobId, jobIdOf, queueOf, queueOfJob, targetOfJob } from '../../src/jobs/names.ts';

const owner = { installation: '0123456789ab', jobId: 'my-lab_1-0123456789abcdef' };

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,20}$/);
const hex = fc.stringMatching(/^[0-9a-f]{16}$/);
/** Ids as they are made, of every queue that there can be. */
const jobIds = fc
  .tuple(name, fc.option(name), hex)
  .map(([target, pool, unique]) => ({ target, pool, id: jobIdOf(queueOf(target, pool), unique) }));

test('a job is found by its id alone, whatever its target and pool are called', () => {
  fc.assert(
    fc.property(jobIds, ({ target, pool, id }) => {
      expect(isJobId(id)).toBe(true);
      expect(queueOfJob(id)).toBe(queueOf(target, pool));
      expect(targetOfJob(id)).toBe(target);
    }),
  );
});

test('a mark is found in any description, as it was written, and can be taken out again', () => {
  const replaces = fc.option(fc.uuid(), { nil: undefined });
  const marks = fc.record({
    ...{ installation: fc.stringMatching(/^[0-9a-f]{12}$/), replaces },
    jobId: jobIds.map(({ id }) => id),
    content: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => {
      return Buffer.from(bytes).toString('base64url');
    }),
  });
  const texts = fc.string({ unit: 'grapheme' });
  fc.assert(
    fc.property(fc.oneof(texts, marks.map(markText)), marks, (text, mark) => {
      const description = `${text}\n${markText(mark)}`;
      const found = findMark(description);
      expect(found).toEqual({ ...mark, content: mark.content.slice(0, 22) });
      expect(found && isOfContent(found, mark.content)).toBe(true);
      expect(found && isOfContent(found, `x${mark.content}`)).toBe(false);
      expect(withoutMark(description)).toBe(text);
    }),
  );
});

test("one at the end is ours; what looks like one in the middle is a user's own text", () => {
  const mark = markText({
    installation: '0'.repeat(12),
    jobId: 'lab-1',
    content: 'a'.repeat(43),
    replaces: undefined,
  });
  expect(withoutMarkAtEnd(`see ${mark} of mine`)).toBe(`see ${mark} of mine`);
  expect(withoutMarkAtEnd(`see ${mark} of mine\n${mark}`)).toBe(`see ${mark} of mine`);
  expect(withoutMarkAtEnd(mark)).toBe('');
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
