// Everything that is judged without running the product: format, lint, types, import rules, dead
// code, and a lock file that is complete for every platform. Stops at the first that fails.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

function step(name, args) {
  const started = Date.now();
  const bin = join(root, 'node_modules', '.bin', args[0]);
  const { status, stdout, stderr } = spawnSync(bin, args.slice(1), { cwd: root, encoding: 'utf8' });
  if (status !== 0) {
    console.error(`check: ${name} failed\n${stdout}${stderr}`);
    process.exit(1);
  }
  console.log(`check: ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  return stdout;
}

/**
 * npm drops a platform's optional package from the lock where it can't see it, and then `npm ci`
 * fails on that platform only.
 */
function checkLock() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const missing = [];
  for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      const folders = path
        .split('/node_modules/')
        .map((_, i, all) => all.slice(0, i + 1).join('/node_modules/'));
      const places = ['', ...folders.filter(Boolean).map((folder) => `${folder}/`)];
      if (!places.some((place) => packages[`${place}node_modules/${name}`]))
        missing.push(`${name} (of ${path})`);
    }
  }
  if (missing.length > 0) {
    console.error(`check: package-lock.json lacks ${missing.join(', ')}`);
    process.exit(1);
  }
  console.log('check: lock file is complete for every platform');
}

checkLock();
step('format and lint', ['biome', 'ci', '--colors=off', '--error-on-warnings', '.']);
step('types', ['tsc', '--noEmit']);
step('types of the page', ['tsc', '--noEmit', '-p', 'src/observe/page']);
const cruised = step('import rules', [
  'depcruise',
  '--config',
  '.dependency-cruiser.cjs',
  'src',
  'test',
]);
// Without a parser for our TypeScript it would look at nothing and be content.
if (Number(/\((\d+) modules/.exec(cruised)?.[1] ?? 0) < 50) {
  console.error(`check: the import rules looked at too few modules\n${cruised}`);
  process.exit(1);
}
step('dead code', ['knip', '--no-progress', '--treat-config-hints-as-errors']);
