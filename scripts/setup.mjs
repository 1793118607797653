// Makes a fresh clone ready: npm packages with their native build, and a Redis or Valkey server; with
// --browser also the Chromium that the dashboard is tested in; with --packages the npm packages alone,
// with which everything can be built already.
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
  if (found === wanted) return;
  console.log('setup: installing npm packages (npm ci)');
  // Without our own scripts: building ovaferry itself is for whoever called this.
  if (!run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])) {
    fail('npm ci failed, see above');
  }
  writeFileSync(stamp, wanted);
}

/** The one of them that is no JavaScript. */
function buildXml() {
  if (xmlLoads()) return;
  console.log('setup: building libxmljs2 (npm rebuild; a minute or two)');
  installBuildTools();
  if (!run('npm', ['rebuild', 'libxmljs2', '--loglevel=error'], { JOBS: 'max' })) {
    fail('libxmljs2 could not be built: it needs python3, make and a C++ compiler');
  }
  if (!xmlLoads()) {
    fail('libxmljs2 was built but does not load; try again after `rm -rf node_modules`');
  }
}

function isOnPath(name) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, name)));
}

/** How each system's own package manager installs what is missing. */
const PACKAGE_MANAGERS = [
  {
    name: 'apt-get',
    before: ['update', '-qq'],
    install: ['install', '-y', '-qq'],
    server: ['redis-server'],
    tools: ['python3', 'make', 'g++'],
    browser: ['chromium'],
  },
  {
    name: 'dnf',
    install: ['install', '-y', '-q'],
    server: ['valkey'],
    tools: ['python3', 'make', 'gcc-c++'],
    browser: ['chromium'],
  },
  {
    name: 'yum',
    install: ['install', '-y', '-q'],
    server: ['redis'],
    tools: ['python3', 'make', 'gcc-c++'],
    browser: ['chromium'],
  },
  {
    name: 'apk',
    install: ['add', '--quiet'],
    server: ['redis'],
    tools: ['python3', 'make', 'g++'],
    browser: ['chromium'],
  },
  {
    name: 'zypper',
    install: ['--non-interactive', 'install'],
    server: ['redis'],
    tools: ['python3', 'make', 'gcc-c++'],
    browser: ['chromium'],
  },
  {
    name: 'pacman',
    install: ['-S', '--noconfirm', '--needed'],
    server: ['valkey'],
    tools: ['python', 'make', 'gcc'],
    browser: ['chromium'],
  },
  {
    name: 'brew',
    install: ['install', '--quiet'],
    server: ['redis'],
    tools: ['python3', 'make', 'gcc'],
    browser: ['--cask', 'chromium'],
    asUser: true,
  },
];

/** Installs system packages, saying so first; fails with `how` where that is not possible. */
function installSystem(what, kind, how) {
  const manager = PACKAGE_MANAGERS.find(({ name }) => isOnPath(name));
  if (!manager) fail(`no ${what}, and no known package manager: please ${how}`);
  const args = [...manager.install, ...manager[kind]];
  const sudo = process.getuid?.() !== 0 && !manager.asUser;
  if (sudo && (!isOnPath('sudo') || spawnSync('sudo', ['-n', 'true']).status !== 0)) {
    fail(
      `no ${what}, and installing needs root: please ${how}, e.g.\n  sudo ${manager.name} ${args.join(' ')}`,
    );
  }
  console.log(`setup: installing ${what} (${manager.name} ${args.join(' ')})`);
  // A private server is started where one is needed; the system's own need not run for us.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const call = (some) =>
    sudo ? run('sudo', ['-n', '-E', manager.name, ...some], env) : run(manager.name, some, env);
  if (manager.before) call(manager.before);
  if (!call(args)) fail(`${manager.name} could not install ${what}: please ${how}`);
}

function installServer() {
  const isThere = () => isOnPath('redis-server') || isOnPath('valkey-server');
  if (isThere()) return;
  const how = 'install redis-server or valkey-server (6.2 or newer) so that it is on PATH';
  installSystem('a Redis server', 'server', how);
  if (!isThere()) fail(`there still is no Redis server on PATH: please ${how}`);
}

/** What building libxmljs2 takes. */
function installBuildTools() {
  const compiler = isOnPath('g++') || isOnPath('c++') || isOnPath('clang++');
  if (compiler && isOnPath('make') && isOnPath('python3')) return;
  installSystem('build tools', 'tools', 'install python3, make and a C++ compiler');
}

/** A browser for the tests of the dashboard; any that is built on Chromium does. */
function installBrowser() {
  const isThere = () =>
    ['chromium', 'chromium-browser', 'google-chrome'].some(isOnPath) || process.env.CHROMIUM_PATH;
  if (isThere()) return;
  const how = 'install Chromium so that it is on PATH, or name it in CHROMIUM_PATH';
  installSystem('Chromium', 'browser', how);
  if (!isThere()) fail(`there still is no Chromium on PATH: please ${how}`);
}

checkNode();
installPackages();
if (process.argv.includes('--packages')) process.exit();
buildXml();
installServer();
if (process.argv.includes('--browser')) installBrowser();
