import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

/** `npm run chaos -- --uploads N --seed S`: prints what happened, and how to have it happen again. */
const { values } = parseArgs({
  options: {
    uploads: { type: 'string', default: '100' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    workers: { type: 'string', default: '3' },
    log: { type: 'string' },
  },
});
const [uploads, seed, workers] = [values.uploads, values.seed, values.workers].map(Number) as [
  number,
  number,
  number,
];
console.log(`${uploads} uploads, ${workers} workers, seed ${seed}`);
const report = await runChaos({
  uploads,
  seed,
  workers,
  atLeast: {},
  limitMs: 60_000 + uploads * 3_000,
  say: (line) => console.log(line),
});
if (values.log) writeFileSync(values.log, report.log);
const { wrong, seconds, needed, arrived, discarded, thrownAway, again, happened } = report;
const share = (bytes: number): string => `${((100 * bytes) / needed).toFixed(2)} %`;
console.log(`
${seconds.toFixed(0)} s; bytes of files: ${needed} needed, ${arrived} arrived
given up by the server after it had stored them: ${discarded} (${share(discarded)})
thrown away by the faults themselves: ${thrownAway} (${share(thrownAway)})
sent again or in vain: ${again} (${share(again)})`);
console.table(happened);
for (const line of wrong) console.log(`WRONG: ${line}`);
const again_ = `npm run chaos -- --uploads ${uploads} --seed ${seed} --workers ${workers}`;
console.log(wrong.length === 0 ? `all arrived, whole and once; ${again_}` : `failed; ${again_}`);
process.exit(wrong.length === 0 ? 0 : 1);
