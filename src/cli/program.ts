import { Command, Option } from 'commander';
import type { Action, Add, Examples, OnCall } from './command.ts';
import { addHousekeeping } from './program-housekeeping.ts';
import { addMoving } from './program-moving.ts';
import { withSimulateOptions } from './simulate-options.ts';
import { collect, wholeNumber } from './upload-options.ts';

/** Every command with its arguments, options and examples. Nothing is done here. */
export function createProgram(onCall: OnCall, version = ''): Command {
  const program = new Command('ovaferry')
    .description('Ferries OVA/OVF packages and ISO images into VMware Cloud Director catalogs.')
    .version(version)
    .option('--config <file>', 'configuration file (default: ./ovaferry.yaml)')
    .option('--redis <url>', 'Redis to use instead of the configured one')
    .option('--json', 'machine-readable output on stdout, and nothing else there')
    .addOption(
      new Option(
        '--log-level <level>',
        'what is logged to stderr (default: info for the worker, else nothing)',
      ).choices(['error', 'warn', 'info', 'debug']),
    )
    .option('--no-color', 'no colours')
    .showHelpAfterError('(see --help)');
  quiet(program);
  const add = (command: Command, load: () => Promise<Action>, examples: Examples): void => {
    quiet(command).action(() => onCall(command, load));
    command.addHelpText('after', () => examplesText(examples));
    EXAMPLES.set(command, examples);
  };
  addMoving(program, add);
  addLooking(program, add);
  addDeciding(program, add);
  addTargets(program, add);
  addHousekeeping(program, add);
  return program;
}

const EXAMPLES = new WeakMap<Command, Examples>();

/**
 * What is shown below a command's options.
 *
 * @public for docs/commands.md
 */
export function examplesOf(command: Command): Examples {
  return EXAMPLES.get(command) ?? {};
}

/** What is wrong is printed in one way for all errors, by whoever calls. */
function quiet(command: Command): Command {
  return command.exitOverride().configureOutput({ writeErr: () => undefined });
}

function examplesText(examples: Examples): string {
  const lines = Object.entries(examples).map(([line, what]) => `  # ${what}\n  ${line}`);
  return `\nExamples:\n${lines.join('\n')}`;
}

function addLooking(program: Command, add: Add): void {
  add(
    program
      .command('status')
      .description('what is waiting, running, done and failed, and why')
      .argument('[id...]', 'jobs; without any all')
      .option('--batch <name>', 'only this batch')
      .option('--summary', 'with --batch: the batch as a whole, and no jobs')
      .option('--batches', 'all batches as wholes')
      .option('--failed', 'only failed jobs')
      .option('--target <name>', 'only this target')
      .option('--limit <n>', 'at most so many jobs, newest first', wholeNumber, 1_000),
    async () => (await import('./status.ts')).status,
    {
      'ovaferry status --failed': 'what failed, by what, and what to do',
      'ovaferry status --batch weekend': 'how far it is, and when it will be done',
      'ovaferry status --batches --json': 'for scripts',
    },
  );
  add(
    program
      .command('watch')
      .description('live progress; ends when the named jobs have ended')
      .argument('[id...]', 'jobs; without any what runs')
      .option('--batch <name>', 'the jobs of this batch'),
    async () => (await import('./watch.ts')).watch,
    {
      'ovaferry watch': 'whatever runs, until you stop it',
      'ovaferry watch --batch weekend': 'exit status 1 if one of them failed',
    },
  );
  add(
    program
      .command('report')
      .description('a receipt for each upload: digests, ids, bytes, times')
      .argument('[id...]', 'jobs')
      .option('--batch <name>', 'the uploads of this batch')
      .addOption(
        new Option('--format <format>', 'how it is written').choices(['text', 'csv', 'json']),
      ),
    async () => (await import('./report.ts')).report,
    { 'ovaferry report --batch weekend --format csv > receipts.csv': 'for the files' },
  );
  add(
    program
      .command('dashboard')
      .description('a web page that shows targets, batches, uploads and failures')
      .option('--listen <address>', 'where it is served (default: 127.0.0.1:9465)'),
    async () => (await import('./dashboard.ts')).dashboard,
    {
      'ovaferry dashboard': 'for this machine alone',
      'ovaferry dashboard --listen :9465':
        'for others; wants a user or a token in the configuration',
    },
  );
}

function addDeciding(program: Command, add: Add): void {
  add(
    program
      .command('retry')
      .description('put failed jobs back')
      .argument('[id...]', 'jobs')
      .option('--failed', 'all that have failed')
      .option('--batch <name>', 'all that have failed of this batch'),
    async () => (await import('./retry.ts')).retry,
    {
      'ovaferry retry lab-879f911d146de215': 'goes on from what the server still has',
      'ovaferry retry --batch weekend': 'what failed of a batch, but not what was cancelled',
    },
  );
  add(
    program
      .command('cancel')
      .description('stop jobs and leave nothing half done on the server')
      .argument('[id...]', 'jobs')
      .option('--batch <name>', 'all of this batch that have not ended'),
    async () => (await import('./cancel.ts')).cancel,
    {
      'ovaferry cancel lab-879f911d146de215': 'what is on the server of it is removed',
      'ovaferry cancel --batch weekend': 'what has arrived of it stays',
    },
  );
  add(
    program
      .command('resume')
      .description('let the jobs of targets go on whose fault was mended')
      .argument('<target...>', 'names of targets'),
    async () => (await import('./resume.ts')).resume,
    { 'ovaferry resume lab': 'after the password was corrected, the quota raised' },
  );
  add(
    program
      .command('janitor')
      .description(
        'list what uploads left on a target: unfinished items that no job will finish, marks on whole ones',
      )
      .argument('<target[/catalog]>', 'where to look')
      .option('--yes', 'remove them'),
    async () => (await import('./janitor.ts')).janitor,
    { 'ovaferry janitor lab': 'nothing is removed without --yes' },
  );
}

function addTargets(program: Command, add: Add): void {
  add(
    program
      .command('doctor')
      .description('check Redis and targets from the address to the right to upload')
      .argument('[target...]', 'names of targets; without any all')
      .option('--write', 'also upload a tiny media image, and remove it again'),
    async () => (await import('./doctor.ts')).doctor,
    { 'ovaferry doctor lab --write': 'before the first upload, and when something is wrong' },
  );
  add(
    program
      .command('ls')
      .description('list organisations and catalogs, or the items of one catalog')
      .argument('<target[/catalog]>', 'where to look; of a content library an id')
      .option(
        '--filter <field,operator,value>',
        'of a content library; may be said several times',
        collect,
      )
      .option('--sort <field,order>', 'of a content library: asc or desc'),
    async () => (await import('./ls.ts')).ls,
    {
      'ovaferry ls lab': 'its catalogs',
      'ovaferry ls lab/appliances --json': 'the items of one, for scripts',
      "ovaferry ls vss --filter type,eq,ISO --filter 'name,like,ubuntu%' --sort name,desc":
        'of a content library',
    },
  );
  add(
    program
      .command('inspect')
      .description('say what a package is, and what would make an upload or an import fail')
      .argument('<source>', 'an .ova, an .ovf, a folder holding one, an .iso')
      .option('--media', 'as a media image')
      .option('--verify', 'read every byte and check the digests'),
    async () => (await import('./inspect.ts')).inspect,
    {
      'ovaferry inspect ubuntu.ova': 'reads its headers alone',
      'ovaferry inspect ubuntu.ova --verify': 'at the speed of the disk',
    },
  );
  add(
    withSimulateOptions(
      program.command('simulate').description('a vCD for dry runs and for trying things out'),
    ),
    async () => (await import('./simulate.ts')).simulate,
    {
      'ovaferry simulate --port 8443 --store /tmp/vcd': 'prints its address and login as JSON',
      'ovaferry simulate --release 10.3 --rate 20MB/s --import-time 10s':
        'as that release, on a slow line',
    },
  );
  add(
    program
      .command('completion')
      .description('print what lets a shell complete commands, options and targets')
      .argument('<shell>', 'bash, zsh, fish or powershell'),
    async () => (await import('./completion.ts')).completion,
    {
      'source <(ovaferry completion bash)': 'in ~/.bashrc',
      'ovaferry completion zsh > ~/.zfunc/_ovaferry': 'into a folder of $fpath',
      'ovaferry completion fish > ~/.config/fish/completions/ovaferry.fish': 'for fish',
    },
  );
  add(
    // What the shells' scripts call.
    program.command('complete', { hidden: true }).argument('[words...]').allowUnknownOption(),
    async () => {
      const { complete } = await import('./completion.ts');
      return (words) => complete(words, program);
    },
    {},
  );
}
