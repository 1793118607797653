import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { withFolder } from '../helpers/temp.ts';
import { FUZZ_TARGETS } from './targets.ts';

const MAIN = join(import.meta.dirname, 'main.js');

/** Each parser in a process of its own: what kills it must not kill the judge. */
test.each(Object.keys(FUZZ_TARGETS))(
  'nothing that is like a %s crashes, hangs, or grows without bound',
  (target) =>
    withFolder(async (folder) => {
      const last = join(folder, 'last');
      const seed = String(Date.now() % 1_000_000);
      const args = [MAIN, '--target', target, '--inputs', '5000', '--seed', seed, '--last', last];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      child.stdout.on('data', (data) => {
        output += data;
      });
      child.stderr.on('data', (data) => {
        output += data;
      });
      const ended = await new Promise((resolve) => {
        child.on('close', (code, signal) => resolve(signal ?? code));
      });
      expect({ target, seed, ended, output }).toMatchObject({ ended: 0 });
      expect(output).toContain('5000 inputs');
    }),
  180_000,
);
