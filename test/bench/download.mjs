// What comes back, and what goes from one cloud to another. Prints, never fails.
//   npm run bench:download            1 GB, three rounds
//   npm run bench:download -- 4 5     4 GB, five rounds
import { execFile, spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import {
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const main = join(import.meta.dirname, '..', '..', 'dist', 'ovaferry.js');
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-bench-'));
const [gigabytes = '1', rounds = '3'] = process.argv.slice(2);
const size = Math.round(Number(gigabytes) * 1e9);
const children = [];

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];
const listed = (all) =>
  `${seconds(median(all))} (${all.map((ms) => (ms / 1000).toFixed(2)).join(', ')})`;
const peakMiB = (pid) =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);

async function ovaferry(...args) {
  const { stdout } = await run('node', [main, ...args], { cwd: folder, maxBuffer: 1e9 });
  return stdout;
}

function daemon(args) {
  const child = spawn('node', [main, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function simulator(name) {
  const child = daemon(['simulate', '--store', join(folder, name)]);
  const line = await new Promise((resolve) => child.stdout.once('data', resolve));
  return JSON.parse(String(line)).url;
}

async function until(what, test, everyMs = 20) {
  for (let i = 0; i < 12_000; i += 1) {
    const found = await test();
    if (found) return found;
    await sleep(everyMs);
  }
  throw new Error(`never saw ${what}`);
}

const jobOf = async (id) => JSON.parse(await ovaferry('status', id, '--json'))[0];
/** Asked seldom: asking takes a core for a while, and the job itself says how long it took. */
const ended = (id) =>
  until(
    'its end',
    async () => {
      await sleep(size / 1e6);
      const job = await jobOf(id);
      if (job.state === 'failed') throw new Error(job.error.message);
      return job.state === 'completed' && job;
    },
    2_000,
  );
const took = ({ startedAt, finishedAt }) => Date.parse(finishedAt) - Date.parse(startedAt);
const detached = async (...args) => (await ovaferry(...args)).trim();

/** What a copy replaces: fetch it from the one, and send it to the other. */
async function byHand(name) {
  const out = join(folder, name);
  const back = await ended(
    await detached('download', 'lab/appliances/disk', '-o', out, '--detach'),
  );
  const there = await ended(
    await detached('enqueue', join(out, 'disk.iso'), '--to', 'prod', '--name', name),
  );
  rmSync(out, { recursive: true });
  await ovaferry('rm', `prod/appliances/${name}`, '--yes');
  return took(back) + took(there);
}

/** The file's own address, for curl. */
async function addressOf(url) {
  const login = await fetch(`${url}/cloudapi/1.0.0/sessions`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from('admin@acme:simulated').toString('base64')}`,
      accept: 'application/json;version=36.3',
    },
  });
  const headers = {
    authorization: `Bearer ${login.headers.get('x-vmware-vcloud-access-token')}`,
    accept: 'application/*+xml;version=36.3',
  };
  const get = async (href, method = 'GET') => (await fetch(href, { method, headers })).text();
  const media = /entity="([^"]+)"/.exec(await get(`${url}/api/query?type=catalogItem`))[1];
  const enable = /rel="enable" href="([^"]+)"/.exec(await get(media));
  if (enable) await get(enable[1], 'POST');
  return /rel="download:default" href="([^"]+)"/.exec(await get(media))[1];
}

try {
  const [lab, prod] = [await simulator('lab'), await simulator('prod')];
  const login = 'org: acme, user: admin, password: simulated, catalog: appliances, concurrency: 2';
  writeFileSync(
    join(folder, 'ovaferry.yaml'),
    `dataDir: ${folder}/data\nworker: {lease: 3s}\ntargets:\n  lab: {url: "${lab}", ${login}}\n  prod: {url: "${prod}", ${login}}\n`,
  );
  const iso = join(folder, 'disk.iso');
  const file = openSync(iso, 'w');
  const block = randomFillSync(Buffer.alloc(4 * 1024 * 1024));
  block.write('\u0001CD001', 16 * 2048, 'latin1');
  for (let at = 0; at < size; at += block.length) {
    block.writeUInt32LE(at / block.length, 0);
    writeSync(file, block.subarray(0, Math.min(block.length, size - at)));
  }
  let worker = daemon(['worker']);
  await ended(await detached('enqueue', iso, '--to', 'lab'));

  const [curled, checked, fetched] = [[], [], []];
  for (let i = 0; i < Number(rounds); i += 1) {
    const address = await addressOf(lab);
    const begun = performance.now();
    await run('curl', ['-sf', '-o', join(folder, 'curled'), address]);
    curled.push(performance.now() - begun);
    await run('sync', [join(folder, 'curled')]);
    await run('sha256sum', [join(folder, 'curled')]);
    checked.push(performance.now() - begun);
    rmSync(join(folder, 'curled'));
    const out = join(folder, `out${i}`);
    const job = await ended(
      await detached('download', 'lab/appliances/disk', '-o', out, '--detach'),
    );
    fetched.push(took(job));
    rmSync(out, { recursive: true });
  }
  console.log(`curl, ${gigabytes} GB: ${listed(curled)}`);
  console.log(
    `download, hashed and synced: ${listed(fetched)}, ${(median(fetched) / median(curled)).toFixed(2)} × curl`,
  );
  console.log(
    `curl, sync, sha256sum: ${listed(checked)}; download is ${(median(fetched) / median(checked)).toFixed(2)} × that`,
  );
  console.log(`memory of the worker at most: ${peakMiB(worker.pid)} MiB`);

  const [copied, carried] = [[], []];
  for (let i = 0; i < Number(rounds); i += 1) {
    const job = await ended(
      await detached(
        'copy',
        'lab/appliances/disk',
        'prod/appliances',
        '--name',
        `disk${i}`,
        '--detach',
      ),
    );
    copied.push(took(job));
    await ovaferry('rm', `prod/appliances/disk${i}`, '--yes');
    carried.push(await byHand(`by-hand${i}`));
  }
  console.log(
    `copy between two servers: ${listed(copied)}; download and upload of the same: ${listed(carried)}; copy is ${(median(copied) / median(carried)).toFixed(2)} × that`,
  );

  const served = async () => (await (await fetch(`${lab}/_simulator/totals`)).json()).served;
  const before = await served();
  const out = join(folder, 'killed');
  const id = await detached('download', 'lab/appliances/disk', '-o', out, '--detach');
  const part = join(out, 'disk.iso.part');
  await until('half of it', () => {
    try {
      return statSync(part).size > size / 2;
    } catch {
      return false;
    }
  });
  worker.kill('SIGKILL');
  await new Promise((resolve) => worker.once('exit', resolve));
  const have = statSync(part).size;
  worker = daemon(['worker']);
  await ended(id);
  const again = (await served()) - before - size;
  console.log(
    `SIGKILL at ${Math.round((100 * have) / size)} %: ${again} bytes given out again (${((100 * again) / size).toFixed(3)} %), none of those on the disk`,
  );
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
