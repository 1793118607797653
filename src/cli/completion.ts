import tab from '@bomb.sh/tab';
import type { Command, Option } from 'commander';
import { type Config, loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';

const SHELLS = ['bash', 'zsh', 'fish', 'powershell'];

/** Prints a shell's script, which calls `ovaferry complete` for what may come next. */
export async function completion([shell = '']: string[]): Promise<number> {
  if (!SHELLS.includes(shell)) {
    throw new FerryError(
      'USAGE',
      `there is no completion for "${shell}", but for ${SHELLS.join(', ')}`,
    );
  }
  const script = await printed(() => tab.setup('ovaferry', 'ovaferry', shell));
  process.stdout.write(shell === 'bash' ? inBash(script) : script);
  return 0;
}

/** Prints what may come next, for the words that stand there. */
export async function complete(words: string[], program: Command): Promise<number> {
  const targets = targetNames();
  for (const option of visibleOptions(program)) describe(tab, option, targets);
  for (const command of program.createHelp().visibleCommands(program)) {
    const own = tab.command(command.name(), command.description());
    for (const option of visibleOptions(command)) describe(own, option, targets);
    for (const argument of command.registeredArguments) {
      const values = valuesOf(argument.name(), targets);
      own.argument(argument.name(), (say) => sayAll(say, values), argument.variadic);
    }
  }
  const said = await printed(() => tab.parse(words));
  // Where nothing is known, files are meant: tab says that none are, whatever it was told.
  process.stdout.write(/^:\d+\s*$/.test(said) ? ':0\n' : said);
  return 0;
}

/** What tab prints: it knows no other way to tell. */
async function printed(act: () => void): Promise<string> {
  const { log } = console;
  const lines: string[] = [];
  console.log = (...words: unknown[]) => void lines.push(words.join(' '));
  try {
    act();
  } finally {
    console.log = log;
  }
  return `${lines.join('\n')}\n`;
}

/** Readable twice, with files where nothing else fits, and without the package bash-completion. */
function inBash(script: string): string {
  const own = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
_get_comp_words_by_ref() {
    cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
    words=("\${COMP_WORDS[@]}") cword=$COMP_CWORD
}
fi
`;
  return (
    own +
    script
      .replaceAll(/^readonly /gm, '')
      .replaceAll(/^(\s*)complete -F/gm, '$1complete -o default -o bashdefault -F')
  );
}

function visibleOptions(command: Command): readonly Option[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long !== undefined);
}

function describe(
  command: Pick<typeof tab, 'option'>,
  option: Option,
  targets: readonly string[],
): void {
  const name = option.long?.slice(2) ?? '';
  if (!option.required && !option.optional) {
    command.option(name, option.description);
    return;
  }
  const values = option.argChoices ?? valuesOf(name, targets);
  command.option(name, option.description, (say) => sayAll(say, values));
}

/** What an argument, or an option's value, may be. */
function valuesOf(name: string, targets: readonly string[]): readonly string[] {
  if (name === 'shell') return SHELLS;
  if (['to', 'then', 'target[/catalog]'].includes(name)) return targets;
  return name === 'target' ? targets.filter((target) => !target.includes('/')) : [];
}

function sayAll(
  say: (value: string, description: string) => void,
  values: readonly string[],
): void {
  for (const value of values) say(value, '');
}

/** Whatever is wrong with the configuration is no concern of whoever presses a key. */
function targetNames(): string[] {
  let config: Config;
  try {
    config = loadConfig();
  } catch {
    return [];
  }
  return [...config.targets.values()].flatMap(({ name, catalog }) =>
    catalog === undefined ? [name] : [name, `${name}/${catalog}`],
  );
}
