import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { withPage } from '../helpers/browser.ts';
import { json, type Running, run, start, until } from '../helpers/cli.ts';
import { packageOf, writeOva } from '../helpers/packages.ts';
import { enqueued, isUp, jobsNow, type Place, untilOver, withPlace } from '../helpers/place.ts';

async function withDashboard<T>(
  { folder }: Place,
  use: (url: string) => Promise<T>,
  args: readonly string[] = [],
): Promise<T> {
  const dashboard: Running = start(
    ['dashboard', '--listen', '127.0.0.1:0', '--json', ...args],
    folder,
  );
  try {
    const line = await until(
      'the dashboard',
      () => dashboard.output.stdout.includes('\n') && dashboard.output.stdout,
    );
    const result = await use((JSON.parse(line) as { url: string }).url);
    dashboard.kill('SIGTERM');
    expect((await dashboard.ended).code).toBe(0);
    return result;
  } finally {
    dashboard.kill('SIGKILL');
    await dashboard.ended;
  }
}

async function addToConfig({ folder }: Place, text: string): Promise<void> {
  const file = join(folder, 'ovaferry.yaml');
  await writeFile(file, `${await readFile(file, 'utf8')}${text}`);
}

const post = (url: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

/** The status of a request whose headers browsers would not let a page choose. */
function statusOf(url: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('the dashboard', () => {
  test('shows targets, a batch, the files of what runs; cancels, retries; a browser is enough', () =>
    withPlace({ rateBytesPerSecond: 2_000_000 }, async (place) => {
      const { folder } = place;
      const two = await writeOva(
        join(folder, 'two.ova'),
        packageOf([60_000_000, 20_000_000], 'two'),
      );
      const [descriptor, , disk] = packageOf([1_000], 'bad');
      await writeFile(join(folder, 'bad.ovf'), descriptor?.bytes ?? '');
      await isUp(place.worker());
      const jobs = await json(
        ['enqueue', two, 'bad.ovf', '--to', 'lab', '--batch', 'weekend'],
        folder,
      );
      const [first, bad] = jobs.map(({ id }) => id);
      await withDashboard(place, (url) =>
        withPage(async (page) => {
          page.on('dialog', (dialog) => void dialog.accept());
          await page.goto(url);
          const section = (name: string) => page.getByRole('region', { name, exact: true });
          const bar = (name: string) => page.getByRole('progressbar', { name, exact: true });
          await bar('two-disk1.vmdk').waitFor();
          const at = () =>
            bar('two-disk1.vmdk').evaluate((own: { value?: number }) => own.value ?? 0);
          await until('progress of one file', async () => (await at()) > 0 && (await at()) < 1);
          const before = await at();
          await until('more of it, without a reload', async () => (await at()) > before);
          expect(await section('Running').innerText()).toMatch(/two → lab\/appliances \(weekend\)/);
          expect(await section('Batches').innerText()).toMatch(/weekend\s+0 of 2/);
          await until('its rate', async () =>
            /\dB\/s|\d [kM]B\/s/.test(await section('Running').innerText()),
          );
          const failed = section('Failed');
          await failed
            .getByText('PACKAGE_INCOMPLETE: bad.ovf: bad-disk1.vmdk is missing')
            .waitFor();

          await writeFile(join(folder, disk?.name ?? ''), disk?.bytes ?? '');
          await failed.getByRole('button', { name: 'Retry bad' }).click();
          await page.getByRole('status').getByText('1 upload put back').waitFor();
          await section('Failed').getByText('none').waitFor();

          await section('Running').getByRole('button', { name: 'Cancel two' }).click();
          await failed.getByText('CANCELLED').waitFor();
          expect(await untilOver(place, first ?? '')).toMatchObject({
            error: { code: 'CANCELLED' },
          });
          expect(await untilOver(place, bad ?? '')).toMatchObject({ state: 'completed' });
          expect(place.simulator.items().filter(({ name }) => name === 'two')).toEqual([]);

          const later = await writeOva(join(folder, 'later.ova'), packageOf([10], 'later'));
          const wanted = ['--batch', 'later', '--start-at', '2099-01-01'];
          const [waiting] = await json(['enqueue', later, '--to', 'lab', ...wanted], folder);
          await section('Batches').getByRole('button', { name: 'Cancel later' }).click();
          await page.getByRole('status').getByText('1 upload will be cancelled').waitFor();
          expect(await untilOver(place, waiting?.id ?? '')).toMatchObject({
            error: { code: 'CANCELLED' },
          });

          await page.getByLabel('Filter').fill('no such upload');
          await section('Failed').getByText('none').waitFor();
          await page.goto(`${url}/queues`);
          await page.getByText('upload-lab').first().waitFor();
          await page.getByText('upload-lab').first().click();
          await page
            .getByText(first ?? '')
            .first()
            .waitFor();
        }),
      );
    }));

  test('says why a target is held, and lets it go on; that Redis is away, and that it is back', () =>
    withPlace({}, async (place) => {
      const { folder, redis, source } = place;
      await addToConfig(place, '');
      const file = join(folder, 'ovaferry.yaml');
      const config = await readFile(file, 'utf8');
      await writeFile(file, config.replace('password: simulated', 'password: wrong'));
      const worker = place.worker();
      await isUp(worker);
      await json(['enqueue', source, '--to', 'lab'], folder);
      await withDashboard(place, (url) =>
        withPage(async (page) => {
          await page.goto(url);
          await page.getByText('held: AUTH_REJECTED').waitFor();
          await page.getByRole('button', { name: 'Resume lab' }).click();
          await page.getByRole('status').getByText('it goes on').waitFor();
          await redis.kill();
          await page.getByRole('alert').waitFor();
          await redis.start();
          await page.getByRole('alert').waitFor({ state: 'detached' });
        }),
      );
    }));

  test('where no worker serves the target, cancels and cleans up by itself', () =>
    withPlace({ size: 5_000_000, rateBytesPerSecond: 500_000 }, async (place) => {
      const worker = place.worker();
      await isUp(worker);
      const id = await enqueued(place);
      await until('an item', () => place.simulator.items()[0]?.files[1]?.received);
      worker.kill('SIGKILL');
      await worker.ended;
      await withDashboard(place, async (url) => {
        expect((await post(`${url}/api/cancel`, { ids: [id] })).status).toBe(200);
        expect(await untilOver(place, id)).toMatchObject({ error: { code: 'CANCELLED' } });
        await until('that nothing is left', () => place.simulator.items().length === 0);
      });
    }));

  test('takes nothing from other pages, under other names, or for the queues', () =>
    withPlace({}, async (place) => {
      const id = await enqueued(place);
      await withDashboard(place, async (url) => {
        const cancel = `${url}/api/cancel`;
        expect((await post(cancel, { ids: [id] }, { 'sec-fetch-site': 'cross-site' })).status).toBe(
          403,
        );
        expect(await statusOf(cancel, { origin: 'http://evil.example' }, 'POST')).toBe(403);
        expect(await statusOf(`${url}/api/state`, { host: 'evil.example' })).toBe(421);
        expect((await fetch(cancel, { method: 'POST', body: '{"ids":["x"]}' })).status).toBe(415);
        expect((await post(cancel, { ids: [] })).status).toBe(400);
        // What is not understood is refused, and never taken for less than it said.
        for (const path of ['retry', 'cancel', 'resume']) {
          for (const body of [{}, { batchh: 'x' }, { ids: 'x' }, { ids: [5] }, { ids: null }, []]) {
            const { status } = await post(`${url}/api/${path}`, body);
            expect({ path, body, status }).toEqual({ path, body, status: 400 });
          }
        }
        const two = await post(`${url}/api/retry`, { ids: [id], batch: 'x' });
        expect(two.status).toBe(400);
        expect((await post(cancel, { ids: ['lab-00'] })).status).toBe(404);
        expect((await post(`${url}/api/resume`, { target: 'nowhere' })).status).toBe(404);
        for (const path of ['', '/api/queues/upload-lab/pause', '/..%2f..%2fapi']) {
          expect((await post(`${url}/queues${path}`, {})).status).toBeGreaterThanOrEqual(404);
        }
        expect(await statusOf(`${url}/%71ueues/api/queues/pause`, {}, 'PUT')).toBe(405);
        const page = await fetch(url);
        expect(page.headers.get('content-security-policy')).toMatch(/frame-ancestors 'none'/);
        expect((await fetch(`${url}/..%2f..%2fcli%2fmain.js`)).status).toBe(404);
      });
      const [job] = await jobsNow(place, [id]);
      expect(job?.state).toBe('waiting');
    }));

  test('opened wider wants a login, and lets in who has it', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const refused = await run(['dashboard', '--listen', ':0'], folder);
      expect(refused).toMatchObject({ code: 2 });
      expect(refused.stderr).toMatch(/who may see the dashboard/);
      await addToConfig(place, 'dashboard: {token: "s3cret"}\n');
      await withDashboard(place, async (url) => {
        const status = async (authorization?: string) =>
          (await fetch(`${url}/api/state`, authorization ? { headers: { authorization } } : {}))
            .status;
        const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
        expect(await status()).toBe(401);
        expect(await status('Bearer wrong')).toBe(401);
        expect(await status(basic('me:wrong'))).toBe(401);
        expect(await status('Bearer s3cret')).toBe(200);
        expect(await status(basic('me:s3cret'))).toBe(200);
        for (const path of ['/', '/page.js', '/queues', '/queues/api/queues', '/nowhere']) {
          expect([path, (await fetch(url + path)).status]).toEqual([path, 401]);
        }
        await withPage(
          async (page) => {
            await page.goto(url);
            await page.getByRole('region', { name: 'Targets' }).getByText('lab').waitFor();
          },
          { username: 'me', password: 's3cret' },
        );
      });
    }));
});
