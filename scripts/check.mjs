// Everything that is judged without running the product: format, lint, types, import rules and that each
// of them bites, dead code, and a lock file that is complete for every platform. All of it at once. With
// --built without the types that whoever builds the tests has checked.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
let failed = false;

/** @returns what it printed */
function step(name, command, args) {
  const startedAt = Date.now();
  return new Promise((resolve) => {
    execFile(command, args, { cwd: root, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const seconds = `(${((Date.now() - startedAt) / 1000).toFixed(1)} s)`;
      if (error) fail(`${name} failed ${seconds}\n${stdout}${stderr}`);
      else console.log(`check: ${name} ${seconds}`);
      resolve(stdout);
    });
  });
}

const tool = (name, command, ...args) =>
  step(name, join(root, 'node_modules', '.bin', command), args);

function fail(message) {
  console.error(`check: ${message}`);
  failed = true;
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
  if (missing.length > 0) fail(`package-lock.json lacks ${missing.join(', ')}`);
  else console.log('check: lock file is complete for every platform');
}

checkLock();
const [cruised] = await Promise.all([
  tool('import rules', 'depcruise', '--config', '.dependency-cruiser.cjs', 'src', 'test'),
  tool('format and lint', 'biome', 'ci', '--colors=off', '--error-on-warnings', '.'),
  ...(process.argv.includes('--built') ? [] : [tool('types', 'tsc', '--noEmit')]),
  tool('types of the page', 'tsc', '--noEmit', '-p', 'src/observe/page'),
  tool('dead code', 'knip', '--no-progress', '--treat-config-hints-as-errors'),
  step('the import rules bite', process.execPath, ['scripts/check-rules.mjs']),
]);
// Without a parser for our TypeScript it would look at nothing and be content.
if (Number(/\((\d+) modules/.exec(cruised)?.[1] ?? 0) < 50) {
  fail(`the import rules looked at too few modules\n${cruised}`);
}
process.exitCode = failed ? 1 : 0;
