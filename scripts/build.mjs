// Builds what is published into dist/: the JavaScript of src with its types, for programs; the commands
// in one bundle, since reading a thousand small files takes longer than most commands; and the
// dashboard's page. With --clean nothing is left there of what the source no longer has.
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const root = join(import.meta.dirname, '..');
const src = join(root, 'src');
const dist = join(root, 'dist');

if (process.argv.includes('--clean')) rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(
  join(root, 'node_modules', '.bin', 'tsc'),
  ['-p', join(root, 'tsconfig.build.json')],
  { stdio: 'inherit', shell: process.platform === 'win32' },
);
if (status !== 0) process.exit(status ?? 1);
buildPage(join(dist, 'observe', 'page'));
buildCommands();

function buildPage(to) {
  const from = join(src, 'observe', 'page');
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
}

/**
 * All of it lies flat in dist/: what the source finds beside a module (`import.meta.url`) is found beside
 * a chunk. What is native, or looks for files of its own, or is not for every command, stays outside.
 */
function buildCommands() {
  const old = readdirSync(dist).filter((name) => /^chunk-.*\.js$/.test(name));
  for (const name of old) rmSync(join(dist, name));
  buildSync({
    entryPoints: [
      { in: join(src, 'cli', 'main.ts'), out: 'ovaferry' },
      { in: join(src, 'redis', 'keeper.ts'), out: 'keeper' },
      { in: join(src, 'ovf', 'descriptor-process.ts'), out: 'descriptor-process' },
      { in: join(src, 'source', 'digest-thread.ts'), out: 'digest-thread' },
    ],
    outdir: dist,
    chunkNames: 'chunk-[hash]',
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    mainFields: ['module', 'main'], // of what is not used nothing is left
    minifyWhitespace: true,
    minifySyntax: true, // names stay, for whoever reads a stack
    external: [
      'libxmljs2',
      'pino*',
      'prom-client',
      'fastify',
      '@fastify/*',
      '@bull-board/*',
      '@opentelemetry/*',
    ],
    // For the modules among them that are no ES modules.
    banner: {
      js: "import { createRequire as createRequireOf } from 'node:module'; const require = createRequireOf(import.meta.url);",
    },
    legalComments: 'none', // their packages, with their licences, are installed beside this one
    logLevel: 'warning',
  });
  cpSync(join(dist, 'observe', 'page'), join(dist, 'page'), { recursive: true });
}
