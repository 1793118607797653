// Builds what is published into dist/: the JavaScript of src, and the dashboard's page in one file each.
// With --clean nothing is left there of what the source no longer has.
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const root = join(import.meta.dirname, '..');
const from = join(root, 'src', 'observe', 'page');
const to = join(root, 'dist', 'observe', 'page');

if (process.argv.includes('--clean')) rmSync(join(root, 'dist'), { recursive: true, force: true });
const { status } = spawnSync(
  join(root, 'node_modules', '.bin', 'tsc'),
  ['-p', join(root, 'tsconfig.build.json')],
  { stdio: 'inherit', shell: process.platform === 'win32' },
);
if (status !== 0) process.exit(status ?? 1);
buildSync({
  entryPoints: [join(from, 'page.ts'), join(from, 'page.css')],
  outdir: to,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'inline',
  logLevel: 'warning',
});
cpSync(join(from, 'index.html'), join(to, 'index.html'));
