import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { FerryError } from '../errors.ts';
import type { RawConfig, RawDashboard, RawHook, RawTarget } from './schema.ts';
import { tokenFile } from './token-file.ts';

/** A target with everything that logging in needs. Holds secrets: never logged, never stored. */
export interface ResolvedTarget {
  readonly name: string;
  readonly url: URL;
  readonly org: string;
  /** The organisation that a provider acts for. */
  readonly tenant: string | undefined;
  readonly credentials: TargetCredentials;
  readonly ca: string | undefined;
  readonly certificateSha256: string | undefined;
  readonly insecure: boolean;
  readonly proxy: string | undefined;
}

type TargetCredentials =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'apiToken'; readonly token: string }
  | { readonly kind: 'serviceAccount'; readonly rotate: ReturnType<typeof tokenFile> }
  | { readonly kind: 'saml'; readonly assertion: string; readonly key?: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Where values come from, for messages and for relative paths. */
export interface Where {
  readonly file: string;
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Replaces `${NAME}`. @throws FerryError CREDENTIALS_MISSING naming variable and key */
export function substitute(text: string, key: string, { file, env }: Where): string {
  return text.replaceAll(/\$\{(\w+)\}/g, (_all, name: string) => {
    const value = env[name];
    if (value !== undefined) return value;
    throw new FerryError(
      'CREDENTIALS_MISSING',
      `the environment variable ${name} is not set, which ${key} in ${file} asks for`,
      { facts: { variable: name, key } },
    );
  });
}

export async function resolveTarget(
  name: string,
  raw: RawTarget,
  where: Where,
): Promise<ResolvedTarget> {
  const value = (key: keyof RawTarget): string | undefined => {
    const text = raw[key];
    return typeof text === 'string' ? substitute(text, `targets.${name}.${key}`, where) : undefined;
  };
  const url = value('url') ?? '';
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new FerryError(
      'CONFIG_INVALID',
      `targets.${name}.url in ${where.file} is not an https:// address`,
    );
  }
  const address = new URL(url);
  const ca = value('ca');
  return {
    name,
    url: address,
    org: value('org') ?? '',
    tenant: value('tenant'),
    credentials: await credentialsOf(name, value, where),
    ca: ca === undefined ? undefined : await readText(ca, `targets.${name}.ca`, where),
    certificateSha256: raw.certificateSha256,
    insecure: raw.insecure,
    proxy: isLoopback(address) ? undefined : (value('proxy') ?? proxyFor(address, where.env)),
  };
}

/** Where events are sent, with what signs them. */
export interface ResolvedHook {
  readonly url: URL;
  readonly secret: string;
}

/** @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID */
export async function resolveHook(
  name: string,
  { url, secret, secretFile }: RawHook,
  where: Where,
): Promise<ResolvedHook> {
  const key = `notify.${name}`;
  const address = substitute(url, `${key}.url`, where);
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new FerryError(
      'CONFIG_INVALID',
      `${key}.url in ${where.file} is not an https:// address`,
    );
  }
  const text =
    secretFile === undefined
      ? substitute(secret ?? '', `${key}.secret`, where)
      : await readSecret(secretFile, `${key}.secretFile`, where);
  return { url: new URL(address), secret: text };
}

/** What lets somebody see the dashboard. */
export type DashboardLogin =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string };

/** @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID */
export async function resolveLogin(
  raw: RawDashboard,
  where: Where,
): Promise<DashboardLogin | undefined> {
  const secret = async (key: 'password' | 'token'): Promise<string | undefined> => {
    const [text, file] = [raw[key], raw[`${key}File`]];
    const found =
      file === undefined
        ? text && substitute(text, `dashboard.${key}`, where)
        : await readSecret(file, `dashboard.${key}File`, where);
    if (found !== '') return found;
    throw new FerryError('CREDENTIALS_MISSING', `dashboard.${key} in ${where.file} is empty`, {
      hint: 'Give the dashboard the password or token that it is to ask for.',
    });
  };
  const token = await secret('token');
  if (token !== undefined) return { kind: 'token', token };
  const password = await secret('password');
  if (password === undefined) return undefined;
  return { kind: 'password', user: substitute(raw.user ?? '', 'dashboard.user', where), password };
}

/** A collector of traces. Headers may hold a secret. */
export interface ResolvedTraces {
  readonly url: string | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
}

/** @throws FerryError CREDENTIALS_MISSING, CONFIG_INVALID */
export function resolveTraces(raw: RawConfig['traces'], where: Where): ResolvedTraces | undefined {
  const { env, file } = where;
  const isOff = env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true';
  if (isOff || env['OTEL_TRACES_EXPORTER'] === 'none') return undefined;
  if (raw === undefined) {
    const named = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    return named ? { url: undefined, headers: undefined } : undefined;
  }
  const url = substitute(raw.url, 'traces.url', where);
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new FerryError('CONFIG_INVALID', `traces.url in ${file} is not an http(s):// address`);
  }
  const headers = Object.entries(raw.headers).map(([name, value]) => [
    name,
    substitute(value, `traces.headers.${name}`, where),
  ]);
  return { url, headers: Object.fromEntries(headers) as Record<string, string> };
}

type Value = (key: keyof RawTarget) => string | undefined;

async function credentialsOf(name: string, value: Value, where: Where): Promise<TargetCredentials> {
  const secret = async (
    key: 'password' | 'apiToken' | 'bearerToken',
  ): Promise<string | undefined> => {
    const file = value(`${key}File`);
    if (file === undefined) return value(key);
    return await readSecret(file, `targets.${name}.${key}File`, where);
  };
  const password = await secret('password');
  if (password !== undefined) return { kind: 'password', user: value('user') ?? '', password };
  const apiToken = await secret('apiToken');
  if (apiToken !== undefined) return { kind: 'apiToken', token: apiToken };
  const bearer = await secret('bearerToken');
  if (bearer !== undefined) return { kind: 'bearer', token: bearer };
  const account = value('serviceAccountTokenFile');
  if (account !== undefined) {
    return { kind: 'serviceAccount', rotate: tokenFile(resolve(where.folder, account)) };
  }
  const read = (key: 'samlAssertionFile' | 'samlKeyFile'): Promise<string> =>
    readText(value(key) ?? '', `targets.${name}.${key}`, where);
  return {
    kind: 'saml',
    assertion: await read('samlAssertionFile'),
    ...(value('samlKeyFile') === undefined ? {} : { key: await read('samlKeyFile') }),
  };
}

/** A file's text without the end of its last line; blanks at the end of a password are its own. */
async function readSecret(...args: Parameters<typeof readText>): Promise<string> {
  const secret = (await readText(...args)).replace(/^\ufeff/, '').replace(/\r?\n$/, '');
  if (secret !== '') return secret;
  // Sent all the same, it would cost one of the tries after which an account is locked.
  const [path, key, { folder, file }] = args;
  const full = resolve(folder, path);
  throw new FerryError('CREDENTIALS_MISSING', `${full}, named by ${key} in ${file}, is empty`);
}

async function readText(path: string, key: string, { folder, file }: Where): Promise<string> {
  const full = resolve(folder, path);
  try {
    return await readFile(full, 'utf8');
  } catch (error) {
    throw new FerryError(
      'CREDENTIALS_MISSING',
      `${full}, named by ${key} in ${file}, can't be read`,
      {
        cause: error,
      },
    );
  }
}

/** Always reached directly. */
function isLoopback({ hostname }: URL): boolean {
  return /^(localhost|127\..*|\[::1\])$/.test(hostname);
}

/** HTTPS_PROXY and NO_PROXY. */
function proxyFor({ protocol, hostname }: URL, env: NodeJS.ProcessEnv): string | undefined {
  const name = protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const proxy = env[name] || env[name.toLowerCase()];
  if (!proxy) return undefined;
  const exceptions = (env['NO_PROXY'] ?? env['no_proxy'] ?? '').split(',').map((e) => e.trim());
  const direct = exceptions.some(
    (exception) =>
      exception === '*' ||
      (exception !== '' &&
        (hostname === exception || hostname.endsWith(`.${exception.replace(/^\*?\./, '')}`))),
  );
  return direct ? undefined : proxy;
}
