import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf, killAll, processesOf, type Seen } from './processes.ts';

/**
 * One folder for everything that a file of tests makes, and a reaper beside it: a process that sees
 * this one end, however it ends, and then kills what still runs in that folder and removes it.
 */
interface Sandbox {
  readonly root: string;
  readonly reaper: ChildProcess;
}

let own: Sandbox | undefined;

/** The folder below which all others of this file of tests lie. */
export function sandbox(): string {
  own ??= open();
  return own.root;
}

function open(): Sandbox {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'ovaferry-test-'));
  const args = [join(import.meta.dirname, 'reaper.js'), root, String(process.ppid)];
  const reaper = spawn(process.execPath, args, {
    detached: true, // a terminal interrupts this process's group as a whole
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  reaper.unref();
  (reaper.stdin as unknown as { unref(): void }).unref();
  return { root, reaper };
}

/** What a file of tests has left behind. */
export interface Leftovers {
  readonly processes: readonly Seen[];
  readonly files: readonly string[];
}

const closers: (() => Promise<unknown>)[] = [];

/** What a whole file of tests uses is closed by this, before it is looked at what is left. */
export function atEnd(close: () => Promise<unknown>): void {
  closers.push(close);
}

/** How long what is ending may take: a private Redis stops three seconds after its last user. */
const ENDING_MS = 10_000;

/**
 * Closes the sandbox, if one was opened, and says what was still in it, which is then removed.
 *
 * @param before the children of this process that were there before the tests
 */
export async function closeSandbox(before: ReadonlySet<number>): Promise<Leftovers> {
  for (const close of closers.splice(0).reverse()) await close();
  const { root, reaper } = own ?? {};
  own = undefined;
  const look = (): Seen[] => {
    const children = childrenOf(process.pid).filter(({ pid }) => !before.has(pid));
    const all = [...children, ...(root === undefined ? [] : processesOf(root))];
    return all.filter(({ pid }, i) => all.findIndex((one) => one.pid === pid) === i);
  };
  const isOwn = ({ pid }: Seen): boolean => pid !== reaper?.pid;
  const deadline = Date.now() + ENDING_MS;
  let processes = look().filter(isOwn);
  while (processes.length > 0 && Date.now() < deadline) {
    await sleep(50);
    processes = look().filter(isOwn);
  }
  killAll(processes);
  const files = root === undefined ? [] : readdirSync(root);
  if (root !== undefined) rmSync(root, { recursive: true, force: true });
  reaper?.stdin?.end();
  return { processes, files };
}
