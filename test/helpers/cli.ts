import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobView } from '../../src/jobs/job-view.ts';

/** What users run: `npm test` has built it. */
const MAIN = join(import.meta.dirname, '..', '..', '..', 'dist', 'ovaferry.js');

/** A command that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs, as a process of its own. */
export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

export function start(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Running {
  return startAs([process.execPath, MAIN, ...args], cwd, env);
}

/** The same with no more file descriptors than so many. */
export function startWithin(descriptors: number, args: readonly string[], cwd: string): Running {
  const limited = `ulimit -n ${descriptors}; exec "$@"`;
  return startAs(['sh', '-c', limited, 'sh', process.execPath, MAIN, ...args], cwd);
}

function startAs(
  [command = '', ...args]: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Running {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env['PATH'], HOME: cwd, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => resolve({ code, ...output }));
  });
  return { child, pid: child.pid ?? 0, output, ended, kill: (signal) => void child.kill(signal) };
}

export function run(
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return start(args, cwd, env).ended;
}

/** Runs a command with --json and returns what it printed. */
export async function json<T = JobView[]>(args: readonly string[], cwd: string): Promise<T> {
  const { stdout, stderr } = await run([...args, '--json'], cwd);
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`no JSON from ${args.join(' ')}: ${stdout}${stderr}`);
  }
}

/** Waits for something to be seen; fails loudly rather than hang, after longer than a loaded machine takes. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs = 90_000, everyMs = 25 } = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`never seen: ${what}`);
    await sleep(everyMs);
  }
}

export interface WorkplaceOptions {
  readonly url: string;
  readonly redis?: string;
  readonly password?: string;
  readonly lease?: string;
  /** More of the target. */
  readonly more?: string;
  /** More of the worker. */
  readonly tail?: string;
}

/** Writes a configuration into a folder from which commands are run. */
export async function configure(folder: string, options: WorkplaceOptions): Promise<void> {
  const { url, redis, password = 'simulated', lease = '3s', more = '', tail = '' } = options;
  await writeFile(
    join(folder, 'ovaferry.yaml'),
    `${redis === undefined ? `dataDir: ${join(folder, 'data')}` : `redis: ${redis}`}
targets:
  lab:
    url: ${url}
    org: acme
    user: admin
    password: ${password}
    catalog: appliances
${more}
worker:
  lease: ${lease}
${tail}`,
  );
}
