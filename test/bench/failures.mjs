// What failures cost, with the default settings: how long a take-over and a hand-over last, and what
// each fault costs in seconds and bytes. Prints, never fails.
//   npm run bench:failures                      everything, about ten minutes
//   npm run bench:failures -- takeover faults   only these
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = join(import.meta.dirname, '..', '..');
for (const project of ['tsconfig.build.json', 'tsconfig.test.json']) {
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  const { status } = spawnSync(tsc, ['-p', project], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
const { withPlace } = await import('../../build/test/helpers/place.js');
const { json, start, until } = await import('../../build/test/helpers/cli.js');
const { FAULT_KINDS } = await import('../../build/test/chaos/faults.js');
const { choices } = await import('../../build/test/chaos/choices.js');

const DEFAULTS = { lease: '30s' };

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const spread = (values) =>
  `median ${median(values).toFixed(1)} s, worst ${Math.max(...values).toFixed(1)} s of ${values.length}`;

/** A worker with room for so many uploads. */
async function worker(place, concurrency, workers) {
  const { folder, simulator, redis } = place;
  const file = join(folder, `worker-${concurrency}.yaml`);
  await writeFile(
    file,
    `redis: ${redis.url}
targets:
  lab: {url: "${simulator.url}", org: acme, user: admin, password: simulated, catalog: appliances, concurrency: 16}
worker: {lease: 30s, concurrency: ${concurrency}}
`,
  );
  const running = start(['worker', '--config', file], folder);
  workers.push(running);
  await until('a worker', () => running.output.stderr.includes('worker is up'));
  return running;
}

async function withWorkers(use) {
  const workers = [];
  try {
    await use(workers);
  } finally {
    for (const one of workers) {
      one.kill('SIGKILL');
      await one.ended;
    }
  }
}

const diskOf = (place, name) =>
  place.simulator.items().find((item) => item.name === name)?.files[1];

/** Several workers with one upload each are stopped at random moments; one more takes them over. */
async function takeovers(signal, { rounds, atOnce }) {
  const times = [];
  let again = 0;
  for (let round = 0; round < rounds; round += 1) {
    await withPlace(
      { size: 120_000_000, rateBytesPerSecond: 8_000_000, config: DEFAULTS },
      (place) =>
        withWorkers(async (workers) => {
          const victims = [];
          for (let i = 0; i < atOnce; i += 1) {
            const victim = await worker(place, 1, workers);
            const name = `box${i}`;
            await json(['enqueue', place.source, '--to', 'lab', '--name', name], place.folder);
            await until('its transfer', () => (diskOf(place, name)?.received ?? 0) > 0);
            victims.push({ victim, name });
          }
          await worker(place, 16, workers);
          await Promise.all(
            victims.map(async ({ victim, name }) => {
              await sleep(Math.random() * 8_000);
              const before = diskOf(place, name).ranges.length;
              const stoppedAt = performance.now();
              victim.kill(signal);
              await until(
                'the successor',
                () => diskOf(place, name).ranges.length > before,
                120_000,
              );
              times.push((performance.now() - stoppedAt) / 1000);
            }),
          );
          for (const { name } of victims) {
            const { ranges } = diskOf(place, name);
            const settled = ranges.slice(0, -1);
            again += settled.reduce((sum, { arrived, stored }) => sum + arrived - stored, 0);
          }
        }),
    );
  }
  console.log(
    `${signal}, lease 30 s, until another worker sends: ${spread(times)}; again ${again} bytes`,
  );
}

/** Each fault once in the middle of one upload, against an upload without. */
async function faults() {
  const size = 64_000_000;
  const config = { ...DEFAULTS, tail: '  chunkSize: 8MiB\n' };
  const rows = {};
  await withPlace({ size, rateBytesPerSecond: 20_000_000, config }, (place) =>
    withWorkers(async (workers) => {
      const running = start(['worker'], place.folder);
      workers.push(running);
      await until('a worker', () => running.output.stderr.includes('worker is up'));
      const { world } = place.simulator;
      let clean = 0;
      for (const kind of ['none', ...Object.keys(FAULT_KINDS)]) {
        world.faults.clear();
        const arrived = world.totals.arrived;
        // Some requests come only once in an upload.
        const after = /creation|descri/.test(kind) ? 0 : 2;
        if (kind !== 'none') world.faults.add({ after, ...FAULT_KINDS[kind](choices(7)) });
        const name = kind.replaceAll(' ', '-');
        const startedAt = performance.now();
        await json(['enqueue', place.source, '--to', 'lab', '--name', name], place.folder);
        await until(
          'the end',
          () => place.simulator.items().some((item) => item.name === name && item.status === 8),
          180_000,
        );
        const seconds = (performance.now() - startedAt) / 1000;
        if (kind === 'none') clean = seconds;
        const descriptor = place.simulator.items().find((item) => item.name === name).files[0];
        const bytes = world.totals.arrived - arrived - size - descriptor.received;
        const hits = world.faults.counts()[0]?.hits ?? 0;
        rows[kind] = { hits, 'seconds more': +(seconds - clean).toFixed(1), 'bytes again': bytes };
      }
    }),
  );
  console.log('64 MB at 20 MB/s, each fault once, in the middle:');
  console.table(rows);
}

const asked = process.argv.slice(2);
const wanted = (name) => asked.length === 0 || asked.includes(name);
if (wanted('takeover')) await takeovers('SIGKILL', { rounds: 5, atOnce: 4 });
if (wanted('handover')) await takeovers('SIGTERM', { rounds: 5, atOnce: 4 });
if (wanted('faults')) await faults();
process.exit(0);
