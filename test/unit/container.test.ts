import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const read = (name: string): Promise<string> => readFile(join(ROOT, name), 'utf8');

test('what the Dockerfile copies is not kept from it by .dockerignore', async () => {
  const kept = (await read('.dockerignore')).split('\n').filter((line) => line.startsWith('!'));
  const patterns = kept.map(
    (line) => new RegExp(`^${line.slice(1).replaceAll('.', '\\.').replaceAll('*', '[^/]*')}(/|$)`),
  );
  const copies = [...(await read('Dockerfile')).matchAll(/^COPY (?!--from)(.+) \S+$/gm)];
  const sources = copies.flatMap(([, names = '']) => names.split(' '));
  expect(sources.length).toBeGreaterThan(4);
  for (const source of sources) {
    expect({ source, isKept: patterns.some((pattern) => pattern.test(source)) }).toEqual({
      source,
      isKept: true,
    });
  }
});

test('docker-compose.yml has a Redis that keeps, two workers, the dashboard, a simulator by profile', async () => {
  const { services, volumes } = parse(await read('docker-compose.yml')) as {
    services: Record<string, { command: string[]; deploy?: object; profiles?: string[] }>;
    volumes: object;
  };
  expect(Object.keys(services)).toEqual(['redis', 'worker', 'dashboard', 'simulator']);
  expect(services['redis']?.command).toEqual(expect.arrayContaining(['--appendonly', 'yes']));
  expect(services['worker']?.deploy).toEqual({ replicas: 2 });
  expect(services['simulator']?.profiles).toEqual(['simulator']);
  expect(volumes).toHaveProperty('redis-data');
});
