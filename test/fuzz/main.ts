import { writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { choices } from '../chaos/choices.ts';
import { mutate } from './mutate.ts';
import { FUZZ_TARGETS } from './targets.ts';

/**
 * A process that feeds one parser. What it is about to parse is written down first, so that an input
 * that kills the process can be kept: `--last FILE`. Findings of earlier runs come first.
 */
const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'descriptor' },
    inputs: { type: 'string', default: '5000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    last: { type: 'string', default: 'fuzz-last-input' },
  },
});
const target = FUZZ_TARGETS[values.target];
if (!target) throw new Error(`there is no target ${values.target}`);
const LONGEST_MS = 2_000;
const MOST_BYTES = 600 * 1024 * 1024;

let slowestMs = 0;
async function feed(bytes: Buffer): Promise<void> {
  writeFileSync(values.last, bytes);
  const startedAt = performance.now();
  await target?.parse(bytes);
  const ms = performance.now() - startedAt;
  slowestMs = Math.max(slowestMs, ms);
  if (ms > LONGEST_MS) throw new Error(`one input took ${Math.round(ms)} ms`);
}

const findings = join(import.meta.dirname, '..', '..', '..', 'test', 'fuzz', 'findings');
for (const name of await readdir(findings)) {
  if (name.startsWith(`${values.target}-`)) await feed(await readFile(join(findings, name)));
}
const seeds = await target.seeds();
for (const seed of seeds) await feed(seed);
const random = choices(Number(values.seed));
for (let i = 0; i < Number(values.inputs); i += 1) {
  await feed(mutate(seeds, target.dictionary, random));
}
const { rss } = process.memoryUsage();
if (rss > MOST_BYTES) throw new Error(`it grew to ${rss} bytes`);
console.log(
  `${values.target}: ${values.inputs} inputs, seed ${values.seed}, slowest ${slowestMs.toFixed(0)} ms, ${Math.round(rss / 2 ** 20)} MiB`,
);
