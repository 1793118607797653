#!/usr/bin/env node
import { CommanderError } from 'commander';
import { classify, FerryError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { exitCodeOf, type GlobalOptions, printError } from './output.ts';
import { createProgram } from './program.ts';
import { wasInterrupted } from './signals.ts';

let exitCode = 0;
const program = createProgram(async (command, load) => {
  const action = await load();
  exitCode = await action(command.args, command.optsWithGlobals() as never);
}, VERSION);

// Whoever reads only the first lines wants no more; the work goes on.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  exitCode = handle(error);
}
// What was broken off has neither succeeded nor failed.
process.exitCode = wasInterrupted() && exitCode !== 0 ? 130 : exitCode;

function handle(error: unknown): number {
  const options = program.opts<GlobalOptions>();
  if (!(error instanceof CommanderError)) {
    if (wasInterrupted()) {
      process.stderr.write('interrupted\n');
      return 130;
    }
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
