import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import type { FaultRule } from '../../src/simulator/faults.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import { configure, json, type Running, start, until } from '../helpers/cli.ts';
import { digest, type Member, packageOf, writeOva } from '../helpers/packages.ts';
import { withRedis } from '../helpers/redis.ts';
import { withFolder } from '../helpers/temp.ts';

const UPLOADS = 20;
const KILLS = 10;

/** What the line and the server do meanwhile; each must bite. */
const FAULTS: readonly FaultRule[] = [
  {
    name: 'reset',
    on: { method: 'PUT', path: 'disk' },
    after: 3,
    times: 3,
    do: { resetAfterBytes: 60_000 },
  },
  {
    name: 'lost creation',
    on: { method: 'POST', path: 'upload' },
    after: 2,
    times: 3,
    do: { loseReply: true },
  },
  {
    name: 'lost range',
    on: { method: 'PUT', path: 'disk' },
    after: 10,
    times: 3,
    do: { loseReply: true },
  },
  {
    name: 'cut descriptor',
    on: { method: 'PUT', path: 'descriptor' },
    after: 2,
    times: 2,
    do: { resetAfterBytes: 50 },
  },
  { name: 'busy', on: { path: 'vAppTemplate' }, after: 10, times: 4, do: { status: 503 } },
  { name: 'sessions', on: { path: '/api/' }, after: 30, times: 2, do: { expireSessions: true } },
];

/** Repeatable choices: the seed is printed when the test fails. */
function choices(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

function expectWhole(simulator: Simulator, packages: ReadonlyMap<string, Member[]>): void {
  const items = simulator.items();
  for (const [name, members] of packages) {
    const own = items.filter((item) => item.name === name);
    expect({ name, count: own.length, status: own[0]?.status }).toEqual({
      name,
      count: 1,
      status: 8,
    });
    expect(own[0]?.description).toBe('');
    const wanted = members.slice(2).map(({ bytes }) => digest(bytes));
    expect(own[0]?.files.slice(1).map(({ sha256 }) => sha256)).toEqual(wanted);
  }
  expect(items).toHaveLength(packages.size);
}

test(
  'whatever dies and breaks meanwhile, every upload arrives whole and once',
  () =>
    withFolder((folder) =>
      withRedis(folder, async ({ url: redis }) => {
        const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 100_000);
        const random = choices(seed);
        const simulator = await startSimulator({
          rateBytesPerSecond: 5_000_000,
          importTimeMs: 150,
          linkDelayMs: 50,
        });
        for (const fault of FAULTS) simulator.world.faults.add(fault);
        const more = '    concurrency: 4\n';
        await configure(folder, { url: simulator.url, redis, lease: '2s', more });
        const packages = new Map<string, Member[]>();
        const sources: string[] = [];
        for (let i = 0; i < UPLOADS; i += 1) {
          const sizes = [
            100_000 + Math.floor(random() * 1_500_000),
            ...(i % 3 === 0 ? [5_000] : []),
          ];
          const members = packageOf(sizes, `box${i}`);
          packages.set(`box${i}`, members);
          sources.push(await writeOva(join(folder, `box${i}.ova`), members));
        }
        const workers: Running[] = [];
        const alive = (): Running[] =>
          workers.filter(({ child }) => child.exitCode === null && child.signalCode === null);
        const ready = (): number => simulator.items().filter(({ status }) => status === 8).length;
        try {
          await json(['enqueue', ...sources, '--to', 'lab'], folder);
          for (let kills = 0; kills < KILLS && ready() < UPLOADS; kills += 1) {
            while (alive().length < 2)
              workers.push(start(['worker', '--log-level', 'warn'], folder));
            await sleep(600 + random() * 1_200);
            alive()[Math.floor(random() * 2)]?.kill(random() < 0.7 ? 'SIGKILL' : 'SIGTERM');
          }
          workers.push(start(['worker'], folder));
          const over = async () => {
            const jobs = await json(['status'], folder);
            return jobs.every(({ state }) => state === 'completed') && jobs.length === UPLOADS;
          };
          await until(`every upload to be done (CHAOS_SEED=${seed})`, over, 90_000);
          expectWhole(simulator, packages);
          for (const { name, hits } of simulator.world.faults.counts()) {
            expect({ name, bitten: hits > 0 }).toEqual({ name, bitten: true });
          }
        } finally {
          for (const worker of alive()) {
            worker.kill('SIGKILL');
            await worker.ended;
          }
          await simulator.close();
        }
      }),
    ),
  180_000,
);
