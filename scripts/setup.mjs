// Makes a fresh clone ready: npm packages with their native build, and a Redis or Valkey server.
// Safe to run again: it does nothing where nothing is missing. Uses nothing but Node itself.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const stamp = join(root, 'node_modules', '.ovaferry-setup');

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
    shell: process.platform === 'win32',
  });
  return error === undefined && status === 0;
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(`Node.js ${process.versions.node} is too old; 20.19 or newer is needed`);
}

/** The lock file, and the Node that the native module was built for. */
function wantedStamp() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const digest = createHash('sha256').update(lock).digest('hex');
  return `${digest} ${process.versions.modules} ${process.platform} ${process.arch}\n`;
}

function xmlLoads() {
  const { status } = spawnSync(process.execPath, ['-e', "require('libxmljs2')"], {
    cwd: root,
    stdio: 'ignore',
  });
  return status === 0;
}

function installPackages() {
  const wanted = wantedStamp();
  const found = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
  if (found === wanted && xmlLoads()) return;
  console.log('setup: installing npm packages (npm ci; builds libxmljs2, a minute or two)');
  // Without our own scripts: building ovaferry itself is for whoever called this.
  if (!run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])) {
    fail('npm ci failed, see above');
  }
  if (!xmlLoads() && !run('npm', ['rebuild', 'libxmljs2', '--loglevel=error'], { JOBS: 'max' })) {
    fail('libxmljs2 could not be built: it needs python3, make and a C++ compiler');
  }
  if (!xmlLoads()) {
    fail('libxmljs2 was built but does not load; try again after `rm -rf node_modules`');
  }
  writeFileSync(stamp, wanted);
}

function isOnPath(name) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, name)));
}

const PACKAGE_MANAGERS = [
  { name: 'apt-get', before: ['update', '-qq'], args: ['install', '-y', '-qq', 'redis-server'] },
  { name: 'dnf', args: ['install', '-y', '-q', 'valkey'] },
  { name: 'yum', args: ['install', '-y', '-q', 'redis'] },
  { name: 'apk', args: ['add', '--quiet', 'redis'] },
  { name: 'zypper', args: ['--non-interactive', 'install', 'redis'] },
  { name: 'pacman', args: ['-S', '--noconfirm', '--needed', 'valkey'] },
  { name: 'brew', args: ['install', '--quiet', 'redis'], asUser: true },
];

function installServer() {
  if (isOnPath('redis-server') || isOnPath('valkey-server')) return;
  const manager = PACKAGE_MANAGERS.find(({ name }) => isOnPath(name));
  const how = 'install redis-server or valkey-server (6.2 or newer) so that it is on PATH';
  if (!manager) fail(`no Redis server and no known package manager: please ${how}`);
  const isRoot = process.getuid?.() === 0;
  const sudo = !isRoot && !manager.asUser;
  if (sudo && (!isOnPath('sudo') || spawnSync('sudo', ['-n', 'true']).status !== 0)) {
    fail(
      `no Redis server, and installing one needs root: please ${how}, e.g.\n  sudo ${manager.name} ${manager.args.join(' ')}`,
    );
  }
  console.log(`setup: installing a Redis server (${manager.name} ${manager.args.join(' ')})`);
  // A private server is started where one is needed; Debian's own need not run for us.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const call = (args) =>
    sudo ? run('sudo', ['-n', '-E', manager.name, ...args], env) : run(manager.name, args, env);
  if (manager.before) call(manager.before);
  if (!call(manager.args) || !(isOnPath('redis-server') || isOnPath('valkey-server'))) {
    fail(`${manager.name} could not install a Redis server: please ${how}`);
  }
}

checkNode();
installPackages();
installServer();
