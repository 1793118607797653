import { type Command, InvalidArgumentError, Option } from 'commander';

export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number');
  return Number(text);
}

/** What `upload` and `enqueue` take. */
export function withUploadOptions(command: Command): Command {
  return command
    .argument('[source...]', 'an .ova, an .ovf, a folder holding one, an .iso; or a glob')
    .option('--to <target[/catalog]>', 'where to; may be said several times', collect)
    .option('--manifest <file>', 'a list of uploads, YAML or CSV', collect)
    .option('--name <name>', 'name in the catalog (one source only)')
    .option('--description <text>', 'description in the catalog')
    .option('--media', 'upload any file as a media image')
    .option('--batch <name>', 'group these uploads under a name')
    .option('--pool <name>', 'only workers of this pool can see the sources')
    .option('--priority <n>', '1 goes first (default: 1000)', wholeNumber)
    .addOption(
      new Option('--order <which>', 'which of them goes first').choices([
        'listed',
        'smallest',
        'largest',
      ]),
    )
    .option('--deadline <time>', 'when they should have arrived; status says which will be late')
    .addOption(
      new Option(
        '--verify <how>',
        "check every digest of the package's manifest; `server` lets vCD check every file, too",
      )
        .choices(['full', 'off', 'server'])
        .default('full'),
    )
    .addOption(
      new Option('--if-exists <what>', 'what to do when the name is taken')
        .choices(['fail', 'skip', 'replace'])
        .default('fail'),
    )
    .option('--keep-failed', 'leave on the server what failed, so that retry goes on with it')
    .option('--storage-profile <name>', 'storage profile that holds the item')
    .option('--lease <time>', 'how long vCD keeps the template: never, or a time like 30d')
    .option(
      '--metadata <key=value>',
      'a note on the item; key:number=1, :boolean, :datetime',
      collect,
    )
    .option('--server-pull <url>', 'let the server fetch this .ovf by itself, in place of a source')
    .option('--start-at <time>', 'not before this time (ISO 8601)')
    .option('--again', 'also what was uploaded already')
    .option(
      '--dry-run',
      'open every package and ask the target; say what would happen, do nothing',
    );
}
