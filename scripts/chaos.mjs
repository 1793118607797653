// Builds, then runs the chaos test as long as is asked for: `npm run chaos -- --uploads 1000 --seed 7`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ['scripts/build.mjs']);
run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.test.json']);
run(process.execPath, [join(root, 'build', 'test', 'chaos', 'main.js'), ...process.argv.slice(2)]);
