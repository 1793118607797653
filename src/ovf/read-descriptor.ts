import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { classify, FerryError, isExhausted } from '../errors.ts';
import type { DescriptorFacts } from './descriptor.ts';
import type { DescriptorAnswer, DescriptorQuestion } from './descriptor-process.ts';

const PARSE_TIMEOUT_MS = 10_000;
const MAX_DEATHS = 3;
/** What a parser may have gathered in its memory goes with it. */
const MAX_ANSWERS = 200;
const IDLE_MS = 60_000;

/** A descriptor's text and facts. */
export interface ReadDescriptor {
  readonly text: string;
  readonly facts: DescriptorFacts;
}

/**
 * Parses a descriptor in another process, with little memory, little time and no environment: the
 * parser has known holes, and the descriptor comes from a stranger.
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
    const parser = idle.pop() ?? newParser();
    const outcome = await parser.ask(question);
    if (typeof outcome !== 'string') return outcome;
    died = outcome;
  }
  throw invalid(name, `could not be parsed: the parser ended with ${died}`);
}

/** @throws FerryError WORKER_OVERLOADED where this machine starts no more processes */
function newParser(): Parser {
  const parser = new Parser();
  if (parser.isStarted) return parser;
  throw overloaded('no process for reading descriptors could be started');
}

function overloaded(what: string): FerryError {
  return new FerryError('WORKER_OVERLOADED', `this machine has too little left: ${what}`);
}

/** Parsers that wait for the next descriptor. Each is asked one thing at a time. */
const idle: Parser[] = [];

/** Ends the processes that wait for the next descriptor. Those that parse end when they have answered. */
export function endParsers(): void {
  for (const parser of idle.splice(0)) parser.end();
}

/** A child process that parses, and dies with what it can't parse. */
class Parser {
  readonly #child: ChildProcess;
  #answers = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./descriptor-process.js', import.meta.url)), [], {
      execArgv: ['--max-old-space-size=256'],
      env: {},
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child.on('exit', () => this.#forget());
    this.#child.on('error', () => this.#forget());
  }

  /** Without descriptors or processes there is a child that has neither a pid nor a channel. */
  get isStarted(): boolean {
    return this.#child.pid !== undefined && this.#child.channel != null;
  }

  /**
   * The answer, or how the process ended without one.
   *
   * @throws FerryError WORKER_OVERLOADED
   */
  async ask(question: DescriptorQuestion): Promise<DescriptorAnswer | string> {
    clearTimeout(this.#idleTimer);
    this.#child.ref();
    this.#child.channel?.ref();
    const outcome = await this.#answerTo(question);
    this.#answers += 1;
    if (typeof outcome === 'string') this.#child.kill('SIGKILL');
    else if (this.#answers < MAX_ANSWERS && this.#child.connected) this.#wait();
    else this.end();
    return outcome;
  }

  end(): void {
    this.#forget();
    if (this.#child.connected) this.#child.disconnect();
  }

  /** Keeps nobody from ending meanwhile. */
  #wait(): void {
    this.#child.unref();
    this.#child.channel?.unref();
    this.#idleTimer = setTimeout(() => this.end(), IDLE_MS).unref();
    idle.push(this);
  }

  #forget(): void {
    clearTimeout(this.#idleTimer);
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
  }

  #answerTo(question: DescriptorQuestion): Promise<DescriptorAnswer | string> {
    const child = this.#child;
    const asking = new AbortController();
    const { signal } = asking;
    return new Promise<DescriptorAnswer | string>((resolve, reject) => {
      // Only how a child ended that had begun says something of the text.
      const fail = (error: Error): void =>
        isExhausted(error) ? reject(classify(error)) : resolve(error.message);
      const listen = (event: string, hear: (...args: never[]) => void): void => {
        child.once(event, hear as () => void);
        signal.addEventListener('abort', () => child.off(event, hear as () => void));
      };
      listen('message', (answer: DescriptorAnswer) => resolve(answer));
      listen('error', fail);
      listen('exit', (code: number | null, how: string | null) => resolve(String(how ?? code)));
      const limit = setTimeout(() => child.kill('SIGKILL'), PARSE_TIMEOUT_MS);
      signal.addEventListener('abort', () => clearTimeout(limit));
      child.send(question, (error) => error && fail(error));
    }).finally(() => asking.abort());
  }
}

function invalid(name: string, reason: string): FerryError {
  return new FerryError('DESCRIPTOR_INVALID', `${name} ${reason}`, { facts: { member: name } });
}
