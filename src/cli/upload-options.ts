import { type Command, InvalidArgumentError, Option } from 'commander';

export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number');
  return Number(text);
}

/** What `download` takes. */
export function withDownloadOptions(command: Command): Command {
  return withWaitingOptions(
    command
      .argument('<target/catalog/item...>', 'what is to be fetched; the item may be a glob')
      .option('-o, --output <folder>', 'where to (default: the working folder)')
      .option('--ova', 'a package as one archive, in place of a folder of files')
      .option('--batch <name>', 'group these downloads under a name')
      .option('--pool <name>', 'only workers of this pool can write to the folder')
      .addOption(
        new Option('--if-exists <what>', 'what to do when there is something of that name')
          .choices(['fail', 'skip', 'replace'])
          .default('fail'),
      )
      .option('--keep-failed', 'leave what arrived of what failed, so that retry goes on with it')
      .option('--again', 'also what was fetched already'),
  );
}

/** What `copy` takes. */
export function withCopyOptions(command: Command): Command {
  return withWaitingOptions(
    command
      .argument('<item...>', 'TARGET/CATALOG/ITEM, or a glob; then TARGET[/CATALOG], where to')
      .option('--all', 'all items of the catalogs TARGET/CATALOG; said again, it is a mirror')
      .option('--name <name>', 'name of the copy (one item only)')
      .option('--description <text>', "description of the copy (default: the item's)")
      .option('--storage-profile <name>', 'storage profile that holds the copy')
      .option('--batch <name>', 'group these copies under a name')
      .option('--pool <name>', 'only workers of this pool work on them')
      .addOption(
        new Option(
          '--if-exists <what>',
          'what to do when the name is taken; update: nothing if it holds the same, else replace',
        ).choices(['fail', 'skip', 'replace', 'update']),
      )
      .option('--keep-failed', 'leave on the server what failed, so that retry goes on with it')
      .option('--again', 'also what was copied already'),
  );
}

/** What `deploy` takes. */
export function withDeployOptions(command: Command): Command {
  return withWaitingOptions(
    command
      .argument('<source>', 'an .ova, an .ovf, a folder holding one')
      .requiredOption('--to <target>', 'whose')
      .requiredOption('--vdc <name>', 'virtual data centre that holds the vApp')
      .option('--name <name>', 'name of the vApp')
      .option('--description <text>', 'description of the vApp')
      .option(
        '--network <package-network=network>',
        'which network of the data centre stands for one of the package; may be said several times',
        collect,
      )
      .option('--accept-eulas', 'accept the licences that the package has')
      .option('--power-on', 'power the vApp on at the end')
      .addOption(
        new Option('--verify <how>', "check every digest of the package's manifest")
          .choices(['full', 'off'])
          .default('full'),
      )
      .addOption(
        new Option('--if-exists <what>', 'what to do when the data centre has a vApp of that name')
          .choices(['fail', 'skip'])
          .default('fail'),
      )
      .option('--batch <name>', 'group it under a name')
      .option('--pool <name>', 'only workers of this pool can see the source')
      .option('--keep-failed', 'leave on the server what failed, so that retry goes on with it')
      .option('--again', 'also what was deployed already'),
  );
}

function withWaitingOptions(command: Command): Command {
  return command
    .option('--priority <n>', '1 goes first (default: 1000)', wholeNumber)
    .option('--deadline <time>', 'when they should have arrived; status says which will be late')
    .option('--start-at <time>', 'not before this time (ISO 8601)')
    .option('--detach', 'enqueue and return at once');
}

/** What `upload` and `enqueue` take. */
export function withUploadOptions(command: Command): Command {
  return command
    .argument('[source...]', 'an .ova, an .ovf, a folder holding one, an .iso; or a glob')
    .option('--to <target[/catalog]>', 'where to; may be said several times', collect)
    .option(
      '--then <target[/catalog]>',
      'then from there to here, without sending it again; may be said several times',
      collect,
    )
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
