// The dashboard with many running uploads: what its server and its page cost. Prints; never fails.
//   npm run bench:page -- 500            uploads (default 500), each with three files
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { chromium } from 'playwright-core';

const root = join(import.meta.dirname, '..', '..');
const main = join(root, 'dist', 'ovaferry.js');
const args = process.argv.slice(2);
const count = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 500);
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-page-'));
const port = await freePort();
const PREFIX = '{ovaferry}';
const TARGETS = ['lab', 'prod', 'edge'];

const build = spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], {
  stdio: 'inherit',
});
if (build.status !== 0) process.exit(1);
const server = ['redis-server', 'valkey-server'].find((name) => onPath(name));
const redisProcess = spawn(server, ['--port', `${port}`, '--bind', '127.0.0.1', '--save', ''], {
  cwd: folder,
});
const redis = new Redis(port, { maxRetriesPerRequest: null });
redis.on('error', () => undefined); // until it is up
await redis.ping();

try {
  configure();
  enqueue();
  const running = await takeAll();
  const moving = setInterval(() => void moveOn(running), 1_000);
  const dashboard = spawn(
    process.execPath,
    [main, 'dashboard', '--listen', '127.0.0.1:0', '--json'],
    { cwd: folder },
  );
  const [line] = await once(dashboard.stdout, 'data');
  const { url } = JSON.parse(line);
  await measure(url, dashboard.pid);
  clearInterval(moving);
  dashboard.kill();
  await once(dashboard, 'exit');
} finally {
  redis.disconnect();
  redisProcess.kill();
  await once(redisProcess, 'exit');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: free } = probe.address();
  probe.close();
  return free;
}

function onPath(name) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((dir) => join(dir, name))
    .find(existsSync);
}

function configure() {
  const targets = TARGETS.map(
    (name) =>
      `  ${name}: {url: "http://127.0.0.1:1", org: acme, user: u, password: p, catalog: appliances}`,
  );
  writeFileSync(
    join(folder, 'ovaferry.yaml'),
    `redis: "redis://127.0.0.1:${port}"\ntargets:\n${targets.join('\n')}\n`,
  );
}

function enqueue() {
  const names = Array.from(
    { length: count },
    (_, i) => `appliance-${String(i).padStart(4, '0')}.iso`,
  );
  for (const name of names) writeFileSync(join(folder, name), 'x');
  const places = TARGETS.flatMap((target, i) => {
    const own = names.filter((_, n) => n % TARGETS.length === i);
    return own.length === 0 ? [] : [[target, own]];
  });
  for (const [target, own] of places) {
    const command = [
      'enqueue',
      ...own,
      '--to',
      target,
      '--batch',
      'weekend',
      '--deadline',
      '2099-01-01',
    ];
    const { status, stderr } = spawnSync(process.execPath, [main, ...command], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
  }
}

/** What workers do with jobs, without the uploads: the page is what is measured. */
async function takeAll() {
  const jobs = [];
  for (const target of TARGETS) {
    const queue = new Queue(`upload-${target}`, { connection: redis, prefix: PREFIX });
    const worker = new Worker(queue.name, undefined, {
      ...{ connection: redis.duplicate(), prefix: PREFIX, autorun: false },
      ...{ lockDuration: 3_600_000, skipStalledCheck: true },
    });
    for (;;) {
      const job = await worker.getNextJob('bench', { block: false });
      if (!job) break;
      jobs.push({
        job,
        size: 5e9 + Math.random() * 40e9,
        sent: Math.random() * 20e9,
        rate: 1e6 + Math.random() * 5e6,
      });
    }
  }
  return jobs;
}

async function moveOn(running) {
  await Promise.all(
    running.map(async (one) => {
      one.sent = Math.min(one.size, one.sent + one.rate);
      const parts = [0.7, 0.2, 0.1].map((share) => one.size * share);
      let left = one.sent;
      const files = parts.map((size, i) => {
        const sent = Math.min(size, left);
        left -= sent;
        return { name: `disk${i + 1}.vmdk`, size: Math.round(size), sent: Math.round(sent) };
      });
      const bytesSent = Math.round(one.sent);
      await one.job.updateProgress({
        ...{ stage: 'transferring', bytesSent, bytesTotal: Math.round(one.size), bytesResent: 0 },
        ...{ bytesConfirmed: bytesSent, files },
      });
    }),
  );
}

async function measure(url, pid) {
  const executablePath =
    process.env.CHROMIUM_PATH ??
    ['chromium', 'chromium-browser', 'google-chrome'].map(onPath).find(Boolean);
  const browser = await chromium.launchPersistentContext(join(folder, 'profile'), {
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    viewport: { width: 1360, height: 860 },
  });
  const page = await browser.newPage();
  const sizes = [];
  page.on('response', async (answer) => {
    if (answer.url().endsWith('/api/state'))
      sizes.push((await answer.body().catch(() => '')).length);
  });
  const opened = performance.now();
  await page.goto(url);
  await page.getByRole('region', { name: 'Running' }).getByRole('progressbar').first().waitFor();
  const first = performance.now() - opened;
  const session = await browser.newCDPSession(page);
  await session.send('Performance.enable');
  const metric = async () =>
    Object.fromEntries(
      (await session.send('Performance.getMetrics')).metrics.map(({ name, value }) => [
        name,
        value,
      ]),
    );
  const cpu = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };
  await sleep(4_000); // rates need a few looks
  const [before, cpuBefore, at] = [await metric(), cpu(), performance.now()];
  await sleep(15_000);
  const [after, cpuAfter, seconds] = [await metric(), cpu(), (performance.now() - at) / 1_000];
  const bars = await page.getByRole('progressbar').count();
  const share = (value) => `${((100 * value) / seconds).toFixed(1)} %`;
  const memory =
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
  console.log(`${count} running uploads, ${bars} progress bars, looked at every second`);
  console.log(`first picture       ${first.toFixed(0)} ms after the address was entered`);
  console.log(
    `state               ${(Math.max(...sizes) / 1024).toFixed(0)} KiB a look, ${sizes.length} looks in all`,
  );
  console.log(
    `page, of one core   ${share(after.TaskDuration - before.TaskDuration)} (script ${share(after.ScriptDuration - before.ScriptDuration)}, layout ${share(after.LayoutDuration - before.LayoutDuration)})`,
  );
  console.log(
    `page, memory        ${(after.JSHeapUsedSize / 2 ** 20).toFixed(0)} MiB of JavaScript, ${after.Nodes} nodes`,
  );
  console.log(`server, of one core ${share(cpuAfter - cpuBefore)}, ${memory.toFixed(0)} MiB`);
  await browser.close();
}
