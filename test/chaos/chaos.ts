import { setTimeout as sleep } from 'node:timers/promises';
import type { SeenItem } from '../../src/simulator/introspection.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { configure, json } from '../helpers/cli.ts';
import { type TestRedis, withRedis } from '../helpers/redis.ts';
import { withFolder } from '../helpers/temp.ts';
import { type Choices, choices } from './choices.ts';
import { type ChaosPlace, Crew, DISTURBANCES, saveRedis } from './disturbances.ts';
import { FAULT_KINDS, RARE } from './faults.ts';
import { type ChaosImage, makeImages } from './images.ts';

export interface ChaosOptions {
  /** More are added while something that was planned has not come: a quick machine is soon done. */
  readonly uploads: number;
  readonly seed: number;
  /** Processes that work at any time. */
  readonly workers: number;
  /** How often each disturbance has to come at least. */
  readonly atLeast: Readonly<Record<string, number>>;
  /** Give up, and say what is missing, after so long. */
  readonly limitMs: number;
  readonly say: (line: string) => void;
}

/** What came of it. `wrong` is empty if every upload arrived, whole and once, and nothing else. */
export interface ChaosReport {
  readonly wrong: readonly string[];
  readonly seconds: number;
  /** Bytes of files. */
  readonly needed: number;
  readonly arrived: number;
  /** Had been stored, and was given up by the server itself. */
  readonly discarded: number;
  /** Arrived, and was thrown away by the faults themselves. */
  readonly thrownAway: number;
  /** Arrived in vain, or twice: whatever else was not needed. */
  readonly again: number;
  /** How often each fault bit and each disturbance came. */
  readonly happened: Readonly<Record<string, number>>;
  /** What the workers wrote. */
  readonly log: string;
}

const LEASE_MS = 2_000;
const FRUITLESS_ROUNDS = 40;
/** So many are added at once. */
const MORE = 6;

/**
 * Uploads images of many shapes while everything breaks: the line and the server by fault rules, and
 * the processes by signals. Ends when every upload is done and everything planned has happened.
 */
export function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  return withFolder((folder) => withRedis(folder, (redis) => chaosIn(folder, redis, options)));
}

async function chaosIn(
  folder: string,
  redis: TestRedis,
  options: ChaosOptions,
): Promise<ChaosReport> {
  const random = choices(options.seed);
  const simulator = await startSimulator({
    rateBytesPerSecond: 8_000_000,
    importTimeMs: 150,
    linkDelayMs: 30,
    cancelTimeMs: 30,
  });
  const place: ChaosPlace = { folder, redis, simulator, leaseMs: LEASE_MS, random };
  const crew = new Crew(place, options.workers);
  const startedAt = performance.now();
  try {
    const more = '    concurrency: 6\n';
    await configure(folder, { url: simulator.url, redis: redis.url, lease: '2s', more });
    const uploads: Uploads = { images: [], ids: [] };
    await addUploads(place, uploads, options.uploads);
    crew.refill();
    const happened = await disturb(place, crew, { ...options, uploads });
    const { images, ids } = uploads;
    const wrong = [
      ...(await wrongJobs(folder, ids)),
      ...wrongItems(simulator.items(), images),
      ...neverHappened(happened, options),
    ];
    const needed = images.reduce((sum, { bytes }) => sum + bytes, 0);
    const { discarded, thrownAway } = simulator.world.totals;
    const arrived = simulator.world.totals.arrived - bytesOfDescriptors(simulator.items());
    return {
      wrong,
      seconds: (performance.now() - startedAt) / 1000,
      needed,
      arrived,
      discarded,
      thrownAway,
      again: arrived - needed - discarded - thrownAway,
      happened,
      log: crew.log,
    };
  } finally {
    await crew.dismiss();
    await simulator.close();
  }
}

/** What has been enqueued so far. */
interface Uploads {
  readonly images: ChaosImage[];
  readonly ids: string[];
}

/** What is enqueued is not lost with a Redis that is rolled back: a state is saved that has it. */
async function addUploads(
  place: ChaosPlace,
  { images, ids }: Uploads,
  count: number,
): Promise<void> {
  const { folder, random } = place;
  const made = await makeImages(folder, { first: images.length, count }, random);
  const sources = made.map(({ source }) => source);
  const enqueued = await json(['enqueue', ...sources, '--to', 'lab'], folder);
  images.push(...made);
  ids.push(...enqueued.map(({ id }) => id));
  await saveRedis(place);
}

/** They are needed besides. */
function bytesOfDescriptors(items: readonly SeenItem[]): number {
  return items
    .filter(({ kind }) => kind === 'vAppTemplate')
    .reduce((sum, { files }) => sum + (files[0]?.received ?? 0), 0);
}

/** Breaks one thing after the other until all that was planned has come and every upload is done. */
async function disturb(
  place: ChaosPlace,
  crew: Crew,
  options: Omit<ChaosOptions, 'uploads'> & { readonly uploads: Uploads },
): Promise<Record<string, number>> {
  const { random, simulator } = place;
  const { uploads, atLeast, limitMs, say } = options;
  const came: Record<string, number> = {};
  const happened = (): Record<string, number> => {
    const all = { ...came };
    for (const { name, hits } of simulator.world.faults.counts()) {
      all[name] = (all[name] ?? 0) + hits;
    }
    return all;
  };
  const deadline = performance.now() + limitMs;
  const ready = (): number => simulator.items().filter(({ status }) => status > 0).length;
  planFaults(place, random);
  let before = { done: 0, round: 0 };
  for (let round = 1; performance.now() < deadline; round += 1) {
    await sleep(random.between(150, 900));
    crew.refill();
    const done = ready();
    if (done > before.done) before = { done, round };
    // Something that never ends is told, not waited for.
    if (round - before.round > FRUITLESS_ROUNDS) break;
    if (done >= uploads.ids.length) {
      if (neverHappened(happened(), options).length === 0) break;
      await addUploads(place, uploads, MORE);
    }
    const missing = Object.keys(atLeast).filter((name) => (came[name] ?? 0) < (atLeast[name] ?? 0));
    const name = random.one(missing.length > 0 ? missing : Object.keys(DISTURBANCES));
    await DISTURBANCES[name]?.(place, crew);
    came[name] = (came[name] ?? 0) + 1;
    // A while ago is not always the beginning.
    if (name !== 'redis rolled back' && random.next() < 0.1) await saveRedis(place);
    if (round % 8 === 0) planFaults(place, random);
    if (round % 20 === 0) say(`${done} of ${uploads.ids.length} ready after ${round} disturbances`);
  }
  await untilDone(place, crew, { ids: uploads.ids, limitMs });
  return happened();
}

/** Each kind once more, at some request to come. */
function planFaults({ simulator }: ChaosPlace, random: Choices): void {
  for (const [name, make] of Object.entries(FAULT_KINDS)) {
    simulator.world.faults.add({ after: random.between(0, 12), ...make(random), name });
  }
}

async function untilDone(
  { folder }: ChaosPlace,
  crew: Crew,
  { ids, limitMs }: { readonly ids: readonly string[]; readonly limitMs: number },
): Promise<void> {
  const deadline = performance.now() + limitMs / 2;
  while (performance.now() < deadline) {
    crew.refill();
    const jobs = await json(['status', '--limit', String(ids.length)], folder).catch(() => []);
    const over = jobs.filter(({ state }) => state === 'completed' || state === 'failed');
    if (over.length === ids.length) return;
    await sleep(500);
  }
}

async function wrongJobs(folder: string, ids: readonly string[]): Promise<string[]> {
  const jobs = await json(['status', ...ids], folder);
  return jobs
    .filter(({ state }) => state !== 'completed')
    .map(
      ({ id, name, state, stage, error }) => `${id} ${name}: ${state} ${stage} ${error?.message}`,
    );
}

function wrongItems(items: readonly SeenItem[], images: readonly ChaosImage[]): string[] {
  const wrong: string[] = [];
  for (const image of images) {
    const own = items.filter(({ name }) => name === image.name);
    const [item] = own;
    if (own.length !== 1 || !item) {
      wrong.push(`${image.name}: ${own.length} items`);
      continue;
    }
    const files = item.kind === 'media' ? item.files : item.files.slice(1);
    const digests = files.map(({ sha256 }) => sha256).join();
    if (item.status <= 0) wrong.push(`${image.name}: status ${item.status}`);
    if (item.description !== '') wrong.push(`${image.name}: described as ${item.description}`);
    if (digests !== image.digests.join()) wrong.push(`${image.name}: other bytes`);
    wrong.push(...files.flatMap((file) => twoWriters(image.name, file)));
  }
  const names = new Set(images.map(({ name }) => name));
  for (const { name } of items) if (!names.has(name)) wrong.push(`${name}: nobody's item`);
  return wrong;
}

/** A run that writes again after another has begun to write was not alone. */
function twoWriters(name: string, file: SeenItem['files'][0]): string[] {
  const runs = file.ranges.map(({ request }) => request);
  const returned = runs.find((run, i) => runs[i - 1] !== run && runs.indexOf(run) < i);
  return returned === undefined ? [] : [`${name}: ${file.name} had two writers, ${returned} again`];
}

function neverHappened(
  happened: Readonly<Record<string, number>>,
  { atLeast }: Pick<ChaosOptions, 'atLeast'>,
): string[] {
  const faults = Object.keys(FAULT_KINDS).filter((name) => !happened[name] && !RARE.has(name));
  const missing = Object.keys(atLeast).filter(
    (name) => (happened[name] ?? 0) < (atLeast[name] ?? 0),
  );
  return [...faults, ...missing].map((name) => `planned, but never happened often enough: ${name}`);
}
