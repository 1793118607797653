import { expect } from '@jest/globals';
import { digest } from './packages.ts';
import type { Place } from './place.ts';

/** One item, ready, with the bytes of the source. */
export function expectWhole({ simulator, members }: Pick<Place, 'simulator' | 'members'>): void {
  const items = simulator.items();
  expect(items).toHaveLength(1);
  expect(items[0]).toMatchObject({ name: 'box', status: 8, description: '' });
  expect(items[0]?.files[1]?.sha256).toBe(digest(members[2]?.bytes as Buffer));
}
