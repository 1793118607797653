// Plants one forbidden import for each import rule, and expects the linter to find all of them. A rule
// that finds nothing is a rule that somebody has broken without noticing. Works on a copy of the source,
// so that whoever reads the source meanwhile sees none of it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const { forbidden } = createRequire(import.meta.url)('../.dependency-cruiser.cjs');

/** The room in which a file is planted, and what it must not import. */
const PLANTS = {
  // errors.ts itself is left alone: its rule also covers a file of this name.
  'errors-know-nothing': ['src/planted-errors.ts', './jobs/names.ts'],
  'no-circular': ['src/vcd', './planted-too.ts'],
  'xml-is-the-only-door-to-libxmljs2': ['src/vcd', 'libxmljs2'],
  'source-knows-only-bytes': ['src/source', '../ovf/manifest.ts'],
  'source-opens-sockets-in-http-only': ['src/source', 'got'],
  'ovf-knows-only-packages': ['src/ovf', '../vcd/client.ts'],
  'vcd-knows-only-vcd': ['src/vcd', '../ovf/manifest.ts'],
  'vss-knows-only-its-service': ['src/vss', '../vcd/client.ts'],
  'vcd-opens-sockets-in-http-only': ['src/vcd', 'got'],
  'vcd-touches-no-files': ['src/vcd', 'node:fs'],
  'only-jobs-know-bullmq': ['src/redis', 'bullmq'],
  'jobs-are-handed-the-outside': ['src/jobs', '../config/load.ts'],
  'destination-knows-only-files': ['src/destination', '../ovf/manifest.ts'],
  'redis-knows-only-redis': ['src/redis', '../jobs/names.ts'],
  'config-knows-no-room': ['src/config', '../vcd/client.ts'],
  'observe-does-not-act': ['src/observe', '../vcd/client.ts'],
  'simulator-shares-nothing': ['src/simulator', '../errors.ts'],
  'nobody-imports-the-simulator': ['src/vcd', '../simulator/xml.ts'],
  'nobody-imports-a-composition-root': ['src/jobs', '../worker.ts'],
  'no-dev-dependencies-in-src': ['src/ovf', 'fast-check'],
  'everything-resolves': ['src/ovf', './not-there.ts'],
};

function plant(folder, name) {
  const [place, target] = PLANTS[name];
  const file = place.endsWith('.ts') ? place : `${place}/planted-for-${name}.ts`;
  writeFileSync(join(folder, file), `export * from '${target}';\n`);
  if (name !== 'no-circular') return file;
  const back = `export * from './planted-for-${name}.ts';\n`;
  writeFileSync(join(folder, dirname(file), target), back);
  return file;
}

/** By each rule the files that the linter says break it. */
function findViolations(folder, files) {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'),
      ...['--config', '.dependency-cruiser.cjs', '--output-type', 'json', ...files],
    ],
    { cwd: folder, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 },
  );
  try {
    return JSON.parse(stdout).summary.violations;
  } catch {
    console.error(`rules: the linter did not run\n${stdout}${stderr}`);
    process.exit(1);
  }
}

let bad = 0;
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-rules-'));
try {
  for (const name of ['src', 'package.json', 'tsconfig.json', '.dependency-cruiser.cjs']) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const known = forbidden.map(({ name }) => name);
  const unknown = known.filter((name) => !(name in PLANTS));
  for (const name of unknown) console.error(`rules: nothing is planted for ${name}`);
  const planted = known.filter((name) => name in PLANTS).map((name) => [name, plant(folder, name)]);
  const violations = findViolations(
    folder,
    planted.map(([, file]) => file),
  );
  const missed = planted.filter(
    ([name, file]) => !violations.some(({ rule, from }) => rule.name === name && from === file),
  );
  for (const [name, file] of missed) console.error(`rules: ${name} did not find ${file}`);
  bad = unknown.length + missed.length;
  console.log(`rules: ${known.length - bad} of ${known.length} find a planted violation`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(bad === 0 ? 0 : 1);
