import { rmSync } from 'node:fs';
import { isThere, killAll, processesOf } from './processes.ts';

/**
 * Waits for the end of the process that started it, which holds the other end of its input; then nothing
 * in the folder is needed any more. That process ends with the one that started it in turn: a worker of
 * a test runner that was killed would otherwise go on with its tests.
 *
 * `node reaper.js FOLDER PID`
 */
const [, , folder = '', grandparent = ''] = process.argv;
const parent = process.ppid;
const LOOK_MS = 500;

setInterval(() => {
  if (!isThere(Number(grandparent))) killAll([{ pid: parent, command: '' }]);
}, LOOK_MS).unref();
process.stdin.resume();
process.stdin.once('end', () => {
  // Twice: what was just starting something else has started it by now.
  for (let round = 0; round < 2; round += 1) killAll(processesOf(folder));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  process.exit();
});
