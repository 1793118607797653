import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createProgram, examplesOf } from '../../src/cli/program.ts';
import { configure, run } from '../helpers/cli.ts';
import { withFolder } from '../helpers/temp.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'dist', 'ovaferry.js');

/** As in a bash without the package bash-completion; sourced twice, as happens. */
const BASH = `
compopt() { :; }
source <(ovaferry completion bash)
source <(ovaferry completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
__ovaferry_complete
echo "\${COMPREPLY[*]}"
`;

describe('a shell', () => {
  test.each([
    ['commands', ['up'], 'upload'],
    ['options', ['upload', '--storage'], '--storage-profile'],
    ['targets with their catalogs', ['upload', 'x.ova', '--to', ''], 'lab lab/appliances'],
    ['targets alone', ['resume', ''], 'lab'],
    ['what an option takes', ['upload', '--if-exists', 'r'], 'replace'],
    ['shells', ['completion', 'f'], 'fish'],
    ['nothing where files are meant', ['upload', ''], ''],
  ])('completes %s', (_what, words, said) =>
    withFolder(async (folder) => {
      await configure(folder, { url: 'http://127.0.0.1:1', password: `\${NOT_SET}` });
      const command = join(folder, 'ovaferry');
      await writeFile(command, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
      await chmod(command, 0o755);
      const { stdout, stderr } = spawnSync('bash', ['-c', BASH, 'bash', 'ovaferry', ...words], {
        cwd: folder,
        encoding: 'utf8',
        env: { PATH: `${folder}:${process.env['PATH']}`, HOME: folder },
      });
      expect({ stdout: stdout.trim(), stderr }).toEqual({ stdout: said, stderr: '' });
    }),
  );

  test.each(['zsh', 'fish', 'powershell'])('%s has a script of its own', async (shell) => {
    const { code, stdout } = await run(['completion', shell], '/');
    expect(code).toBe(0);
    expect(stdout).toMatch(/ovaferry['"]? complete/);
  });

  test('that is unknown is an error of usage', async () => {
    expect(await run(['completion', 'tcsh'], '/')).toMatchObject({ code: 2 });
  });
});

describe('help', () => {
  const program = createProgram(async () => undefined);
  const commands = program
    .createHelp()
    .visibleCommands(program)
    .filter((one) => one.name() !== 'help');

  test.each(commands.map((command) => [command.name(), command] as const))(
    'of %s has examples, and each can be parsed',
    async (name, command) => {
      const { stdout, code } = await run([name, '--help'], '/');
      expect(code).toBe(0);
      const examples = Object.keys(examplesOf(command));
      expect(examples.length).toBeGreaterThan(0);
      for (const example of examples) {
        expect(stdout).toContain(example);
        const [, line = ''] = /ovaferry ([^>)]+)/.exec(example) ?? [];
        // As a shell reads them.
        const words = [...line.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) =>
          word.replaceAll(/["']/g, ''),
        );
        let called = '';
        const parser = createProgram(async (one) => {
          called = one.name();
        });
        await parser.parseAsync(words, { from: 'user' });
        expect(called).toBe(name);
      }
    },
  );
});

describe('what was misspelt', () => {
  test.each([
    ['a target', ['enqueue', 'main.yaml', '--media', '--to', 'lba'], /did you mean lab\?/],
    ['a command', ['enqeue', 'x.ova'], /Did you mean enqueue\?/],
    ['an option', ['status', '--fialed'], /Did you mean --failed\?/],
  ])('%s is guessed', (_what, args, said) =>
    withFolder(async (folder) => {
      await configure(folder, { url: 'http://127.0.0.1:1' });
      await writeFile(join(folder, 'main.yaml'), 'x');
      const { code, stderr } = await run(args, folder);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(said) });
    }),
  );

  const targets = (more: string) =>
    `targets: {lab: {url: "https://x", org: a, bearerToken: t, ${more}}}\n`;
  test.each([
    ['worker: {concurency: 3}\n', /worker: unknown key concurency \(did you mean concurrency\?\)/],
    ['wrker: {}\n', /unknown key wrker \(did you mean worker\?\)/],
    ['groups: {g: {inflight: 1GB}}\n', /unknown key inflight \(did you mean inFlight\?\)/],
    [targets('windows: [{form: "08:00"}]'), /unknown key form \(did you mean from\?\)/],
    [
      targets('bandwidth: [{frm: "08:00", limit: 1MB/s}]'),
      /unknown key frm \(did you mean from\?\)/,
    ],
    [targets('nothingLikeIt: 1'), /unknown key nothingLikeIt$/m],
  ])('a key of the configuration is guessed: %s', (yaml, said) =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'ovaferry.yaml'), yaml);
      const { code, stderr } = await run(['status'], folder);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(said) });
    }),
  );
});
