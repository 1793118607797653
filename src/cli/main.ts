#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { classify, FerryError } from '../errors.ts';
import { exitCodeOf, type GlobalOptions, printError } from './output.ts';

/** A command's work; what it returns is the exit status. Loaded only when it is called. */
type Action = (args: string[], options: never) => Promise<number>;

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

const program = new Command('ovaferry')
  .description('Ferries OVA/OVF packages and ISO images into VMware Cloud Director catalogs.')
  .version(version)
  .option('--config <file>', 'configuration file (default: ./ovaferry.yaml)')
  .option('--redis <url>', 'Redis to use instead of the configured one')
  .option('--json', 'machine-readable output on stdout, and nothing else there')
  .addOption(
    new Option('--log-level <level>', 'what is logged to stderr').choices([
      'error',
      'warn',
      'info',
      'debug',
    ]),
  )
  .option('--no-color', 'no colours')
  .showHelpAfterError('(see --help)')
  .exitOverride()
  .configureOutput({ writeErr: () => undefined }); // printed below, in one way for all errors

let exitCode = 0;

// Whoever reads only the first lines wants no more; the work goes on.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

function run(command: Command, load: () => Promise<Action>): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.action(async () => {
    const action = await load();
    exitCode = await action(command.args, command.optsWithGlobals() as never);
  });
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number');
  return Number(text);
}

function withUploadOptions(command: Command): Command {
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

run(
  withUploadOptions(program.command('upload')).description(
    'enqueue, show progress, and wait for the end',
  ),
  async () => (await import('./upload.ts')).upload,
);
run(
  withUploadOptions(program.command('enqueue')).description('enqueue and return at once'),
  async () => (await import('./enqueue.ts')).enqueue,
);
run(
  program
    .command('worker')
    .description('take jobs until stopped')
    .option('--pool <name>', 'also take jobs of this pool; may be said several times', collect)
    .option('--listen <address>', 'serve /metrics, /healthz and /readyz, like 127.0.0.1:9464'),
  async () => (await import('./worker.ts')).worker,
);
run(
  program
    .command('status')
    .description('what is waiting, running, done and failed, and why')
    .argument('[id...]')
    .option('--batch <name>', 'only this batch')
    .option('--summary', 'with --batch: the batch as a whole, and no jobs')
    .option('--batches', 'all batches as wholes')
    .option('--failed', 'only failed jobs')
    .option('--target <name>', 'only this target')
    .option('--limit <n>', 'at most so many jobs, newest first', wholeNumber, 1_000),
  async () => (await import('./status.ts')).status,
);
run(
  program
    .command('report')
    .description('a receipt for each upload: digests, ids, bytes, times')
    .argument('[id...]')
    .option('--batch <name>', 'the uploads of this batch')
    .addOption(
      new Option('--format <format>', 'how it is written').choices(['text', 'csv', 'json']),
    ),
  async () => (await import('./report.ts')).report,
);
run(
  program
    .command('watch')
    .description('live progress; ends when the named jobs have ended')
    .argument('[id...]')
    .option('--batch <name>', 'the jobs of this batch'),
  async () => (await import('./watch.ts')).watch,
);
run(
  program
    .command('retry')
    .description('put failed jobs back')
    .argument('[id...]')
    .option('--failed', 'all that have failed'),
  async () => (await import('./retry.ts')).retry,
);
run(
  program
    .command('cancel')
    .description('stop jobs and leave nothing half done on the server')
    .argument('<id...>'),
  async () => (await import('./cancel.ts')).cancel,
);
run(
  program
    .command('resume')
    .description('let the jobs of targets go on whose fault was mended')
    .argument('<target...>'),
  async () => (await import('./resume.ts')).resume,
);
run(
  program
    .command('janitor')
    .description('list unfinished items on a target that no job will finish')
    .argument('<target[/catalog]>')
    .option('--yes', 'remove them'),
  async () => (await import('./janitor.ts')).janitor,
);
run(
  program
    .command('ls')
    .description('list organisations and catalogs, or the items of one catalog')
    .argument('<target[/catalog]>'),
  async () => (await import('./ls.ts')).ls,
);
run(
  program
    .command('doctor')
    .description('check Redis and targets from the address to the right to upload')
    .argument('[target...]')
    .option('--write', 'also upload a tiny media image, and remove it again'),
  async () => (await import('./doctor.ts')).doctor,
);
run(
  program
    .command('inspect')
    .description('read a package and say what would make an upload fail')
    .argument('<source>')
    .option('--media', 'as a media image'),
  async () => (await import('./inspect.ts')).inspect,
);
run(
  program
    .command('simulate')
    .description('a vCD for dry runs and for trying things out')
    .option('--port <n>', 'port; 0 takes any free one', wholeNumber, 0)
    .option('--host <address>', 'where it listens (default: 127.0.0.1)')
    .option('--public-url <url>', 'how clients call it, if not by that address')
    .option('--password <text>', 'of its users (default: simulated)')
    .option('--store <dir>', 'keep what is uploaded there, or `discard`', 'discard')
    .option('--release <name>', 'behave as this release: 5.5, 9.7, 10.3, 10.4, 10.5 or 10.6')
    .option(
      '--api <versions>',
      "API versions that are served (default: the release's, or 39.1,38.1,37.0,36.3)",
    )
    .option('--no-legacy-login', 'answer 401 to /api/sessions, as where it is switched off')
    .option('--transfer-url <url>', "public address of transfers, if another than the API's")
    .option('--storage-profile <name=size>', 'a storage profile of the organisation', collect)
    .option('--transfer-store <size>', 'what all transfers may hold before their import')
    .option('--operations-per-user <n>', 'uploads and imports at once; 0 for any', wholeNumber, 0)
    .option('--operations-per-org <n>', 'the same for the organisation', wholeNumber, 0)
    .option('--template-lease <time>', 'after which templates are removed, like 7d')
    .option('--faults <file>', 'things that go wrong, as JSON or YAML')
    .option('--rate <rate>', 'speed of all transfers together, like 50MB/s')
    .option('--import-time <time>', 'from the last byte to being ready', '0s')
    .option('--import-time-per-gb <time>', 'in addition, for each GB', '0s')
    .option('--import-slots <n>', 'imports at once; 0 for any', wholeNumber, 0)
    .option('--session-idle <time>', 'after which an idle session ends', '30m')
    .option('--session-lifetime <time>', 'after which any session ends', '24h')
    .option('--transfer-idle <time>', 'after which a transfer without bytes ends', '60m')
    .option('--cancel-time <time>', 'from the wish to cancel a task to its end', '0s')
    .option('--link-delay <time>', "from the descriptor to the files' addresses", '0s')
    .option('--tls-cert <file>', 'serve https with this certificate')
    .option('--tls-key <file>', 'and this key'),
  async () => (await import('./simulate.ts')).simulate,
);

try {
  await program.parseAsync();
} catch (error) {
  exitCode = handle(error);
}
process.exitCode = exitCode;

function handle(error: unknown): number {
  const options = program.opts<GlobalOptions>();
  if (!(error instanceof CommanderError)) {
    const failure = classify(error);
    printError(failure, options);
    return exitCodeOf(failure);
  }
  if (error.exitCode === 0) return 0; // --help and --version
  if (error.code === 'commander.help') {
    printError(new FerryError('USAGE', 'which command?'), options);
    if (!options.json) process.stderr.write(program.helpInformation());
    return 2;
  }
  printError(new FerryError('USAGE', error.message.replace(/^error: /, '')), options);
  return 2;
}
