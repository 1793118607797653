import { join } from 'node:path';
import {
  createFerry,
  type Ferry,
  FerryError,
  type JobDetails,
  type UploadOrder,
} from '../../src/index.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { configure, type Running, start, until, type WorkplaceOptions } from './cli.ts';
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
  worker(...args: string[]): Running;
  /** The library, in this process: what is not a test of the command line asks it. */
  ferry(): Promise<Ferry>;
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
  return withFolder((folder) =>
    withRedis(folder, async (redis) => {
      const simulator = await startSimulator(options);
      const workers: Running[] = [];
      let opened: Promise<Ferry> | undefined;
      try {
        await configure(folder, { url: simulator.url, redis: redis.url, ...config });
        const members = packageOf([size]);
        const source = await writeOva(join(folder, 'box.ova'), members);
        return await use({
          ...{ folder, simulator, redis, source, members },
          worker(...args) {
            const running = start(['worker', '--log-level', 'debug', ...args], folder);
            workers.push(running);
            return running;
          },
          ferry() {
            opened ??= createFerry({ config: join(folder, 'ovaferry.yaml'), redis: redis.url });
            return opened;
          },
        });
      } finally {
        for (const worker of workers) {
          worker.kill('SIGCONT');
          worker.kill('SIGKILL');
        }
        for (const worker of workers) await worker.ended;
        redis.thaw(); // what is closed says so to it
        await (await opened)?.close();
        await simulator.close();
      }
    }),
  );
}

export const isUp = (worker: Running): Promise<boolean> =>
  until('a worker that is up', () => worker.output.stderr.includes('worker is up'));

/** Bytes of the disk of the place's own package that the server has. */
export const received = ({ simulator }: Place): number =>
  simulator.items().find(({ name }) => name === 'box')?.files[1]?.received ?? 0;

/** What has a library to ask. */
export type Asking = Pick<Place, 'ferry'>;

type Order = Omit<UploadOrder, 'source' | 'to'>;

/** The place's own package, enqueued; its job's id. */
export async function enqueued(place: Place, order: Order = {}): Promise<string> {
  const [id = ''] = await enqueueAll(place, [place.source], order);
  return id;
}

/** Sources that are enqueued together, each to the target lab; their jobs' ids. */
export async function enqueueAll(
  place: Asking,
  sources: readonly string[],
  order: Order = {},
): Promise<string[]> {
  const ferry = await place.ferry();
  const jobs = await ferry.enqueue(sources.map((source) => ({ ...order, source, to: 'lab' })));
  return jobs.map(({ id }) => id);
}

/** Small packages besides, enqueued at once; their jobs' ids. */
export async function enqueueMany(place: Place, count: number, size = 20_000): Promise<string[]> {
  const sources: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const path = join(place.folder, `many${i}.ova`);
    sources.push(await writeOva(path, packageOf([size], `many${i}`)));
  }
  return enqueueAll(place, sources);
}

/** Jobs as they are now, in the order of their ids. */
export async function jobsNow(place: Asking, ids: readonly string[]): Promise<JobDetails[]> {
  return (await place.ferry()).getMany(ids);
}

/** Waits for jobs to be as they should; a Redis that is away meanwhile is waited for as well. */
export function untilJobs<T>(
  place: Asking,
  ids: readonly string[],
  what: string,
  look: (jobs: JobDetails[]) => T | undefined | false,
): Promise<T> {
  const lookAtJobs = async (): Promise<T | undefined | false> => {
    try {
      return look(await jobsNow(place, ids));
    } catch (error) {
      if (error instanceof FerryError && error.code === 'REDIS_UNAVAILABLE') return undefined;
      throw error;
    }
  };
  // Seldom enough to leave the machine to the workers.
  return until(what, lookAtJobs, { everyMs: 150 });
}

/** As `untilJobs`, of one. */
export function untilJob(
  place: Asking,
  id: string,
  what: string,
  isSo: (job: JobDetails) => boolean,
): Promise<JobDetails> {
  return untilJobs(place, [id], what, ([job]) => job && isSo(job) && job);
}

export async function untilOver(place: Asking, id: string): Promise<JobDetails> {
  const [job] = await untilAllOver(place, [id]);
  return job as JobDetails;
}

export function untilAllOver(place: Asking, ids: readonly string[]): Promise<JobDetails[]> {
  return untilJobs(place, ids, 'the end of the jobs', (jobs) => {
    const over = jobs.filter(({ state }) => state === 'completed' || state === 'failed');
    return over.length === ids.length && jobs;
  });
}

/** Bytes that arrived at the server and were not new. */
export function doubled({ simulator }: Place): number {
  const ranges = simulator.items().flatMap(({ files }) => files[1]?.ranges ?? []);
  return ranges.reduce((sum, { arrived, stored }) => sum + arrived - stored, 0);
}
