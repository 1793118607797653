import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { FerryError } from '../errors.ts';
import type { Limits } from './limits.ts';
import {
  type DashboardLogin,
  type ResolvedHook,
  type ResolvedTarget,
  type ResolvedTraces,
  resolveHook,
  resolveLogin,
  resolveTarget,
  resolveTraces,
  substitute,
  type Where,
} from './resolve.ts';
import {
  configSchema,
  keysAt,
  type RawConfig,
  type RawDashboard,
  type RawTarget,
} from './schema.ts';
import { suggestion } from './suggest.ts';

/** A target as the queue commands know it; secrets are read when somebody logs in. */
export interface TargetConfig {
  readonly name: string;
  readonly catalog: string | undefined;
  /** What should not stay as it is, in words. */
  readonly warnings: readonly string[];
  /** @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID */
  resolve(): Promise<ResolvedTarget>;
}

/** Somebody who wants to be told; secrets are read when something is sent. */
interface Hook {
  readonly name: string;
  readonly events: readonly string[];
  /** @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID */
  resolve(): Promise<ResolvedHook>;
}

export interface Config {
  /** The file that was read; undefined if there is none. */
  readonly file: string | undefined;
  /** A `redis://` address; undefined for the embedded server. @throws FerryError CREDENTIALS_MISSING */
  redisUrl(): string | undefined;
  readonly dataDir: string;
  /** The vCDs. */
  readonly targets: ReadonlyMap<string, TargetConfig>;
  /** Content libraries, which are only listed. */
  readonly libraries: ReadonlyMap<string, TargetConfig>;
  readonly worker: RawConfig['worker'];
  /** Where events are sent. */
  readonly hooks: ReadonlyMap<string, Hook>;
  readonly dashboard: {
    readonly listen: RawDashboard['listen'];
    /** What lets somebody in; undefined for nobody but this machine. @throws FerryError CREDENTIALS_MISSING */
    login(): Promise<DashboardLogin | undefined>;
  };
  /**
   * Where traces go; undefined where nobody wants any. What is undefined in it is as OpenTelemetry's own
   * environment variables say.
   *
   * @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID
   */
  traces(): ResolvedTraces | undefined;
  /** What may be changed while workers run. */
  limits(): Promise<Limits>;
  /** The same file as it is now. @throws FerryError CONFIG_INVALID */
  reload(): Config;
}

export interface LoadOptions {
  /** `--config` */
  readonly file?: string | undefined;
  /** `--redis` */
  readonly redis?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/**
 * Reads the configuration: the only reader of its files and of the environment.
 *
 * @throws FerryError CONFIG_INVALID naming file, key and what was expected
 */
export function loadConfig(options: LoadOptions = {}): Config {
  const env = options.env ?? process.env;
  const file = findFile(options, env);
  const raw = file === undefined ? configSchema.parse({}) : readFile(file);
  const folder = file === undefined ? (options.cwd ?? process.cwd()) : dirname(file);
  const where = { file: file ?? 'the configuration', folder, env };
  return {
    file,
    redisUrl() {
      if (options.redis !== undefined) return options.redis;
      return raw.redis === undefined ? undefined : substitute(raw.redis, 'redis', where);
    },
    dataDir: raw.dataDir === undefined ? defaultDataDir(env) : resolve(folder, raw.dataDir),
    targets: targetsOf(raw, 'vcd', where),
    libraries: targetsOf(raw, 'vss', where),
    worker: raw.worker,
    hooks: new Map(
      Object.entries(raw.notify).map(([name, hook]) => [
        name,
        { name, events: hook.events, resolve: () => resolveHook(name, hook, where) },
      ]),
    ),
    dashboard: {
      listen: raw.dashboard.listen,
      login: () => resolveLogin(raw.dashboard, where),
    },
    traces: () => resolveTraces(raw.traces, where),
    // Loaded where limits count: commands that only enqueue are to start at once.
    limits: async () => (await import('./limits.ts')).limitsOf(raw),
    reload: () => loadConfig({ ...options, file }),
  };
}

function targetsOf(
  { targets }: RawConfig,
  type: RawTarget['type'],
  where: Where,
): ReadonlyMap<string, TargetConfig> {
  const own = Object.entries(targets).filter(([, target]) => target.type === type);
  return new Map(
    own.map(([name, target]) => [
      name,
      {
        name,
        catalog: target.catalog,
        warnings: warningsOf(name, target),
        resolve: () => resolveTarget(name, target, where),
      },
    ]),
  );
}

function warningsOf(name: string, { url, insecure }: RawTarget): string[] {
  const warnings: string[] = [];
  if (insecure) warnings.push(`${name}: certificates are not verified, since \`insecure\` is on`);
  const loopback = /^http:\/\/(localhost|127\.|\[::1\])/.test(url);
  if (url.startsWith('http:') && !loopback) {
    warnings.push(`${name}: passwords and images go over the line in clear; use https`);
  }
  return warnings;
}

function findFile({ file, cwd }: LoadOptions, env: NodeJS.ProcessEnv): string | undefined {
  const here = cwd ?? process.cwd();
  const named = file ?? env['OVAFERRY_CONFIG'];
  if (named !== undefined && named !== '') {
    const path = resolve(here, named);
    if (existsSync(path)) return path;
    throw new FerryError('CONFIG_INVALID', `the configuration ${path} does not exist`);
  }
  const home = env['XDG_CONFIG_HOME'] || join(env['HOME'] ?? homedir(), '.config');
  const usual = [resolve(here, 'ovaferry.yaml'), join(home, 'ovaferry', 'config.yaml')];
  return usual.find((path) => existsSync(path));
}

function defaultDataDir(env: NodeJS.ProcessEnv): string {
  const state = env['XDG_STATE_HOME'] || join(env['HOME'] ?? homedir(), '.local', 'state');
  return join(state, 'ovaferry');
}

function readFile(file: string): RawConfig {
  const parsed = configSchema.safeParse(parseYaml(file) ?? {});
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${keyOf(issue)}${messageOf(issue)}`);
  throw new FerryError('CONFIG_INVALID', `${file}: ${faults.join('; ')}`);
}

/** Says where a mistake is, and never what stands there: it may be a password. */
function parseYaml(file: string): unknown {
  const lineCounter = new LineCounter();
  const text = readFileSync(file, 'utf8');
  const document = parseDocument(text, { prettyErrors: false, lineCounter });
  const [error] = document.errors;
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    const what = error.code.toLowerCase().replaceAll('_', ' ');
    // In braces those of a variable end the list.
    const isVariable = /[{,].*[:,]\s*\$\{/.test(text.split('\n')[line - 1] ?? '');
    const hint = isVariable ? { hint: `Within {…} put it in quotes: password: "\${NAME}".` } : {};
    const where = `${file}: line ${line}, column ${col}: ${what}`;
    throw new FerryError('CONFIG_INVALID', where, hint);
  }
  try {
    return document.toJS();
  } catch (failure) {
    throw new FerryError('CONFIG_INVALID', `${file}: ${(failure as Error).message}`);
  }
}

function keyOf({ path }: z.core.$ZodIssue): string {
  return path.length === 0 ? '' : `${path.map(String).join('.')}: `;
}

/** @param at where it stands, if not at its own path */
function messageOf(issue: z.core.$ZodIssue, at: readonly PropertyKey[] = issue.path): string {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(at);
    return `unknown key ${issue.keys.map((key) => `${key}${suggestion(key, known)}`).join(', ')}`;
  }
  if (issue.code === 'invalid_union') {
    // Of the alternatives the one that says what was expected, in our words.
    const inner = issue.errors.flat();
    const best = inner.find(({ code }) => code === 'custom' || code === 'unrecognized_keys');
    return best ? messageOf(best, [...at, ...best.path]) : (inner.at(-1)?.message ?? issue.message);
  }
  return issue.message;
}
