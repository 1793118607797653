// Installs what is missing, checks, builds and runs every test; says at the end how long each part
// took, and which tests took longest. Arguments go to jest, and then nothing else is done first than
// to build: `npm test -- lease`. Uses nothing but Node itself until setup has run.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const args = process.argv.slice(2);
const isWhole = args.length === 0;
/** More than cores: most tests wait for processes that they have started. */
const WORKERS = 4;

const parts = [];
const report = join(root, 'build', 'report.json');
let failed = false;

/** Runs one part; what it prints is shown at once, or where it runs beside others, as a whole. */
function part(name, command, commandArgs, { beside = false, env = {} } = {}) {
  const startedAt = Date.now();
  const child = spawn(command, commandArgs, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', beside ? 'pipe' : 'inherit', beside ? 'pipe' : 'inherit'],
    shell: process.platform === 'win32',
  });
  const printed = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data) => printed.push(data));
  return new Promise((resolve) => {
    child.on('close', (code) => {
      process.stdout.write(Buffer.concat(printed));
      parts.push({ name, seconds: (Date.now() - startedAt) / 1000, ok: code === 0 });
      if (code !== 0) failed = true;
      resolve(code === 0);
    });
  });
}

const script = (name, ...more) => [process.execPath, [join('scripts', name), ...more]];
const bin = (name) => join(root, 'node_modules', '.bin', name);

function jest(name, jestArgs) {
  rmSync(report, { force: true });
  const flags = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'];
  const main = join(root, 'node_modules', 'jest', 'bin', 'jest.js');
  return part(name, process.execPath, [...flags, main, ...jestArgs], {
    env: { TEST_REPORT: report },
  });
}

/** @returns false if nothing can be tested */
async function build() {
  if (isWhole) rmSync(join(root, 'build'), { recursive: true, force: true }); // no test of a deleted file
  mkdirSync(join(root, 'build'), { recursive: true });
  const built = await Promise.all([
    part('build', ...script('build.mjs'), { beside: true }),
    part('build of the tests', bin('tsc'), ['-p', 'tsconfig.test.json'], { beside: true }),
  ]);
  return built.every(Boolean);
}

async function run() {
  if (!(await part('npm packages', ...script('setup.mjs', '--packages')))) return;
  const checks = isWhole
    ? part('checks', ...script('check.mjs', '--built'), { beside: true })
    : undefined;
  const ready = await Promise.all([
    part('native module, Redis, Chromium', ...script('setup.mjs', '--browser')),
    build(),
  ]);
  if (!ready.every(Boolean)) return void (await checks);
  const docs = isWhole
    ? part('docs', ...script('docs.mjs', '--check'), { beside: true })
    : undefined;
  await Promise.all([checks, docs, jest('tests', [`--maxWorkers=${WORKERS}`, ...args])]);
}

function results() {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, slowest: [] }; // it did not come to its end
  }
}

await run();
const { passed, failed: red, slowest } = results();
const seconds = (value) => `${value.toFixed(1).padStart(7)} s`;
console.log('\nHow long each part took:');
for (const one of parts)
  console.log(`${seconds(one.seconds)}  ${one.name}${one.ok ? '' : ': FAILED'}`);
console.log('\nThe slowest tests:');
for (const { ms, name } of slowest.sort((a, b) => b.ms - a.ms).slice(0, 10))
  console.log(`${seconds(ms / 1000)}  ${name}`);
console.log(`\n${passed} passed, ${red} failed`);
process.exitCode = failed ? 1 : 0;
