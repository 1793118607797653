import { loadConfig } from '../config/load.ts';
import { type Check, checkRedis, checkTarget } from '../doctor.ts';
import { findTarget } from '../order-parts.ts';
import { type GlobalOptions, paint, printJson, say } from './output.ts';
import { interruption } from './signals.ts';

/** Checks Redis and targets, and says what is missing. Exit 3 if an upload would not work, 2 if secrets are missing. */
export async function doctor(
  names: string[],
  options: GlobalOptions & { readonly write?: boolean },
): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const targets =
    names.length > 0
      ? names.map((name) => findTarget(name, config.targets))
      : [...config.targets.values()];
  const interrupt = interruption();
  const checks: Check[] = [];
  const take = async (of: string, found: AsyncIterable<Check>): Promise<void> => {
    if (!options.json) say(of, options);
    for await (const check of found) {
      checks.push(check);
      if (!options.json) print(check, options);
    }
  };
  try {
    const { write = false } = options;
    await take('Redis', checkRedis(config));
    for (const target of targets) {
      await take(target.name, checkTarget(config, target, { write, signal: interrupt.signal }));
    }
  } finally {
    interrupt.close();
  }
  if (options.json) printJson(checks);
  else if (targets.length === 0) say('no targets are configured', options);
  if (interrupt.signal.aborted) return 130; // what was broken off says nothing
  const failed = checks.filter(({ state }) => state === 'failed');
  if (failed.length === 0) return 0;
  return failed.every(({ code }) => code === 'CREDENTIALS_MISSING') ? 2 : 3;
}

const SIGNS = { ok: ['green', '✓'], warning: ['yellow', '!'], failed: ['red', '✗'] } as const;

function print({ what, state, message, hint }: Check, options: GlobalOptions): void {
  const [colour, sign] = SIGNS[state];
  say(`  ${paint(colour, sign, options.color)} ${what}: ${message}`, options);
  if (hint !== null) say(`      ${hint}`, options);
}
