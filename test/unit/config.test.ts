import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { parseDuration, parseRate, parseSize } from '../../src/config/units.ts';
import { withFolder } from '../helpers/temp.ts';

const TARGET = `
targets:
  lab:
    url: https://vcd.example.com
    org: acme
    user: up
    password: \${LAB_PASSWORD}
    catalog: appliances
`;

async function loaded<T>(
  yaml: string,
  use: (config: ReturnType<typeof loadConfig>, folder: string) => Promise<T> | T,
  env: NodeJS.ProcessEnv = {},
): Promise<T> {
  return withFolder(async (folder) => {
    const file = join(folder, 'c.yaml');
    await writeFile(file, yaml);
    return use(loadConfig({ file, env }), folder);
  });
}

describe('units', () => {
  test.each([
    ['50MiB', 52_428_800],
    ['1.5GiB', 1_610_612_736],
    ['10 MB', 10_000_000],
    ['200M', undefined],
    ['MiB', undefined],
    ['-1MB', undefined],
  ])('a size %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  test.each([
    ['200MB/s', 200e6],
    ['180Mbit/s', 22.5e6],
    ['1Gbit/s', 125e6],
    ['200M', undefined],
    ['200MB', undefined],
  ])('a rate %s', (text, rate) => expect(parseRate(text)).toBe(rate));

  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['2h', 7_200_000],
    ['30', undefined],
  ])('a time %s', (text, ms) => expect(parseDuration(text)).toBe(ms));
});

describe('a configuration', () => {
  test('needs no secret until somebody logs in', () =>
    loaded(TARGET, async (config) => {
      expect([...config.targets.keys()]).toEqual(['lab']);
      expect(config.targets.get('lab')).toMatchObject({ catalog: 'appliances' });
      await expect(config.targets.get('lab')?.resolve()).rejects.toMatchObject({
        code: 'CREDENTIALS_MISSING',
        message: expect.stringMatching(/LAB_PASSWORD.*targets\.lab\.password/),
      });
    }));

  test('takes secrets from the environment and from files beside it', async () => {
    await loaded(
      TARGET,
      async (config) => {
        const target = await config.targets.get('lab')?.resolve();
        expect(target?.credentials).toEqual({ kind: 'password', user: 'up', password: 's3cret' });
      },
      { LAB_PASSWORD: 's3cret' },
    );
    const byFile = TARGET.replace(/password: .*/, 'passwordFile: secrets/lab');
    await loaded(byFile, async (config, folder) => {
      await mkdir(join(folder, 'secrets'));
      await writeFile(join(folder, 'secrets', 'lab'), 'from-file\n');
      const target = await config.targets.get('lab')?.resolve();
      expect(target?.credentials).toMatchObject({ password: 'from-file' });
    });
  });

  test.each([
    ['an unknown key', `${TARGET}    colour: red\n`, /targets\.lab: unknown key colour/],
    ['an unknown key at the top', 'speed: 9\n', /unknown key speed/],
    ['a bad rate', 'worker: { bandwidth: 200M }\n', /worker\.bandwidth: expected .*200MB\/s/],
    ['a bad lease', 'worker: { lease: 10 }\n', /worker\.lease/],
    ['a bad zone', 'worker: { timezone: Mars }\n', /worker\.timezone: expected a time zone/],
    ['two ways to log in', `${TARGET}    apiToken: x\n`, /exactly one of .*password and apiToken/],
    ['no way to log in', TARGET.replace(/ *password.*\n/, ''), /exactly one of .*got none/],
    [
      'a url without scheme',
      TARGET.replace('https://', ''),
      /targets\.lab\.url: expected an address like https/,
    ],
    ['a target with a colon', 'targets: { "a:b": {} }\n', /targets\.a:b/],
    ['broken YAML', 'a: [1\n', /line 2, column 1/],
    ['no speed at all', 'worker: { bandwidth: 0MB/s }\n', /worker\.bandwidth/],
    ['chunks of nothing', 'worker: { chunkSize: 0B }\n', /worker\.chunkSize/],
    [
      'a tenant that acts for another',
      `${TARGET}    tenant: other\n`,
      /targets\.lab\.tenant: only a provider/,
    ],
    [
      'a key without its assertion',
      `${TARGET}    samlKeyFile: k.pem\n`,
      /targets\.lab\.samlKeyFile: goes with samlAssertionFile/,
    ],
  ])('with %s is refused, naming file and key', async (_name, yaml, message) => {
    await expect(loaded(yaml, () => undefined)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(message),
    });
    await expect(loaded(yaml, () => undefined)).rejects.toThrow(/c\.yaml/);
  });

  test('a variable within braces is to be quoted, which is said', async () => {
    const yaml = `targets:\n  lab: {url: https://x, password: \${LAB}, org: a}\n`;
    await expect(loaded(yaml, () => undefined)).rejects.toMatchObject({
      message: expect.stringMatching(/line 2, column \d+/),
      hint: expect.stringContaining(`password: "\${NAME}"`),
    });
  });

  test.each([
    ['an unclosed quote', 'password: "s3cret\n'],
    ['a reserved character', 'password: @s3cret\n'],
    ['a key that is there twice', 'password: s3cret\n    password: s3cret\n'],
  ])('that can not be read because of %s never shows what stands there', async (_name, text) => {
    const yaml = TARGET.replace(/password: .*\n/, text);
    await expect(loaded(yaml, () => undefined)).rejects.toThrow(/line \d+, column \d+/);
    await expect(loaded(yaml, () => undefined)).rejects.not.toThrow(/s3cret/);
  });

  test('is looked for where the contract says', () =>
    withFolder(async (folder) => {
      await mkdir(join(folder, 'xdg', 'ovaferry'), { recursive: true });
      const env = { XDG_CONFIG_HOME: join(folder, 'xdg'), XDG_STATE_HOME: join(folder, 'state') };
      const load = (more: NodeJS.ProcessEnv = {}) =>
        loadConfig({ cwd: folder, env: { ...env, ...more } });
      expect(load().file).toBeUndefined();
      expect(load().dataDir).toBe(join(folder, 'state', 'ovaferry'));
      await writeFile(join(folder, 'xdg', 'ovaferry', 'config.yaml'), '');
      expect(load().file).toBe(join(folder, 'xdg', 'ovaferry', 'config.yaml'));
      await writeFile(join(folder, 'ovaferry.yaml'), '');
      expect(load().file).toBe(join(folder, 'ovaferry.yaml'));
      await writeFile(join(folder, 'other.yaml'), 'redis: redis://r:1\n');
      const other = load({ OVAFERRY_CONFIG: 'other.yaml' });
      expect(other.redisUrl()).toBe('redis://r:1');
      expect(() => load({ OVAFERRY_CONFIG: 'none.yaml' })).toThrow(/none\.yaml does not exist/);
    }));

  test('reaches loopback without a proxy, and others as NO_PROXY says', async () => {
    const proxied = (url: string, more: NodeJS.ProcessEnv = {}) =>
      loaded(
        TARGET.replace('https://vcd.example.com', url),
        async (config) => (await config.targets.get('lab')?.resolve())?.proxy,
        { LAB_PASSWORD: 'x', HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://p:1', ...more },
      );
    expect(await proxied('https://vcd.example.com')).toBe('http://p:1');
    expect(await proxied('http://127.0.0.1:8')).toBeUndefined();
    expect(await proxied('http://localhost')).toBeUndefined();
    expect(
      await proxied('https://vcd.example.com', { NO_PROXY: 'x, .example.com' }),
    ).toBeUndefined();
  });
});

describe('what the pages show of a configuration', () => {
  const root = join(import.meta.dirname, '..', '..', '..');
  const beside = { url: 'https://vcd.example.com', org: 'acme', bearerToken: 'x' };

  test('can be read', async () => {
    const pages = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md'));
    let count = 0;
    for (const page of ['README.md', ...pages.map((name) => join('docs', name))]) {
      const text = await readFile(join(root, page), 'utf8');
      for (const [, block = ''] of text.matchAll(/^ {0,4}```yaml\n([\s\S]*?)^ {0,4}```$/gm)) {
        const shown = parse(block) as Record<string, Record<string, Record<string, unknown>>>;
        if (Array.isArray(shown) || shown['uploads']) continue; // faults of the simulator, a manifest
        for (const [name, target] of Object.entries(shown['targets'] ?? {})) {
          // What says no more than limits stands beside the rest.
          if (target['url'] === undefined)
            (shown['targets'] ?? {})[name] = { ...beside, ...target };
        }
        await loaded(stringify(shown), (config) => config.limits());
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(6);
  });

  test('is a whole one in the examples', async () => {
    const text = await readFile(join(root, 'examples', 'ovaferry.yaml'), 'utf8');
    await loaded(text, async (config) => {
      expect([...config.targets.keys()]).toEqual(['lab', 'prod']);
      expect((await config.limits()).line?.name).toBe('dc1');
    });
  });
});
