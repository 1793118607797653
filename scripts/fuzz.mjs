// Builds, then feeds every parser: `npm run fuzz -- 1000000`. An input that kills one is left in
// `fuzz-last-<parser>`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const inputs = process.argv[2] ?? '100000';
let failed = 0;

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status ?? 1;
}

if (run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.test.json']) !== 0)
  process.exit(1);
for (const target of ['descriptor', 'manifest', 'archive', 'reply']) {
  const main = join(root, 'build', 'test', 'fuzz', 'main.js');
  failed += run(process.execPath, [
    ...[main, '--target', target, '--inputs', inputs],
    ...['--last', `fuzz-last-${target}`],
  ]);
}
process.exit(failed === 0 ? 0 : 1);
