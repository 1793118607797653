// Checks, builds and runs every test. Arguments go to jest: `npm test -- lease`.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const args = process.argv.slice(2);

function run(command, commandArgs) {
  const { status } = spawnSync(command, commandArgs, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const bin = (name) => join(root, 'node_modules', '.bin', name);
run(process.execPath, ['scripts/check.mjs']);
if (args.length === 0) {
  run(process.execPath, ['scripts/check-rules.mjs']);
  rmSync(join(root, 'build'), { recursive: true, force: true }); // no test of a deleted file
}
run(process.execPath, ['scripts/build.mjs']);
run(process.execPath, ['scripts/docs.mjs', '--check']);
run(bin('tsc'), ['-p', 'tsconfig.test.json']);
run(process.execPath, [
  '--disable-warning=ExperimentalWarning',
  '--experimental-vm-modules',
  join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
  ...args,
]);
