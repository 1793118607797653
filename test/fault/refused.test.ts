import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { classify } from '../../src/errors.ts';
import { NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import { isoOf, packageOf, writeOva } from '../helpers/packages.ts';
import { atOnce } from '../helpers/side-by-side.ts';
import { withFolder } from '../helpers/temp.ts';
import { type UploadWorld, withUploads } from '../helpers/upload.ts';

const PATIENCE_MS = 1_500;
/** From 40 ms on pauses double: in its patience a call is asked for about six times. */
const MOST_ASKED = 12;
/** What is looked at before each try is asked for as often. */
const MOST_REQUESTS = 60;

/** What was moved is there, whether or not the server takes back addresses, or the item replaced. */
const LEFT_UNDONE = /disableDownload|^DELETE /;

type Story = (world: UploadWorld, folder: string) => Promise<unknown>;

const STORIES: Readonly<Record<string, Story>> = {
  async 'an upload of a package'({ upload }, folder) {
    const source = await writeOva(join(folder, 'box.ova'), packageOf([30_000]));
    return upload(source, { metadata: METADATA, patienceMs: PATIENCE_MS });
  },
  async 'an upload of media'({ upload }, folder) {
    await writeFile(join(folder, 'box.iso'), isoOf());
    return upload(join(folder, 'box.iso'), { patienceMs: PATIENCE_MS });
  },
  async 'a replacement'(world, folder) {
    await writeFile(join(folder, 'box.iso'), isoOf());
    return world.upload(join(folder, 'box.iso'), {
      ...{ jobId: 'lab-2', name: 'there', ifExists: 'replace', patienceMs: PATIENCE_MS },
    });
  },
  'a download': ({ download }, folder) =>
    download('there', join(folder, 'to'), { patienceMs: PATIENCE_MS }),
};

const METADATA = [{ key: 'owner', type: 'string', value: 'me' }] as const;

/** There is an item to download and one to replace. */
function withStory<T>(use: (world: UploadWorld, folder: string) => Promise<T>): Promise<T> {
  return withFolder((folder) =>
    withUploads({ store: join(folder, 'store') }, async (world) => {
      await world.upload(await writeOva(join(folder, 'there.ova'), packageOf([30_000], 'there')));
      world.remembered.current = NO_CHECKPOINT;
      return use(world, folder);
    }),
  );
}

/** A request as a pattern: other runs have other ids. */
function patternOf({ method, path }: { readonly method: string; readonly path: string }): string {
  const escaped = path.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return `${method} ${escaped.replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '[\\da-f-]{36}')}`;
}

describe.each(Object.keys(STORIES))('%s whose server refuses one call for ever', (name) => {
  const story = STORIES[name] as Story;

  test('asks for it ever more seldom, and says in the end what was refused', async () => {
    const calls = await withStory(async (world, folder) => {
      const before = world.simulator.requests.length;
      await story(world, folder);
      return [...new Set(world.simulator.requests.slice(before).map(patternOf))];
    });
    expect(calls.length).toBeGreaterThan(4);
    await atOnce(6, calls, (call) =>
      withStory(async (world, folder) => {
        const [method = '', path = ''] = call.split(' ');
        world.simulator.world.faults.add({
          ...{ on: { method, path: `^${path}$` }, times: 0 },
          do: { status: 500, body: '<Error message="disk on fire"/>' },
        });
        const before = world.simulator.requests.length;
        const failure = await story(world, folder).then(() => undefined, classify);
        const asked = world.simulator.requests.slice(before);
        const refused = asked.filter((one) => patternOf(one) === call).length;
        const isSeldom = refused <= MOST_ASKED && asked.length <= MOST_REQUESTS;
        const code = LEFT_UNDONE.test(call) ? undefined : 'SERVER_UNAVAILABLE';
        expect({ call, code: failure?.code, isSeldom }).toEqual({ call, code, isSeldom: true });
      }),
    );
  }, 120_000);
});
