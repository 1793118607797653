import { spawn, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { parseFaultRules } from '../../src/simulator/faults.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import { withFolder } from '../helpers/temp.ts';

const DOCS = join(import.meta.dirname, '..', '..', '..', 'docs', 'simulator.md');
const hasCurl = spawnSync('curl', ['--version']).status === 0;

/** Runs a shell script to its end, beside the simulator in this process. */
function shell(script: string, cwd: string): Promise<string> {
  const child = spawn('sh', ['-e'], { cwd });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  child.stdin.end(script);
  return new Promise((resolve) => child.on('close', () => resolve(output)));
}

// curl is what the document is about, and not there on every machine.
(hasCurl ? test : test.skip)('the quick start by curl does what it says', () =>
  withFolder(async (folder) => {
    const [, script = ''] =
      /```sh\n(ovaferry simulate.*?)```/s.exec(await readFile(DOCS, 'utf8')) ?? [];
    const simulator = await startSimulator({ release: '10.6', store: folder });
    try {
      const own = script
        .replace(/^ovaferry simulate.*\n/, '')
        .replace('http://127.0.0.1:8080;', `${simulator.url};`);
      expect(own).not.toContain('8080;');
      const output = await shell(own, folder);
      expect(output).toContain(' status="1"');
      expect(simulator.items()).toEqual([
        expect.objectContaining({ name: 'hello.iso', status: 1, imageType: 'iso' }),
      ]);
    } finally {
      await simulator.close();
    }
  }),
);

test('the fault rules that it shows are rules', async () => {
  const text = await readFile(DOCS, 'utf8');
  const blocks = [...text.matchAll(/```yaml\n(- (?:name|\{).*?)```/gs)].map(
    ([, block = '']) => block,
  );
  expect(blocks).toHaveLength(2);
  for (const block of blocks) expect(parseFaultRules(parse(block)).length).toBeGreaterThan(0);
});
