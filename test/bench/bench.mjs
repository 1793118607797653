// Speed and memory, as ratios to a peer in the same run. Prints, never fails.
//   npm run bench                everything, about ten minutes
//   npm run bench -- http memory only these
import { execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import tar from 'tar-stream';

const root = join(import.meta.dirname, '..', '..');
const main = join(root, 'dist', 'ovaferry.js');
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-bench-'));
const children = new Set();
const GB = 1e9;
const ROUNDS = 5;

const say = (line = '') => console.log(line);

function build() {
  const { status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(1);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const spread = (values, digits = 2) =>
  `median ${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}, ${values.length} rounds)`;

// ---- packages ----------------------------------------------------------------------------------

/** The first bytes of an OVA: descriptor, manifest if a digest is given, and the disk's header. */
async function headOf(size, digest) {
  const descriptor = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:id="f" ovf:href="disk.vmdk" ovf:size="${size}"/></References>
  <DiskSection><Info>Disk</Info><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="1"/></DiskSection>
  <VirtualSystem ovf:id="vm"><Info>A machine</Info><VirtualHardwareSection><Info>Hardware</Info></VirtualHardwareSection></VirtualSystem>
</Envelope>`);
  const pack = tar.pack();
  const chunks = [];
  pack.on('data', (chunk) => chunks.push(chunk));
  pack.entry({ name: 'b.ovf' }, descriptor);
  if (digest) {
    const own = createHash('sha256').update(descriptor).digest('hex');
    pack.entry({ name: 'b.mf' }, `SHA256(b.ovf)= ${own}\nSHA256(disk.vmdk)= ${digest}\n`);
  }
  pack.entry({ name: 'disk.vmdk', size });
  await sleep(20);
  pack.destroy();
  return Buffer.concat(chunks);
}

/** A disk of random bytes, and OVAs that hold it with and without a manifest. */
async function makeDisk(size) {
  const disk = join(folder, 'disk.raw');
  const block = randomFillSync(Buffer.alloc(4 * 1024 * 1024));
  const hash = createHash('sha256');
  const files = [
    openSync(disk, 'w'),
    openSync(join(folder, 'plain.ova'), 'w'),
    openSync(join(folder, 'full.ova'), 'w'),
  ];
  const write = (visit) => {
    for (let at = 0; at < size; at += block.length) {
      block.writeUInt32LE(at / block.length, 0);
      visit(block.subarray(0, Math.min(block.length, size - at)));
    }
  };
  write((bytes) => hash.update(bytes));
  writeSync(files[1], await headOf(size));
  writeSync(files[2], await headOf(size, hash.digest('hex')));
  write((bytes) => {
    for (const file of files) writeSync(file, bytes);
  });
  for (const file of files.slice(1)) writeSync(file, Buffer.alloc(512 - (size % 512) + 1024));
  for (const file of files) closeSync(file);
  return disk;
}

/** An OVA whose disk is a hole: its size costs nothing. */
async function makeSparse(path, size, digest) {
  const head = await headOf(size, digest);
  writeFileSync(path, head);
  truncateSync(path, head.length + Math.ceil(size / 512) * 512 + 1024);
}

function digestOfZeros(size) {
  const block = Buffer.alloc(4 * 1024 * 1024);
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += block.length)
    hash.update(block.subarray(0, Math.min(block.length, size - at)));
  return hash.digest('hex');
}

// ---- processes ---------------------------------------------------------------------------------

async function startSimulator(args) {
  const child = spawn(process.execPath, [main, 'simulate', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  while (!text.includes('\n')) await sleep(20);
  return { ...JSON.parse(text), child };
}

function configure(simulators, lease = '30s') {
  const targets = Object.entries(simulators).map(
    ([name, { url, org, user, password, catalog }]) =>
      `  ${name}: { url: "${url}", org: ${org}, user: ${user}, password: ${password}, catalog: ${catalog}, insecure: ${url.startsWith('https')} }`,
  );
  const file = join(folder, 'ovaferry.yaml');
  writeFileSync(
    file,
    `dataDir: ${join(folder, 'data')}\ntargets:\n${targets.join('\n')}\nworker: { lease: ${lease} }\n`,
  );
  return file;
}

async function startWorker(config) {
  const child = fork(join(import.meta.dirname, 'worker.mjs'), [config], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  children.add(child);
  await new Promise((resolve) => child.once('message', resolve));
  return child;
}

async function stop(child) {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  children.delete(child);
}

async function maxDelayMs(worker) {
  worker.send('delay');
  return (await new Promise((resolve) => worker.once('message', resolve))).maxDelayMs;
}

/** Resident memory of a process and its children, bytes, at its highest while `during` runs. */
async function peakRss(pid, during) {
  let peak = 0;
  let running = true;
  const sampling = (async () => {
    while (running) {
      peak = Math.max(
        peak,
        treeOf(pid).reduce((sum, one) => sum + rssOf(one), 0),
      );
      await sleep(15);
    }
  })();
  await during();
  running = false;
  await sampling;
  return peak;
}

function treeOf(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {} // it has just ended
  }
  const found = [pid];
  for (const one of found)
    for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found;
}

function rssOf(pid) {
  try {
    return (
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
    );
  } catch {
    return 0;
  }
}

// ---- one upload --------------------------------------------------------------------------------

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // for our own look at the https simulator

const itemsOf = async ({ url }) => (await fetch(`${url}/_simulator/items`)).json();

let names = 0;

/** From the call of enqueue to the last byte stored at the server, milliseconds. */
async function ferry(queue, target, simulator, source, verify) {
  const name = `bench${names++}`;
  const startedAt = Date.now();
  await queue.enqueue([{ source, to: target, name, verify }]);
  return (await untilComplete(simulator, name)) - startedAt;
}

async function untilComplete(simulator, name) {
  for (;;) {
    await sleep(100);
    const item = (await itemsOf(simulator)).find((one) => one.name === name);
    const last = item?.files.at(-1);
    if (last && last.name !== 'descriptor.ovf' && last.completedAt !== null)
      return last.completedAt;
  }
}

/** The same for curl -T: a media item is made for it, then the clock starts. */
async function curl(simulator, disk, size, beside = []) {
  const name = `curl${names++}`;
  const href = await makeMedia(simulator, name, size);
  const args = ['-s', '-k', '-T', disk, href];
  const startedAt = Date.now();
  const others = beside.map(([command, ...rest]) => spawn(command, rest, { stdio: 'ignore' }));
  const ends = [spawn('curl', args, { stdio: 'ignore' }), ...others].map(
    (child) => new Promise((resolve) => child.once('exit', () => resolve(Date.now()))),
  );
  const [, ...besides] = await Promise.all(ends);
  return Math.max(await untilComplete(simulator, name), ...besides) - startedAt;
}

async function makeMedia({ url, org, user, password }, name, size) {
  const version = 'version=37.0';
  const login = await fetch(`${url}/cloudapi/1.0.0/sessions`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa(`${user}@${org}:${password}`)}`,
      accept: `application/json;${version}`,
    },
  });
  const headers = {
    authorization: `Bearer ${login.headers.get('x-vmware-vcloud-access-token')}`,
    accept: `application/*+xml;${version}`,
  };
  const get = async (href) => (await fetch(href, { headers })).text();
  const records = await get(`${url}/api/query?type=catalog&format=records&filter=name==appliances`);
  const catalog = /CatalogRecord [^>]*href="([^"]*)"/.exec(records)[1];
  const made = await fetch(`${catalog}/action/upload`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/vnd.vmware.vcloud.media+xml' },
    body: `<Media xmlns="http://www.vmware.com/vcloud/v1.5" name="${name}" size="${size}" imageType="iso"/>`,
  });
  const entity = /<Entity href="([^"]*)"/.exec(await made.text())[1];
  return /upload:default" href="([^"]*)"/.exec(await get(entity))[1];
}

// ---- the measurements --------------------------------------------------------------------------

async function compare(
  title,
  aim,
  { queue, target, simulator, source, verify, disk, beside = [] },
) {
  const ratios = [];
  const own = [];
  const peers = [];
  await ferry(queue, target, simulator, source, verify); // warm: login, catalog, page cache
  for (let i = 0; i < ROUNDS; i += 1) {
    const peer = await curl(simulator, disk, GB, beside);
    const mine = await ferry(queue, target, simulator, source, verify);
    own.push(mine / 1000);
    peers.push(peer / 1000);
    ratios.push(mine / peer);
  }
  const commands = [
    'curl -s -k -T disk.raw URL',
    ...beside.map((command) => command.join(' ')),
  ].join(' & ');
  say(`${title}\n  peer: ${commands.replaceAll(`${folder}/`, '')}`);
  say(`  time ÷ peer's: ${spread(ratios)}; aim ${aim}`);
  say(`  ovaferry ${spread(own)} s, peer ${spread(peers)} s`);
}

const queueOf = async (config) => (await import('../../dist/index.js')).createFerry({ config });

function certificate() {
  const args =
    'req -x509 -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem';
  execFileSync('openssl', args.split(' '), { cwd: folder, stdio: 'ignore' });
  return ['--tls-cert', join(folder, 'cert.pem'), '--tls-key', join(folder, 'key.pem')];
}

async function speed(wanted) {
  const disk = await makeDisk(GB);
  const simulators = {
    http: await startSimulator([]),
    https: await startSimulator(certificate()),
    line: await startSimulator(['--rate', '100MB/s']),
  };
  const config = configure(simulators);
  const queue = await queueOf(config);
  const worker = await startWorker(config);
  const common = { queue, disk };
  const plain = join(folder, 'plain.ova');
  const full = join(folder, 'full.ova');
  if (wanted('http')) {
    await compare('1 GB over http, --verify off', 'at most 1.10', {
      ...common,
      target: 'http',
      simulator: simulators.http,
      source: plain,
      verify: 'off',
    });
  }
  if (wanted('https')) {
    await compare('1 GB over https, --verify off', 'at most 1.20', {
      ...common,
      target: 'https',
      simulator: simulators.https,
      source: plain,
      verify: 'off',
    });
  }
  if (wanted('verify')) {
    // openssl uses the processor's own SHA instructions, which coreutils' sha256sum may not.
    const beside = [['openssl', 'dgst', '-sha256', disk]];
    await compare('1 GB over http, --verify full', 'at most 1.15', {
      ...common,
      target: 'http',
      simulator: simulators.http,
      source: full,
      verify: 'full',
      beside,
    });
  }
  if (wanted('line')) {
    worker.send('reset');
    await compare('1 GB over a line of 100 MB/s, --verify full', 'at most 1.02', {
      ...common,
      target: 'line',
      simulator: simulators.line,
      source: full,
      verify: 'full',
    });
    say(`  event loop blocked for at most ${(await maxDelayMs(worker)).toFixed(0)} ms; aim 50`);
  }
  await queue.close();
  await stop(worker);
  for (const { child } of Object.values(simulators)) await stop(child);
}

async function memory() {
  const simulator = await startSimulator([]);
  const config = configure({ lab: simulator });
  const queue = await queueOf(config);
  const peaks = [];
  for (const [label, size] of [
    ['1 GB', GB],
    ['10 GB, sparse', 10 * GB],
  ]) {
    const source = join(folder, 'sparse.ova');
    await makeSparse(source, size, digestOfZeros(size));
    const worker = await startWorker(config);
    peaks.push([
      label,
      await peakRss(worker.pid, () => ferry(queue, 'lab', simulator, source, 'full')),
    ]);
    await stop(worker);
  }
  say(
    'peak resident memory of a worker with its children, --verify full; aim 150 MB, at most 200 MB',
  );
  for (const [label, peak] of peaks) say(`  ${label}: ${(peak / 1e6).toFixed(0)} MB`);
  await queue.close();
  await stop(simulator.child);
}

async function index() {
  const path = join(folder, 'huge.ova');
  await makeSparse(path, 20 * GB);
  const { LocalFile } = await import('../../dist/source/local-file.js');
  const { indexArchive } = await import('../../dist/ovf/archive.js');
  const file = await LocalFile.open(path);
  const times = [];
  let read = 0;
  for (let i = 0; i < 9; i += 1) {
    read = 0;
    const counting = {
      name: file.name,
      size: file.size,
      read(target, position) {
        read += target.length;
        return file.read(target, position);
      },
    };
    const startedAt = performance.now();
    await indexArchive(counting);
    times.push(performance.now() - startedAt);
  }
  await file.close();
  say(`index of a 20 GB OVA: ${read} bytes read, ${spread(times, 1)} ms; aim 65536 bytes, 50 ms`);
}

const asked = process.argv.slice(2);
const wanted = (name) => asked.length === 0 || asked.includes(name);
build();
try {
  if (wanted('index')) await index();
  if (['http', 'https', 'verify', 'line'].some(wanted)) await speed(wanted);
  if (wanted('memory')) await memory();
} finally {
  for (const child of children) child.kill('SIGKILL');
  await sleep(5_000); // the private Redis stops once nobody uses it
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
