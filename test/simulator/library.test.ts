import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { LibraryItem } from '../../src/simulator/library/items.ts';
import {
  type LibraryOptions,
  type LibrarySimulator,
  startLibrary,
} from '../../src/simulator/library/server.ts';
import { LibraryClient, type LibraryQuery } from '../../src/vss/client.ts';
import { parseFilter, parseSort } from '../../src/vss/filter.ts';
import { json, run } from '../helpers/cli.ts';
import { withFolder } from '../helpers/temp.ts';

interface Library {
  readonly simulator: LibrarySimulator;
  readonly client: LibraryClient;
  list(query?: LibraryQuery): Promise<LibraryItem[]>;
}

async function withLibrary<T>(
  options: LibraryOptions,
  use: (library: Library) => Promise<T>,
): Promise<T> {
  const simulator = await startLibrary(options);
  const { user, password, url } = simulator;
  const login = () => Promise.resolve({ user, password });
  const client = new LibraryClient({ url: new URL(url), login, trust: {} });
  try {
    return await use({
      simulator,
      client,
      async list(query = {}) {
        const items: LibraryItem[] = [];
        const { signal } = new AbortController();
        for await (const item of client.listItems(query, signal))
          items.push(item as unknown as LibraryItem);
        return items;
      },
    });
  } finally {
    client.close();
    await simulator.close();
  }
}

const logins = ({ requests }: LibrarySimulator): number =>
  requests.filter((request) => request.startsWith('POST')).length;

describe('a content library', () => {
  test.each([0, 1, 249, 250, 251, 1_001])('of %i items is listed whole, 250 at a time', (count) =>
    withLibrary({ items: count }, async ({ simulator, list }) => {
      expect(await list()).toEqual(simulator.items);
      const pages = simulator.requests.filter((request) => request.includes('/item?'));
      expect(pages).toHaveLength(Math.max(1, Math.ceil(count / 250)));
      for (const page of pages)
        expect(page).toMatch(/per_page=250.*expand=1|expand=1.*per_page=250/);
      expect(logins(simulator)).toBe(1);
    }),
  );

  /** What an operator means, said once more and apart from the simulator. */
  const MEANING: Record<string, (own: string, value: string, isNumber: boolean) => boolean> = {
    eq: (own, value) => own === value,
    ne: (own, value) => own !== value,
    lt: (own, value, isNumber) => (isNumber ? +own < +value : own < value),
    le: (own, value, isNumber) => (isNumber ? +own <= +value : own <= value),
    gt: (own, value, isNumber) => (isNumber ? +own > +value : own > value),
    ge: (own, value, isNumber) => (isNumber ? +own >= +value : own >= value),
    like: (own, value) => own.toLowerCase().startsWith(value.slice(0, -1).toLowerCase()),
    in: (own, value) => value.split(',').includes(own),
  };
  const READ: Record<string, (item: LibraryItem) => string> = {
    ...Object.fromEntries(
      [
        ...['id', 'name', 'description', 'type', 'size', 'version', 'content_version', 'urn'],
        ...[
          'metadata_version',
          'creation_time',
          'last_modified_time',
          'created_on',
          'updated_on',
          'library_id',
        ],
      ].map((field) => [field, (item: LibraryItem) => String(item[field as keyof LibraryItem])]),
    ),
    library: ({ library }) => library.name,
  };
  const NUMBERS = ['size', 'version', 'content_version', 'metadata_version'];

  test.each(
    Object.keys(MEANING).flatMap((operator) => Object.keys(READ).map((field) => [operator, field])),
  )('is filtered by %s of %s', (operator = '', field = '') =>
    withLibrary({ items: 300 }, async ({ simulator, list }) => {
      const read = READ[field] as (item: LibraryItem) => string;
      const all = simulator.items.map(read).filter((text) => text !== '' && !text.includes(';'));
      const middle = all[Math.floor(all.length / 2)] ?? '';
      const value =
        { like: `${middle.slice(0, 4)}%`, in: `${middle},${all[3]}` }[operator] ?? middle;
      const filter = parseFilter(`${field},${operator},${value}`);
      const holds = MEANING[operator] as (own: string, value: string, isNumber: boolean) => boolean;
      const expected = simulator.items.filter((item) =>
        holds(read(item), value, NUMBERS.includes(field)),
      );
      expect((await list({ filters: [filter] })).map(({ id }) => id)).toEqual(
        expected.map(({ id }) => id),
      );
    }),
  );

  test.each(Object.keys(READ).flatMap((field) => ['asc', 'desc'].map((order) => [field, order])))(
    'is sorted by %s, %s',
    (field = '', order = '') =>
      withLibrary({ items: 300 }, async ({ simulator, list }) => {
        const read = READ[field] as (item: LibraryItem) => string;
        const sorted = await list({ sort: parseSort(`${field},${order}`) });
        expect(sorted).toHaveLength(simulator.items.length);
        const keys = sorted.map(read).map((text) => (NUMBERS.includes(field) ? +text : text));
        const isRight = (i: number): boolean => {
          const [a, b] = [keys[i - 1], keys[i]] as [string, string];
          return order === 'asc' ? a <= b : a >= b;
        };
        expect(keys.every((_key, i) => i === 0 || isRight(i))).toBe(true);
      }),
  );

  test('takes several filters at once: all of them hold', () =>
    withLibrary({}, async ({ simulator, list }) => {
      const filters = ['type,eq,ISO', 'name,like,ubuntu%', 'size,gt,1046100000'];
      const expected = simulator.items.filter(
        ({ type, name, size }) =>
          type === 'ISO' && name.startsWith('ubuntu') && size > 1_046_100_000,
      );
      expect(expected.length).toBeGreaterThan(5);
      expect((await list({ filters })).map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    }));

  test('whose token has run out is asked for another, once', () =>
    withLibrary({ items: 600 }, async ({ simulator, list }) => {
      await list();
      simulator.expireTokens();
      expect(await list()).toHaveLength(600);
      expect(logins(simulator)).toBe(2);
      simulator.faults.add({ on: { path: '/item' }, times: 0, do: { status: 401 } });
      await expect(list()).rejects.toMatchObject({ code: 'AUTH_REJECTED' });
      expect(logins(simulator)).toBe(3);
    }));

  test('that is out of order for a moment is asked again', () =>
    withLibrary({ items: 600 }, async ({ simulator, list }) => {
      simulator.faults.add({ name: 'down', on: { path: 'page=2' }, times: 2, do: { status: 503 } });
      expect(await list()).toHaveLength(600);
      expect(simulator.faults.counts()).toEqual([{ name: 'down', hits: 2 }]);
    }));

  test('says what it does not have, and who may not', () =>
    withLibrary({}, async ({ simulator, client, list }) => {
      const { signal } = new AbortController();
      await expect(client.getItem('none', signal)).rejects.toMatchObject({
        code: 'ITEM_NOT_FOUND',
      });
      await expect(list({ filters: ['nothing,eq,1'] })).rejects.toMatchObject({
        ...{ code: 'LIBRARY_REJECTED', message: expect.stringContaining('Invalid filter column') },
      });
      const login = () => Promise.resolve({ user: 'vss', password: 'wrong' });
      const other = new LibraryClient({ url: new URL(simulator.url), login, trust: {} });
      await expect(other.getItem('x', signal)).rejects.toMatchObject({ code: 'AUTH_REJECTED' });
      other.close();
    }));
});

describe('a filter', () => {
  test.each([
    ['type', 'expected FIELD,OPERATOR,VALUE'],
    ['type,eq', 'expected FIELD,OPERATOR,VALUE'],
    ['typ,eq,ISO', 'there is no field typ'],
    ['type,is,ISO', 'there is no operator is'],
    ['type,eq,DVD', 'type is one of OVF, ISO, VM'],
    ['type,in,ISO,DVD', 'type is one of OVF, ISO, VM'],
    ['size,gt,1GB', 'size is a whole number'],
    ['created_on,lt,yesterday', 'created_on is a time'],
    ['name,eq,', 'the value is missing'],
    ['name,eq,a;type,eq,ISO', 'a value has no semicolon'],
    ['constructor,eq,1', 'there is no field constructor'],
    ['name,toString,1', 'there is no operator toString'],
  ])('%s is refused before anything is sent', (text, message) => {
    expect(() => parseFilter(text)).toThrow(message);
  });

  test.each(['name', 'name,up', 'nam,asc', 'name,asc,desc'])('so is the order %s', (text) => {
    expect(() => parseSort(text)).toThrow(/--sort/);
  });
});

test('ovaferry ls lists a library, shows one item, and sends nothing that is wrong', () =>
  withFolder((folder) =>
    withLibrary({ items: 400 }, async ({ simulator }) => {
      const target = `type: vss, url: "${simulator.url}", user: vss, password: simulated`;
      await writeFile(join(folder, 'ovaferry.yaml'), `targets:\n  vss: {${target}}\n`);
      const listed = await json<LibraryItem[]>(
        [
          'ls',
          'vss',
          '--filter',
          'type,eq,ISO',
          '--filter',
          'name,like,ubuntu%',
          '--sort',
          'name,desc',
        ],
        folder,
      );
      const names = simulator.items
        .filter(({ type, name }) => type === 'ISO' && name.startsWith('ubuntu'))
        .map(({ name }) => name)
        .sort()
        .reverse();
      expect(listed.map(({ name }) => name)).toEqual(names);
      const { id, name } = simulator.items[7] as LibraryItem;
      expect(await json(['ls', `vss/${id}`], folder)).toMatchObject({ id, name });
      const text = await run(['ls', 'vss', '--filter', `id,eq,${id}`], folder);
      expect(text.stdout).toContain(name);
      const asked = simulator.requests.length;
      const wrong = await run(['ls', 'vss', '--filter', 'nam,eq,x'], folder);
      expect([wrong.code, wrong.stderr]).toEqual([
        2,
        expect.stringContaining('did you mean name?'),
      ]);
      expect(simulator.requests).toHaveLength(asked);
      const upload = await run(['upload', 'x.iso', '--to', 'vss/x'], folder);
      expect(upload.code).toBe(2);
    }),
  ));
