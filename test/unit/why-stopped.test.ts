import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { whyStopped } from '../../src/redis/why-stopped.ts';
import { withFolder } from '../helpers/temp.ts';

/** As Redis writes it, in local time. */
function line(text: string, secondsAgo = 1): string {
  const at = new Date(Date.now() - secondsAgo * 1_000).toString();
  const [, month, day, year, time] = at.split(' ');
  return `2183:M ${day} ${month} ${year} ${time}.952 ${text}\n`;
}

const SHORT = line(
  '# Short write while writing to the AOF file: (nwritten=124802, expected=223610)',
);
const EXITING = line("# Can't recover from AOF write error when the AOF fsync policy is 'always'.");
const STARTED = line('* DB loaded from base file: 0.000 seconds') + line('# Server initialized');

test('what ended the private server is found behind what it said when it was started again', () =>
  withFolder(async (folder) => {
    await writeFile(join(folder, 'redis.log'), STARTED + SHORT + EXITING + STARTED);
    expect(whyStopped(folder)).toMatchObject({
      code: 'REDIS_UNAVAILABLE',
      message: expect.stringMatching(/stopped: Short write .* Can't recover from AOF write error/),
    });
  }));

test('its times are compared with each other, not with a clock of another zone', () =>
  withFolder(async (folder) => {
    const inTokyo = (text: string): string => line(text, -9 * 3_600);
    const said = "# Can't recover from AOF write error";
    await writeFile(join(folder, 'redis.log'), inTokyo(said) + inTokyo('# Server initialized'));
    expect(whyStopped(folder)?.message).toMatch(/recover from AOF/);
  }));

test.each([
  ['nothing', ''],
  ['nothing bad', STARTED + line('# User requested shutdown...')],
  ['it long ago', line("# Can't recover from AOF write error", 600) + STARTED],
  [
    'what every start says of a small machine',
    line('# WARNING: The TCP backlog setting of 511 cannot be enforced because of an error') +
      line("# Server can't set maximum open files to 10032 because of OS error: (null)."),
  ],
])('a log that says %s says nothing of why', (_what, text) =>
  withFolder(async (folder) => {
    await writeFile(join(folder, 'redis.log'), text);
    expect(whyStopped(folder)).toBeUndefined();
  }),
);

test('nor does one that nobody has written to of late, or that is not there', () =>
  withFolder(async (folder) => {
    expect(whyStopped(folder)).toBeUndefined();
    const path = join(folder, 'redis.log');
    await writeFile(path, SHORT);
    await utimes(path, 1, 1);
    expect(whyStopped(folder)).toBeUndefined();
  }));
