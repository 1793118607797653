// What bulk costs: enqueueing 10,000 uploads through the private Redis, and the same again; looking at
// 100,000 that wait. Prints; never fails. `npm run bench:bulk`
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
const main = join(root, 'dist', 'ovaferry.js');
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-bulk-'));
const target = '{url: "http://127.0.0.1:1", org: acme, user: u, password: p, catalog: appliances}';
writeFileSync(
  join(folder, 'ovaferry.yaml'),
  `dataDir: ${folder}/data\ntargets: {lab: ${target}}\n`,
);

function make(name, count) {
  mkdirSync(join(folder, name));
  for (let i = 0; i < count; i += 1) {
    const file = openSync(join(folder, name, `${name}${i}.iso`), 'w');
    writeSync(file, '\u0001CD001', 16 * 2048, 'latin1'); // with a hole before it
    closeSync(file);
  }
}

function timed(what, ...args) {
  const begun = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  const seconds = ((performance.now() - begun) / 1_000).toFixed(2);
  console.log(
    `${what.padEnd(60)} ${seconds} s${status === 0 ? '' : `, status ${status}: ${stderr}`}`,
  );
}

try {
  spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], { stdio: 'inherit' });
  make('ten', 10_000);
  timed('enqueue 10,000 with a batch', 'enqueue', 'ten', '--to', 'lab', '--batch', 'ten');
  timed('the same again', 'enqueue', 'ten', '--to', 'lab', '--batch', 'ten');
  make('rest', 90_000);
  timed('enqueue 90,000 more', 'enqueue', 'rest', '--to', 'lab', '--batch', 'rest');
  timed('status --limit 1, with 100,000 waiting', 'status', '--limit', '1');
  timed('status, with 100,000 waiting', 'status');
  timed('status --batch --summary of 90,000', 'status', '--batch', 'rest', '--summary');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
