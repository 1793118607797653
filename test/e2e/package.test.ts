import { spawn, spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import { configure, type Ended, until } from '../helpers/cli.ts';
import { isoOf, packageOf, writeOva } from '../helpers/packages.ts';
import { type TestRedis, withRedis } from '../helpers/redis.ts';
import { atEnd } from '../helpers/sandbox.ts';
import { withFolder } from '../helpers/temp.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const INSTALL_MS = 300_000;

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** A folder into which the packed package was installed, with a Redis, a vCD and a worker of its own. */
interface Installed {
  readonly folder: string;
  readonly simulator: Simulator;
  readonly packed: Packed;
}

let installed: Installed;
let leave: () => void;
let left: Promise<unknown>;

beforeAll(async () => {
  atEnd(async () => {
    leave?.();
    await left;
  });
  const ready = new Promise<Installed>((resolve, reject) => {
    left = withInstalled((place) => {
      resolve(place);
      return new Promise<void>((end) => {
        leave = end;
      });
    }).catch(reject);
  });
  installed = await ready;
}, INSTALL_MS);

async function withInstalled(use: (place: Installed) => Promise<void>): Promise<void> {
  await withFolder((folder) =>
    withRedis(folder, async (redis: TestRedis) => {
      const packed = await install(folder);
      const simulator = await startSimulator({ store: join(folder, 'store') });
      await configure(folder, { url: simulator.url, redis: redis.url });
      await mkdir(join(folder, 'images'));
      await writeOva(join(folder, 'images', 'ubuntu.ova'), packageOf([300_000], 'ubuntu'));
      await writeFile(join(folder, 'images', 'tools.iso'), isoOf());
      const worker = ferry(['worker'], folder);
      try {
        await until('a worker', () => worker.output.includes('worker is up'));
        await use({ folder, simulator, packed });
      } finally {
        worker.kill('SIGTERM');
        await worker.ended;
        await simulator.close();
      }
    }),
  );
}

async function install(folder: string): Promise<Packed> {
  const npm = (args: readonly string[], cwd: string): string => {
    const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8' });
    if (status !== 0) throw new Error(`npm ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  // `npm test` has built it.
  const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [packed] = JSON.parse(npm(pack, ROOT)) as [Packed];
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  npm(['install', ...flags, `./${packed.filename}`], folder);
  // What npm would now build with a compiler has been built for this machine.
  const binding = join('node_modules', 'libxmljs2', 'build');
  await cp(join(ROOT, binding), join(folder, binding), { recursive: true });
  return packed;
}

function ferry(args: readonly string[], folder: string) {
  return program(join('node_modules', '.bin', 'ovaferry'), args, folder);
}

function node(file: string, folder: string, env: NodeJS.ProcessEnv = {}) {
  return program(process.execPath, [file], folder, env);
}

function program(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
) {
  const own = { PATH: process.env['PATH'], HOME: cwd, ...env };
  const child = spawn(command, args, { cwd, env: own, stdio: ['ignore', 'pipe', 'pipe'] });
  const seen = { output: '', stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    seen.stdout += chunk;
    seen.output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    seen.stderr += chunk;
    seen.output += chunk;
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => resolve({ code, ...seen }));
  });
  return {
    get output() {
      return seen.output;
    },
    ended,
    kill: (signal: NodeJS.Signals) => void child.kill(signal),
  };
}

/** The code blocks of a language in a page. */
async function blocksOf(page: string, language: string): Promise<string[]> {
  const text = await readFile(join(ROOT, page), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, code = '']) => code,
  );
}

/** In order: what one has uploaded the next finds. */
async function runBlock(code: string, name: string): Promise<string> {
  const { folder } = installed;
  await writeFile(join(folder, name), code);
  const { code: status, stdout, stderr } = await node(name, folder).ended;
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${stderr}`);
  return stdout;
}

describe('the packed package', () => {
  test('holds what is needed and no more', () => {
    const files = installed.packed.files.map(({ path }) => path);
    const places = new Set(
      files.map((path) => (dirname(path) === '.' ? path : path.split('/')[0])),
    );
    expect([...places].sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist',
      'docs',
      'examples',
      'package.json',
    ]);
    for (const needed of [
      'dist/ovaferry.js',
      'dist/keeper.js',
      'dist/digest-thread.js',
      'dist/descriptor-process.js',
      'dist/page/index.html',
      'dist/page/page.js',
      'dist/page/page.css',
      'dist/index.js',
      'dist/index.d.ts',
      'docs/errors.md',
      'docs/library.md',
      'docs/configuration.md',
      'examples/producer.mjs',
    ]) {
      expect(files).toContain(needed);
    }
    const strange = files.filter(
      (path) => /\.(map|ts|tsbuildinfo)$/.test(path) && !path.endsWith('.d.ts'),
    );
    expect(strange).toEqual([]);
  });

  test('works as a command in an empty folder', async () => {
    const { folder } = installed;
    const { code, stdout } = await ferry(['--version'], folder).ended;
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    const inspected = await ferry(['inspect', 'images/ubuntu.ova', '--verify'], folder).ended;
    expect(inspected).toMatchObject({ code: 0, stdout: expect.stringContaining('verified') });
  });

  test("the README's first lines of code work", async () => {
    const [code = ''] = await blocksOf('README.md', 'ts');
    const adapted = code.replace('/images/', 'images/').replace('lab/appliances', 'lab');
    expect(await runBlock(adapted, 'readme.mjs')).toMatch(/waiting|active|completed/);
  });

  test('the examples of docs/library.md do what they say', async () => {
    const blocks = await blocksOf('docs/library.md', 'js');
    const [first = '', second = '', moving = '', third = '', ...more] = blocks;
    expect(more).toEqual([]);
    expect(await runBlock(first, 'first.mjs')).toMatch(/completed https?:\/\/\S+\n$/);
    const said = await runBlock(second, 'second.mjs');
    expect(said.match(/has arrived/g)).toHaveLength(2);
    expect(said).toMatch(/^2 0 \d+ null$/m);
    const moved = await runBlock(moving, 'moving.mjs');
    expect(moved).toMatch(/^download ubuntu completed$/m);
    expect(moved).toMatch(/^upload ubuntu-copy completed$/m);
    expect(moved).toMatch(/backup\/ubuntu\.ova\n$/);
    const wrong = await runBlock(third, 'third.mjs');
    expect(wrong).toMatch(/^TARGET_UNKNOWN permanent there is no target nowhere/);
    expect(wrong).toMatch(/^0 are tried again\nlab .* is well \[\]$/m);
  });

  test('its types are those that the examples use', async () => {
    const { folder } = installed;
    const [code = ''] = await blocksOf('docs/library.md', 'ts');
    await writeFile(join(folder, 'typed.ts'), code);
    const flags = [
      '--noEmit',
      '--strict',
      '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess',
    ];
    const modules = [
      '--target',
      'es2023',
      '--module',
      'nodenext',
      '--skipLibCheck',
      '--types',
      'node',
    ];
    const roots = ['--typeRoots', join(ROOT, 'node_modules', '@types')];
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
    const compile = () => program(tsc, [...flags, ...modules, ...roots, 'typed.ts'], folder).ended;
    expect(await compile()).toMatchObject({ code: 0, stdout: '' });
    await writeFile(join(folder, 'typed.ts'), code.replace("ifExists: 'skip'", "ifExists: 'jump'"));
    expect(await compile()).toMatchObject({ stdout: expect.stringContaining('jump') });
  });

  test('the example producer takes uploads over HTTP', async () => {
    const { folder } = installed;
    await cp(join(ROOT, 'examples', 'producer.mjs'), join(folder, 'producer.mjs'));
    const lines = (await readFile(join(folder, 'producer.mjs'), 'utf8')).split('\n');
    expect(
      lines.filter((line) => line.trim() !== '' && !line.startsWith('//')).length,
    ).toBeLessThanOrEqual(32);
    const producer = node('producer.mjs', folder, { PORT: '0' });
    try {
      const port = await until('a port', () => /port (\d+)/.exec(producer.output)?.[1]);
      const url = `http://127.0.0.1:${port}/uploads`;
      const post = (body: string) => fetch(url, { method: 'POST', body });
      const order = JSON.stringify({ source: 'images/tools.iso', to: 'lab', name: 'by-http' });
      const answer = await post(order);
      expect(answer.status).toBe(202);
      const { id } = (await answer.json()) as { id: string };
      await until('its arrival', async () => {
        const job = (await (await fetch(`${url}/${id}`)).json()) as { state: string };
        return job.state === 'completed';
      });
      expect((await post(order)).status).toBe(200);
      expect((await post('{')).status).toBe(400);
      const unknown = await post(JSON.stringify({ source: 'images/tools.iso', to: 'lba' }));
      expect(unknown.status).toBe(400);
      expect(await unknown.json()).toMatchObject({
        code: 'TARGET_UNKNOWN',
        error: expect.stringContaining('did you mean lab?'),
      });
      expect((await fetch(`${url}/lab-0`)).status).toBe(404);
    } finally {
      producer.kill('SIGTERM');
      expect((await producer.ended).code).toBe(0);
    }
  });
});
