import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FerryError } from '../errors.ts';
import type { DescriptorFacts } from './descriptor.ts';
import type { DescriptorAnswer } from './descriptor-process.ts';

const PARSE_TIMEOUT_MS = 10_000;
const MAX_DEATHS = 3;

/** A descriptor's text and facts. */
export interface ReadDescriptor {
  readonly text: string;
  readonly facts: DescriptorFacts;
}

/**
 * Parses a descriptor in a process of its own, with little memory, little time and no environment:
 * the parser has known holes, and the descriptor comes from a stranger.
 *
 * @throws FerryError DESCRIPTOR_INVALID
 */
export async function readDescriptor(bytes: Buffer, name: string): Promise<ReadDescriptor> {
  const answer = await parseInChild(bytes, name);
  if (!answer.ok) throw invalid(name, answer.reason);
  const [problem] = answer.facts.problems;
  if (problem !== undefined) throw invalid(name, `can't be used: ${problem}`);
  return { text: answer.text, facts: answer.facts };
}

/** A machine that is out of breath kills innocent children: only the third death is the text's fault. */
async function parseInChild(bytes: Buffer, name: string): Promise<DescriptorAnswer> {
  let died = '';
  for (let i = 0; i < MAX_DEATHS; i += 1) {
    const outcome = await runChild(bytes);
    if (typeof outcome !== 'string') return outcome;
    died = outcome;
  }
  throw invalid(name, `could not be parsed: the parser ended with ${died}`);
}

/** The child's answer, or how it ended without one. */
function runChild(bytes: Buffer): Promise<DescriptorAnswer | string> {
  const child = fork(fileURLToPath(new URL('./descriptor-process.js', import.meta.url)), [], {
    execArgv: ['--max-old-space-size=256'],
    env: {},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    timeout: PARSE_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  return new Promise((resolve) => {
    child.once('message', (answer) => resolve(answer as DescriptorAnswer));
    child.on('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(String(signal ?? code)));
    child.send(bytes.toString('base64'), (error) => error && resolve(error.message));
  });
}

function invalid(name: string, reason: string): FerryError {
  return new FerryError('DESCRIPTOR_INVALID', `${name} ${reason}`, { facts: { member: name } });
}
