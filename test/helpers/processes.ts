import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process of this machine, as /proc shows it. Where there is no /proc, none is seen. */
export interface Seen {
  readonly pid: number;
  readonly command: string;
}

/** Processes that run in a folder or below, or that name it in their arguments or environment. */
export function processesOf(folder: string): Seen[] {
  return seen((pid) => {
    const { cwd, command, environment } = {
      cwd: read(() => readlinkSync(`/proc/${pid}/cwd`)),
      command: commandOf(pid),
      environment: read(() => readFileSync(`/proc/${pid}/environ`, 'utf8')),
    };
    return cwd.startsWith(folder) || command.includes(folder) || environment.includes(folder);
  });
}

export function childrenOf(parent: number): Seen[] {
  return seen((pid) => {
    const stat = read(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
    // A name may hold anything, also a parenthesis: what follows the last one are fields.
    const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(ppid) === parent && state !== 'Z';
  });
}

export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function killAll(processes: readonly Seen[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}

function seen(matches: (pid: number) => boolean): Seen[] {
  const names = read(() => readdirSync('/proc').join('\n')).split('\n');
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && matches(pid))
    .map((pid) => ({ pid, command: commandOf(pid) }));
}

const commandOf = (pid: number): string =>
  read(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');

/** Empty for what has ended meanwhile, or belongs to somebody else. */
function read(look: () => string): string {
  try {
    return look();
  } catch {
    return '';
  }
}
