// Shows the promise in half a minute: an OVA goes through a real queue and a real worker into a
// simulated vCD, the worker is killed half way, another one goes on, and nothing is sent twice.
//   npm run demo [-- path/to/some.ova]
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist', 'ovaferry.js');
const folder = mkdtempSync(join(tmpdir(), 'ovaferry-demo-'));
const children = new Set();

const say = (line = '') => console.log(line);
const MB = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function build() {
  const { status } = spawnSync(process.execPath, ['scripts/build.mjs'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error('the build failed');
}

/** Starts a command; its first lines can be waited for. */
function start(args) {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder });
  children.add(child);
  const output = { text: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output.text += chunk;
    });
  }
  const ended = new Promise((done) => child.once('close', done)).then(() => children.delete(child));
  return { child, output, ended };
}

function json(args) {
  const { stdout, stderr } = spawnSync(process.execPath, [main, ...args, '--json'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const value = JSON.parse(stdout || 'null');
  if (!value || value.error) throw new Error(value?.error?.message ?? stderr);
  return value;
}

async function until(what, look, timeoutMs = 600_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what} was never seen`);
    await sleep(50);
  }
}

/** A package as a virtualisation tool makes it: descriptor, manifest, two disks. */
async function makeOva(path) {
  const tar = (await import('tar-stream')).default;
  const sizes = [96, 48].map((mib) => mib * 1024 * 1024 + 7);
  const disks = sizes.map((size, i) => ({
    name: `demo-disk${i + 1}.vmdk`,
    bytes: randomFillSync(Buffer.alloc(size)),
  }));
  const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const files = disks.map(
    ({ name, bytes }, i) =>
      `<File ovf:id="file${i}" ovf:href="${name}" ovf:size="${bytes.length}"/>`,
  );
  const used = disks.map(
    (_, i) => `<Disk ovf:diskId="disk${i}" ovf:fileRef="file${i}" ovf:capacity="1073741824"/>`,
  );
  const descriptor = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>${files.join('')}</References>
  <DiskSection><Info>Disks</Info>${used.join('')}</DiskSection>
  <VirtualSystem ovf:id="demo"><Info>A machine</Info></VirtualSystem>
</Envelope>
`);
  const covered = [{ name: 'demo.ovf', bytes: descriptor }, ...disks];
  const manifest = covered.map(({ name, bytes }) => `SHA256(${name})= ${sha256(bytes)}\n`).join('');
  const pack = tar.pack();
  const file = createWriteStream(path);
  pack.pipe(file);
  pack.entry({ name: 'demo.ovf' }, descriptor);
  pack.entry({ name: 'demo.mf' }, manifest);
  for (const { name, bytes } of disks) pack.entry({ name }, bytes);
  pack.finalize();
  await finished(file);
}

/** SHA-256 of each file of a package, read the way an upload reads it. */
async function sourceDigests(path) {
  const { locateImage, openImage } = await import(join(root, 'dist/ovf/image.js'));
  const image = await openImage(await locateImage(path), { verify: 'full' });
  const digests = new Map();
  const block = Buffer.alloc(4 * 1024 * 1024);
  for (const { href, size, source } of image.files) {
    const hash = createHash('sha256');
    for (let at = 0; at < size; at += block.length) {
      const bytes = block.subarray(0, Math.min(block.length, size - at));
      await source.read(bytes, at);
      hash.update(bytes);
    }
    digests.set(href, hash.digest('hex'));
  }
  await image.close();
  return { digests, total: image.files.reduce((sum, { size }) => sum + size, 0) };
}

async function demo(given) {
  build();
  const source = given ? resolve(given) : join(folder, 'demo.ova');
  if (!given) await makeOva(source);
  const { digests, total } = await sourceDigests(source);
  say(`source     ${source}, ${MB(total)} in ${digests.size} files`);

  // Slow enough that there is a half way.
  const rate = Math.max(20_000, Math.round(total / 8));
  const args = ['simulate', '--rate', `${Math.ceil(rate / 1000)}kB/s`, '--import-time', '500ms'];
  const simulator = start(args);
  const up = await until(
    'the simulator',
    () => simulator.output.text.includes('\n') && simulator.output.text,
  );
  const { url, org, user, password, catalog } = JSON.parse(up);
  say(`simulator  ${url}, organisation ${org}, catalog ${catalog}, ${MB(rate)}/s`);
  writeFileSync(
    join(folder, 'ovaferry.yaml'),
    `dataDir: ${join(folder, 'data')}
targets:
  lab: { url: "${url}", org: ${org}, user: ${user}, password: ${password}, catalog: ${catalog} }
worker: { lease: 4s }
`,
  );
  const worker = async (name) => {
    const running = start(['worker']);
    await until(`worker ${name}`, () => running.output.text.includes('worker is up'));
    say(`worker ${name}   process ${running.child.pid} is up`);
    return running;
  };
  const items = async () => (await fetch(`${url}/_simulator/items`)).json();
  const received = async () =>
    (await items())[0]?.files.slice(1).reduce((sum, file) => sum + file.received, 0) ?? 0;

  const first = await worker('A');
  const [{ id }] = json(['enqueue', source, '--to', 'lab', '--name', 'demo']);
  say(`enqueued   ${id}, through a private Redis in ${join(folder, 'data')}`);
  await until('half of the upload', async () => (await received()) >= total / 2);
  await worker('B');
  first.child.kill('SIGKILL');
  await first.ended;
  const killedAt = Date.now();
  await sleep(300);
  const had = await received();
  say(`killed     process ${first.child.pid} (worker A) with SIGKILL; the server has ${MB(had)}`);
  await until(
    'the other worker',
    async () => (await received()) > had || (await items())[0]?.status > 0,
  );
  say(
    `resumed    by worker B ${((Date.now() - killedAt) / 1000).toFixed(1)} s later, with a lease of 4 s`,
  );
  const job = await until('the end', () => {
    const [now] = json(['status', id]);
    return now.state === 'completed' || now.state === 'failed' ? now : undefined;
  });
  if (job.state === 'failed') throw new Error(job.error.message);
  return report(await items(), digests);
}

function report(items, digests) {
  const ready = items.filter(({ status }) => status === 8);
  say(`finished   ${ready.length} item in the catalog, status ${items[0]?.status}\n`);
  let again = 0;
  let equal = items.length === 1 && ready.length === 1;
  for (const { name, sha256, ranges } of items[0]?.files ?? []) {
    if (!digests.has(name)) continue; // the descriptor
    say(name);
    for (const { start, end, arrived, stored } of ranges) {
      const cut = arrived < end - start ? `, cut off after ${arrived} bytes` : '';
      again += arrived - stored;
      say(`  sent     bytes ${start}-${end - 1}${cut}`);
    }
    const same = digests.get(name) === sha256;
    equal &&= same;
    say(`  source   ${digests.get(name)}`);
    say(`  server   ${sha256}  ${same ? 'the same' : 'DIFFERENT'}`);
  }
  say(`\nsent again ${again} bytes`);
  say(equal ? 'Whole, once, as promised.' : 'Source and server differ.');
  return equal ? 0 : 1;
}

let status = 1;
try {
  status = await demo(process.argv[2]);
} catch (error) {
  console.error(`demo: ${error.message}`);
} finally {
  for (const child of children) child.kill('SIGTERM');
  await sleep(800);
  for (const child of children) child.kill('SIGKILL');
  // The private Redis stops by itself once nobody uses it; its folder goes then.
  await sleep(4_500);
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status);
