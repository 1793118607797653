import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FerryError } from '../errors.ts';
import type { DescriptorFacts } from './descriptor.ts';
import type { DescriptorAnswer, DescriptorQuestion } from './descriptor-process.ts';

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
export async function readDescriptor(
  bytes: Buffer,
  name: string,
  { contents = false }: { readonly contents?: boolean | undefined } = {},
): Promise<ReadDescriptor> {
  const question = { encoded: bytes.toString('base64'), contents };
  const answer = await parseInChild(question, name);
  if (!answer.ok) throw invalid(name, answer.reason);
  return { text: answer.text, facts: answer.facts };
}

/** A machine that is out of breath kills innocent children: only the third death is the text's fault. */
async function parseInChild(question: DescriptorQuestion, name: string): Promise<DescriptorAnswer> {
  let died = '';
  for (let i = 0; i < MAX_DEATHS; i += 1) {
    const outcome = await runChild(question);
    if (typeof outcome !== 'string') return outcome;
    died = outcome;
  }
  throw invalid(name, `could not be parsed: the parser ended with ${died}`);
}

/** The child's answer, or how it ended without one. */
function runChild(question: DescriptorQuestion): Promise<DescriptorAnswer | string> {
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
    child.send(question, (error) => error && resolve(error.message));
  });
}

function invalid(name: string, reason: string): FerryError {
  return new FerryError('DESCRIPTOR_INVALID', `${name} ${reason}`, { facts: { member: name } });
}
