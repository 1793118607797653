import { join } from 'node:path';
import type { JobView } from '../../src/jobs/job-view.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { configure, json, type Running, start, until, type WorkplaceOptions } from './cli.ts';
import { type Member, packageOf, writeOva } from './packages.ts';
import { type TestRedis, withRedis } from './redis.ts';
import { withFolder } from './temp.ts';

/** A Redis, a simulator, one package, and workers that end with the test. */
export interface Place {
  readonly folder: string;
  readonly simulator: Simulator;
  readonly redis: TestRedis;
  readonly source: string;
  readonly members: Member[];
  worker(): Running;
}

export interface PlaceOptions extends SimulatorOptions {
  /** Bytes of the package's disk. */
  readonly size?: number;
  readonly config?: Partial<WorkplaceOptions>;
}

export async function withPlace<T>(
  { size = 1_000_000, config = {}, ...options }: PlaceOptions,
  use: (place: Place) => Promise<T>,
): Promise<T> {
  const workers: Running[] = [];
  return withFolder((folder) =>
    withRedis(folder, async (redis) => {
      const simulator = await startSimulator(options);
      try {
        await configure(folder, { url: simulator.url, redis: redis.url, lease: '3s', ...config });
        const members = packageOf([size]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        const worker = (): Running => {
          const running = start(['worker', '--log-level', 'debug'], folder);
          workers.push(running);
          return running;
        };
        return await use({ folder, simulator, redis, source, members, worker });
      } finally {
        for (const worker of workers) {
          worker.kill('SIGCONT');
          worker.kill('SIGKILL');
          await worker.ended;
        }
        await simulator.close();
      }
    }),
  );
}

export const isUp = (worker: Running): Promise<boolean> =>
  until('a worker that is up', () => worker.output.stderr.includes('worker is up'));

/** Bytes of the first item's disk that the server has. */
export const received = ({ simulator }: Place): number =>
  simulator.items()[0]?.files[1]?.received ?? 0;

export async function enqueued(place: Place, ...options: string[]): Promise<string> {
  const [job] = await json(['enqueue', place.source, '--to', 'lab', ...options], place.folder);
  return job?.id ?? '';
}

/** Small packages besides, enqueued in one command; their jobs' ids. */
export async function enqueueMany(place: Place, count: number, size = 20_000): Promise<string[]> {
  const sources: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const path = join(place.folder, `many${i}.ova`);
    sources.push(await writeOva(path, packageOf([size], `many${i}`)));
  }
  const jobs = await json(['enqueue', ...sources, '--to', 'lab'], place.folder);
  return jobs.map(({ id }) => id);
}

export async function untilOver(place: Place, id: string): Promise<JobView> {
  const [job] = await untilAllOver(place, [id]);
  return job as JobView;
}

export function untilAllOver({ folder }: Place, ids: readonly string[]): Promise<JobView[]> {
  return until(
    'the end of the jobs',
    async () => {
      const jobs = await json(['status', ...ids], folder);
      const over = jobs.filter(({ state }) => state === 'completed' || state === 'failed');
      return over.length === ids.length && jobs;
    },
    60_000,
  );
}

/** Bytes that arrived at the server and were not new. */
export function doubled({ simulator }: Place): number {
  const ranges = simulator.items().flatMap(({ files }) => files[1]?.ranges ?? []);
  return ranges.reduce((sum, { arrived, stored }) => sum + arrived - stored, 0);
}
