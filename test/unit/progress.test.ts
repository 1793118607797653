import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { createProgressDisplay } from '../../src/cli/progress.ts';
import type { JobDetails } from '../../src/jobs/job-view.ts';

const job = (id: string, patch: Partial<JobDetails>): JobDetails => ({
  ...{ id, state: 'waiting', kind: 'ovf', source: '/x', target: 'lab', catalog: 'c', name: id },
  ...{ batch: null, existing: false, stage: 'queued', bytesSent: 0, bytesTotal: 1_000 },
  ...{ bytesResent: 0, attempts: 0, error: null, result: null, enqueuedAt: '', startedAt: null },
  ...{ finishedAt: null, pool: null, deadline: null, files: [], warnings: [], bytesOnServer: 0 },
  ...{ operation: 'upload', destination: null, notBefore: null, priority: 0, requestIds: [] },
  ...patch,
});

/** What a terminal of this size shows. */
function shown(jobs: JobDetails[], rows: number, columns: number): string[] {
  const { write, isTTY, rows: hadRows, columns: hadColumns } = process.stdout;
  let text = '';
  Object.assign(process.stdout, {
    ...{ isTTY: true, rows, columns },
    write(chunk: string) {
      text += chunk;
      return true;
    },
  });
  try {
    const display = createProgressDisplay({ color: false });
    display.show(jobs);
    display.close();
  } finally {
    Object.assign(process.stdout, { write, isTTY, rows: hadRows, columns: hadColumns });
  }
  return stripVTControlCharacters(text).trimEnd().split('\n');
}

describe('a live view', () => {
  test('fits the terminal, and shows first what is most worth seeing', () => {
    const jobs = [
      ...Array.from({ length: 400 }, (_one, i) => job(`waiting${i}`, {})),
      job('failed', {
        state: 'failed',
        error: { code: 'X', message: 'bad', permanent: true, hint: 'mend' },
      }),
      job('running', { state: 'active', stage: 'transferring', bytesSent: 500 }),
    ];
    const lines = shown(jobs, 12, 40);
    expect(lines.length).toBeLessThanOrEqual(12);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(40);
    expect(lines[0]).toContain('running');
    expect(lines[1]).toContain('failed');
    expect(lines.at(-2)).toMatch(/… and 39\d more/);
    expect(lines.at(-1)).toContain('0 of 402 done, 1 failed');
  });

  test('has columns', () => {
    const running = ['a', 'a-longer-name'].map((name, i) =>
      job(name, { state: 'active', stage: 'transferring', bytesSent: 900 * i }),
    );
    const [first = '', second = ''] = shown(running, 24, 100);
    expect(first.indexOf('0% of')).toBe(second.indexOf('90% of') + 1);
  });

  test('shows the files of what runs where there is room', () => {
    const files = [
      { name: 'disk1.vmdk', size: 100, sent: 50 },
      { name: 'disk2.vmdk', size: 100, sent: 0 },
      { name: 'disk3.vmdk', size: 100, sent: 0 },
      { name: 'disk4.vmdk', size: 100, sent: 0 },
    ];
    const running = job('box', { state: 'active', stage: 'transferring', files });
    expect(shown([running], 24, 80).join('\n')).toContain('disk1.vmdk: 50% of 100 B');
    expect(shown([running], 5, 80).join('\n')).not.toContain('disk1.vmdk');
  });
});
