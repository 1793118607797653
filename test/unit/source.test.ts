import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BlockPool, readBlocks } from '../../src/source/blocks.ts';
import {
  type ByteSource,
  concatenationOf,
  readAll,
  windowOf,
} from '../../src/source/byte-source.ts';
import { type DigestState, DigestWatch } from '../../src/source/digest-watch.ts';

function memory(bytes: Buffer, name = 'memory'): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(target, position) {
      bytes.copy(target, 0, position, position + target.length);
    },
  };
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('sources', () => {
  test('any cut of any concatenation has the bytes of the whole', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: 1, maxLength: 6 }),
        fc.nat(300),
        fc.nat(300),
        async (parts, a, b) => {
          const buffers = parts.map((part) => Buffer.from(part));
          const whole = Buffer.concat(buffers);
          const source = concatenationOf(
            buffers.map((buffer) => memory(buffer)),
            'x',
          );
          const [start, end] = [Math.min(a, b), Math.max(a, b)].map((n) =>
            Math.min(n, whole.length),
          );
          const cut = windowOf(source, 'cut', { start: start as number, end: end as number });
          expect((await readAll(cut)).equals(whole.subarray(start, end))).toBe(true);
        },
      ),
    ));
});

describe('blocks', () => {
  test('are the bytes of the range, whatever the sizes', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(400),
        fc.nat(400),
        fc.integer({ min: 1, max: 90 }),
        async (a, b, n) => {
          const bytes = randomBytes(400);
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          const seen: Buffer[] = [];
          for await (const block of readBlocks(memory(bytes), { start, end }, new BlockPool(n))) {
            seen.push(Buffer.from(block));
          }
          expect(Buffer.concat(seen).equals(bytes.subarray(start, end))).toBe(true);
        },
      ),
    ));

  test('come back to the pool when the consumer leaves', async () => {
    const pool = new BlockPool(10, 3);
    for (let i = 0; i < 5; i += 1) {
      for await (const _block of readBlocks(
        memory(randomBytes(100)),
        { start: 0, end: 100 },
        pool,
      )) {
        break;
      }
    }
    await Promise.all([pool.take(), pool.take(), pool.take()]); // would hang if one were lost
  });

  test('come back to the pool when reading fails', async () => {
    const pool = new BlockPool(10, 3);
    const broken: ByteSource = {
      ...memory(randomBytes(100)),
      read: () => Promise.reject(new Error('x')),
    };
    const reading = async () => {
      for await (const _block of readBlocks(broken, { start: 0, end: 100 }, pool));
    };
    for (let i = 0; i < 5; i += 1) await expect(reading()).rejects.toThrow('x');
    await Promise.all([pool.take(), pool.take(), pool.take()]);
  });
});

describe('a digest watch', () => {
  const bytes = randomBytes(100_000);
  const check = {
    algorithm: 'sha256',
    start: 0,
    end: bytes.length,
    expected: sha256(bytes),
    name: 'd',
  };

  /** Sends the given ranges past a watch, as a transfer with failures does. */
  async function sent(ranges: [number, number][], checks = [check]): Promise<void> {
    const source = memory(bytes);
    const watch = new DigestWatch(source, checks);
    const pool = new BlockPool(7_000);
    try {
      for (const [start, end] of ranges) {
        const blocks = readBlocks(source, { start, end }, pool, (b, at) => watch.observe(b, at));
        for await (const _block of blocks);
      }
      await watch.verdict();
    } finally {
      await watch.close();
    }
  }

  test.each([
    ['sent in one go', [[0, 100_000]]],
    ['never sent by us at all', []],
    ['resumed in the middle', [[61_234, 100_000]]],
    [
      'with a range that was repeated',
      [
        [0, 50_000],
        [30_000, 100_000],
      ],
    ],
    [
      'with a range that begins where the server was ahead of us',
      [
        [0, 10_000],
        [80_000, 100_000],
      ],
    ],
    [
      'whose last byte comes alone',
      [
        [0, 99_999],
        [99_999, 100_000],
      ],
    ],
  ] as [string, [number, number][]][])('accepts a file %s', async (_name, ranges) => {
    await sent(ranges);
  });

  test('finds the one byte that is wrong, wherever it lies', async () => {
    const wrong = {
      ...check,
      expected: sha256(Buffer.concat([bytes.subarray(1), Buffer.from('x')])),
    };
    await expect(sent([[0, 100_000]], [wrong])).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringMatching(/^d has the SHA256 .* but the manifest says/),
    });
  });

  test('checks parts and the whole at once, by different algorithms', async () => {
    const part = bytes.subarray(40_000, 70_000);
    const checks = [
      check,
      {
        algorithm: 'sha1',
        start: 40_000,
        end: 70_000,
        expected: createHash('sha1').update(part).digest('hex'),
        name: 'p',
      },
    ];
    await sent(
      [
        [0, 45_000],
        [45_000, 100_000],
      ],
      checks,
    );
    const broken = [check, { ...checks[1], expected: '0' } as typeof check];
    await expect(sent([[0, 100_000]], broken)).rejects.toMatchObject({ facts: { member: 'p' } });
  });

  describe('whose state was saved', () => {
    const half = 61_234;

    /** Hashes a part, saves, and goes on as another process would. */
    async function resumed(
      change: (state: DigestState) => DigestState = (state) => state,
      checks = [check],
    ): Promise<number> {
      let read = 0;
      const source: ByteSource = {
        ...memory(bytes),
        read(target, position) {
          read += target.length;
          return memory(bytes).read(target, position);
        },
      };
      const first = new DigestWatch(source, checks);
      first.makeSavable();
      await first.observe(bytes.subarray(0, half), 0);
      const state = await first.state();
      await first.close();
      expect(state?.offset).toBe(half);
      const stored = JSON.parse(JSON.stringify(state)) as DigestState;
      const second = new DigestWatch(source, checks, change(stored));
      try {
        expect(second.isSavable).toBe(true);
        read = 0;
        await second.verdict();
        return read;
      } finally {
        await second.close();
      }
    }

    test.each(['sha1', 'sha224', 'sha256', 'sha384', 'sha512'])(
      'goes on from there in another process, by %s',
      async (algorithm) => {
        const expected = createHash(algorithm).update(bytes).digest('hex');
        const read = await resumed(undefined, [{ ...check, algorithm, expected }]);
        expect(read).toBe(bytes.length - half); // nothing of what was hashed
      },
    );

    test('is read from the beginning where what was saved is damaged', async () => {
      const read = await resumed(({ states }) => ({ offset: half - 5, states }));
      expect(read).toBeGreaterThan(bytes.length);
    });

    test('is read from the beginning where what was saved is of another release', async () => {
      const read = await resumed(({ offset }) => ({ offset, states: ['AAAA'] }));
      expect(read).toBeGreaterThan(bytes.length);
    });

    test('does not make a wrong file right', async () => {
      const wrong = [{ ...check, expected: '0'.repeat(64) }];
      await expect(resumed(undefined, wrong)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    });

    test('is made savable at any time, from the beginning', async () => {
      const source = memory(bytes);
      const watch = new DigestWatch(source, [check]);
      await watch.observe(bytes.subarray(0, 50_000), 0);
      watch.makeSavable();
      await watch.observe(bytes.subarray(50_000, 80_000), 50_000);
      await watch.verdict();
      await watch.close();
    });
  });

  test('that is closed while it reads does not hash into the file of the next one', async () => {
    let goOn: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const slow: ByteSource = {
      ...memory(bytes),
      async read(target, position) {
        await gate;
        bytes.copy(target, 0, position, position + target.length);
      },
    };
    const first = new DigestWatch(slow, [check]);
    await first.observe(bytes.subarray(0, 50_000), 0);
    const unfinished = first.verdict();
    unfinished.catch(() => undefined);
    await first.close();
    const second = new DigestWatch(memory(bytes), [check]);
    await second.observe(bytes.subarray(0, 40_000), 0);
    goOn();
    await expect(unfinished).rejects.toThrow('closed');
    await second.verdict();
    await second.close();
  });

  test('does not hang when its source fails', async () => {
    const broken: ByteSource = { ...memory(bytes), read: () => Promise.reject(new Error('gone')) };
    const watch = new DigestWatch(broken, [check]);
    await expect(watch.verdict()).rejects.toThrow('gone');
    await watch.close();
  });
});
