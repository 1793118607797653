// Plants one forbidden import for each import rule, and expects the linter to find it. A rule that
// finds nothing is a rule that somebody has broken without noticing.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const { forbidden } = createRequire(import.meta.url)('../.dependency-cruiser.cjs');

/** Where the planted file lies, and what it must not import. */
const PLANTS = {
  'errors-know-nothing': ['src/planted-errors.ts', null],
  'no-circular': ['src/vcd/planted.ts', './planted-too.ts'],
  'xml-is-the-only-door-to-libxmljs2': ['src/vcd/planted.ts', 'libxmljs2'],
  'source-knows-only-bytes': ['src/source/planted.ts', '../ovf/manifest.ts'],
  'source-opens-sockets-in-http-only': ['src/source/planted.ts', 'got'],
  'ovf-knows-only-packages': ['src/ovf/planted.ts', '../vcd/client.ts'],
  'vcd-knows-only-vcd': ['src/vcd/planted.ts', '../ovf/manifest.ts'],
  'vss-knows-only-its-service': ['src/vss/planted.ts', '../vcd/client.ts'],
  'vcd-opens-sockets-in-http-only': ['src/vcd/planted.ts', 'got'],
  'vcd-touches-no-files': ['src/vcd/planted.ts', 'node:fs'],
  'only-jobs-know-bullmq': ['src/redis/planted.ts', 'bullmq'],
  'jobs-are-handed-the-outside': ['src/jobs/planted.ts', '../config/load.ts'],
  'destination-knows-only-files': ['src/destination/planted.ts', '../ovf/manifest.ts'],
  'redis-knows-only-redis': ['src/redis/planted.ts', '../jobs/names.ts'],
  'config-knows-no-room': ['src/config/planted.ts', '../vcd/client.ts'],
  'observe-does-not-act': ['src/observe/planted.ts', '../vcd/client.ts'],
  'simulator-shares-nothing': ['src/simulator/planted.ts', '../errors.ts'],
  'nobody-imports-the-simulator': ['src/vcd/planted.ts', '../simulator/xml.ts'],
  'nobody-imports-a-composition-root': ['src/jobs/planted.ts', '../worker.ts'],
  'no-dev-dependencies-in-src': ['src/ovf/planted.ts', 'fast-check'],
  'everything-resolves': ['src/ovf/planted.ts', './not-there.ts'],
};

function plant(name) {
  const [file, target] = PLANTS[name];
  const files = [file];
  if (name === 'errors-know-nothing') {
    // errors.ts itself can't be touched: its rule also covers files named like it.
    writeFileSync(join(root, file), "export * from './jobs/names.ts';\n");
  } else {
    writeFileSync(join(root, file), `export * from '${target}';\n`);
  }
  if (name === 'no-circular') {
    files.push('src/vcd/planted-too.ts');
    writeFileSync(join(root, files[1]), "export * from './planted.ts';\n");
  }
  return files;
}

let bad = 0;
for (const { name } of forbidden) {
  if (!(name in PLANTS)) {
    console.error(`rules: nothing is planted for ${name}`);
    bad += 1;
    continue;
  }
  mkdirSync(join(root, 'src'), { recursive: true });
  const files = plant(name);
  const { stdout } = spawnSync(
    join(root, 'node_modules/.bin/depcruise'),
    ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', ...files],
    { cwd: root, encoding: 'utf8' },
  );
  for (const file of files) rmSync(join(root, file));
  if (!stdout.includes(`error ${name}:`)) {
    console.error(`rules: ${name} did not find what was planted\n${stdout}`);
    bad += 1;
  }
}
console.log(`rules: ${forbidden.length - bad} of ${forbidden.length} find a planted violation`);
process.exit(bad === 0 ? 0 : 1);
