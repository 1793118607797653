// A weekend in minutes: hundreds of images for three clouds over one line that is far away and breaks
// now and then, with few imports at once. Prints how busy the line was; never fails.
//
//   npm run bench:weekend [-- IMAGES]
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'ovaferry.js');
const IMAGES = Number(process.argv[2] ?? 400);
const TARGETS = ['one', 'two', 'three'];
const LINE_MB_S = 20;
const DELAY_MS = 40;
/** A connection is cut about so often. */
const CUT_EVERY_MS = 4_000;
const WORKERS = 2;

const folder = mkdtempSync(join(tmpdir(), 'ovaferry-weekend-'));
const children = [];

function start(...args) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  return child;
}

async function output(...args) {
  const child = start(...args);
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  return text;
}

/** Passes bytes on after a while. */
function delayed(from, to) {
  let last = Promise.resolve();
  from.on('data', (chunk) => {
    from.pause();
    last = last
      .then(() => sleep(0))
      .then(() => {
        setTimeout(() => to.write(chunk), DELAY_MS);
        from.resume();
      });
  });
  from.on('close', () => setTimeout(() => to.destroy(), DELAY_MS));
  from.on('error', () => to.destroy());
}

let cuts = 0;
function farAway(port) {
  const open = new Set();
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    delayed(client, server);
    delayed(server, client);
    open.add(client);
    client.on('close', () => open.delete(client));
  });
  const timer = setInterval(() => {
    const [some] = [...open].sort(() => Math.random() - 0.5);
    if (!some) return;
    cuts += 1;
    some.destroy();
  }, CUT_EVERY_MS);
  timer.unref();
  return new Promise((resolve) => {
    proxy.listen(0, '127.0.0.1', () => resolve(proxy.address().port));
  });
}

try {
  let targets = '';
  const servers = [];
  for (const name of TARGETS) {
    const options = ['--import-time', '1s', '--import-slots', '4', '--transfer-idle', '30s'];
    const child = start('simulate', ...options);
    const [line] = String(await new Promise((resolve) => child.stdout.once('data', resolve))).split(
      '\n',
    );
    const { url, org, user, password, catalog } = JSON.parse(line);
    servers.push(url);
    const port = await farAway(Number(new URL(url).port));
    targets += `  ${name}: {url: "http://127.0.0.1:${port}", org: ${org}, user: ${user}, password: "${password}", catalog: ${catalog}, inFlight: 200MB}\n`;
  }
  writeFileSync(
    join(folder, 'ovaferry.yaml'),
    `dataDir: ${folder}/data\nlines: {dc1: ${LINE_MB_S}MB/s}\nworker: {line: dc1}\ntargets:\n${targets}`,
  );
  let total = 0;
  for (let i = 0; i < IMAGES; i += 1) {
    const size = 2_000_000 + Math.floor(Math.random() ** 2 * 18_000_000);
    total += size;
    const bytes = Buffer.alloc(size, i);
    bytes.write('\u0001CD001', 16 * 2048, 'latin1');
    writeFileSync(join(folder, `${i}.iso`), bytes);
  }
  for (const [i, name] of TARGETS.entries()) {
    const own = Array.from({ length: IMAGES }, (_one, n) => n).filter(
      (n) => n % TARGETS.length === i,
    );
    await output('enqueue', ...own.map((n) => `${n}.iso`), '--to', name, '--batch', 'weekend');
  }
  const began = Date.now();
  for (let i = 0; i < WORKERS; i += 1) start('worker');
  let state;
  do {
    await sleep(2_000);
    state = JSON.parse(await output('status', '--batch', 'weekend', '--summary', '--json'));
    const { counts, bytesArrived, expectedAt } = state;
    const left = expectedAt
      ? `${Math.round((Date.parse(expectedAt) - Date.now()) / 1_000)} s`
      : '?';
    process.stderr.write(
      `\r${Math.round((Date.now() - began) / 1_000)} s: ${counts.completed} done, ${Math.round(bytesArrived / 1e6)} MB, ${left} left   `,
    );
  } while (state.endedAt === null);
  const items = [];
  for (const url of servers) items.push(...(await (await fetch(`${url}/_simulator/items`)).json()));
  const ranges = items.flatMap(({ files }) => files.flatMap((file) => file.ranges));
  const arrived = ranges.reduce((sum, range) => sum + range.arrived, 0);
  const stored = ranges.reduce((sum, range) => sum + range.stored, 0);
  const last = Math.max(
    ...items.flatMap(({ files }) => files.map((file) => file.completedAt ?? 0)),
  );
  const seconds = (last - began) / 1_000;
  console.log(
    `\n${IMAGES} images, ${Math.round(total / 1e6)} MB, ${TARGETS.length} targets, ${WORKERS} workers`,
  );
  console.log(
    `line     ${LINE_MB_S} MB/s, ${2 * DELAY_MS} ms there and back, ${cuts} connections cut`,
  );
  console.log(
    `ended    ${state.counts.completed} completed, ${state.counts.failed} failed, ${items.length} items`,
  );
  console.log(`took     ${seconds.toFixed(1)} s to the last byte`);
  console.log(
    `busy     ${((100 * arrived) / (LINE_MB_S * 1e6) / seconds).toFixed(1)} % of the line`,
  );
  console.log(`again    ${arrived - stored} bytes arrived that were there already`);
} finally {
  for (const child of children) child.kill('SIGKILL');
  await sleep(1_000); // the private Redis ends with its last user
  rmSync(folder, { recursive: true, force: true });
}
