import { X509Certificate } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { parse } from 'yaml';
import { parseDuration, parseRate, parseSize } from '../config/units.ts';
import { FerryError } from '../errors.ts';
import { type FaultRule, parseFaultRules } from '../simulator/faults.ts';
import { releaseOf } from '../simulator/releases.ts';
import { startSimulator } from '../simulator/server.ts';
import type { SimulatorOptions } from '../simulator/world.ts';
import { type GlobalOptions, printJson } from './output.ts';
import { interruption, untilAborted } from './signals.ts';

interface SimulateOptions extends GlobalOptions {
  readonly vss?: boolean;
  readonly items: number;
  readonly port: number;
  readonly store: string;
  readonly release?: string;
  readonly api?: string;
  readonly legacyLogin: boolean;
  readonly transferUrl?: string;
  readonly storageProfile?: readonly string[];
  readonly transferStore?: string;
  readonly operationsPerUser: number;
  readonly operationsPerOrg: number;
  readonly templateLease?: string;
  readonly importTimePerGb: string;
  readonly importSlots: number;
  readonly sessionIdle: string;
  readonly sessionLifetime: string;
  readonly transferIdle: string;
  readonly faults?: string;
  readonly rate?: string;
  readonly importTime: string;
  readonly linkDelay: string;
  readonly downloadTime: string;
  readonly cancelTime: string;
  readonly host?: string;
  readonly publicUrl?: string;
  readonly password?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

export async function simulate(_args: string[], options: SimulateOptions): Promise<number> {
  if (options.vss) return simulateLibrary(options);
  const interrupt = interruption();
  const { tlsCert, tlsKey, rate } = options;
  const bytesPerSecond = rate === undefined ? undefined : parseRate(rate);
  if (rate !== undefined && bytesPerSecond === undefined) {
    throw new FerryError('USAGE', `--rate: "${rate}" is not a rate like 50MB/s`);
  }
  if (options.port > 65_535) throw new FerryError('USAGE', '--port is at most 65535');
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new FerryError('USAGE', '--tls-cert and --tls-key go together');
  }
  const rules = readFaults(options.faults);
  const simulator = await listening(options, () =>
    startSimulator({
      port: options.port,
      ...definedOf(options),
      store: storeOf(options.store),
      ...servedOf(options),
      legacyLogin: options.legacyLogin,
      ...(options.transferUrl === undefined
        ? {}
        : { transferUrl: addressOf('--transfer-url', options.transferUrl) }),
      ...limitsOf(options),
      importTimeMs: time('--import-time', options.importTime),
      importMsPerGB: time('--import-time-per-gb', options.importTimePerGb),
      importSlots: options.importSlots,
      sessionIdleMs: time('--session-idle', options.sessionIdle),
      sessionAbsoluteMs: time('--session-lifetime', options.sessionLifetime),
      transferIdleMs: time('--transfer-idle', options.transferIdle),
      downloadTimeMs: time('--download-time', options.downloadTime),
      cancelTimeMs: time('--cancel-time', options.cancelTime),
      linkDelayMs: time('--link-delay', options.linkDelay),
      ...(bytesPerSecond === undefined ? {} : { rateBytesPerSecond: bytesPerSecond }),
      ...(tlsCert !== undefined && tlsKey !== undefined ? { tls: readTls(tlsCert, tlsKey) } : {}),
    }),
  );
  try {
    for (const rule of rules) simulator.world.faults.add(rule);
    const { url, org, user, password, catalog } = simulator;
    printJson({ url, org, user, password, catalog });
    await untilAborted(interrupt.signal);
    return 0;
  } finally {
    interrupt.close();
    await simulator.close();
  }
}

/** @throws FerryError CONFIG_INVALID for a port that somebody else has, or that may not be used */
async function listening<T>(
  { host = '127.0.0.1', port }: Pick<SimulateOptions, 'host' | 'port'>,
  start: () => Promise<T>,
): Promise<T> {
  try {
    return await start();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall !== 'listen' && syscall !== 'getaddrinfo') throw error;
    const isHost = syscall === 'getaddrinfo' || code === 'EADDRNOTAVAIL';
    throw new FerryError('CONFIG_INVALID', `${host} port ${port} can't be listened on (${code})`, {
      cause: error,
      hint: isHost
        ? 'Say another --host: an address of this machine.'
        : 'Say another --port, or --port 0 for one that is free.',
    });
  }
}

/** @throws FerryError USAGE for what is no certificate with its key */
function readTls(certPath: string, keyPath: string): { cert: string; key: string } {
  const tls = { cert: readPem('--tls-cert', certPath), key: readPem('--tls-key', keyPath) };
  try {
    new X509Certificate(tls.cert);
    createSecureContext(tls);
  } catch (error) {
    const { message } = error as Error;
    throw new FerryError('USAGE', `${certPath} and ${keyPath} can't be used for TLS: ${message}`);
  }
  return tls;
}

/** Made now where it is missing: a store that can't be written would only show with the first upload. */
function storeOf(path: string): string {
  if (path === 'discard') return path;
  const wanted = resolve(path);
  const missing: string[] = [];
  let existing = wanted;
  for (; !existsSync(existing); existing = dirname(existing)) missing.unshift(existing);
  try {
    // One by one: of folders below one that takes none, all at once would be tried for ever.
    for (const folder of missing) mkdirSync(folder);
    accessSync(wanted, constants.W_OK);
    if (statSync(wanted).isDirectory()) return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FerryError('USAGE', `--store: ${path} can't be written (${code})`);
  }
  throw new FerryError('USAGE', `--store: ${path} is not a folder`);
}

function addressOf(option: string, text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new FerryError('USAGE', `${option}: "${text}" is not an http(s):// address`);
}

/** @throws FerryError USAGE */
function readPem(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FerryError('USAGE', `${option}: ${path} can't be read (${code})`);
  }
}

function definedOf({
  host,
  publicUrl,
  password,
}: SimulateOptions): Pick<SimulatorOptions, 'host' | 'publicUrl' | 'password'> {
  return {
    ...(host === undefined ? {} : { host }),
    ...(publicUrl === undefined ? {} : { publicUrl: publicUrl.replace(/\/+$/, '') }),
    ...(password === undefined ? {} : { password }),
  };
}

function servedOf({ release, api }: SimulateOptions): Pick<SimulatorOptions, 'release' | 'api'> {
  try {
    if (release !== undefined) releaseOf(release);
  } catch (error) {
    throw new FerryError('USAGE', `--release: ${(error as Error).message}`);
  }
  return {
    ...(release === undefined ? {} : { release }),
    ...(api === undefined ? {} : { api: versions(api) }),
  };
}

/** A VSS content library in place of a vCD. */
async function simulateLibrary(options: SimulateOptions): Promise<number> {
  const { startLibrary } = await import('../simulator/library/server.ts');
  const rules = readFaults(options.faults);
  const { port, password, items } = options;
  const named = password === undefined ? {} : { password };
  const interrupt = interruption();
  const library = await listening(options, () => startLibrary({ port, items, ...named }));
  try {
    for (const rule of rules) library.faults.add(rule);
    const { url, user, password: needed } = library;
    printJson({ url, user, password: needed, items });
    await untilAborted(interrupt.signal);
    return 0;
  } finally {
    interrupt.close();
    await library.close();
  }
}

function limitsOf(options: SimulateOptions): SimulatorOptions {
  const { storageProfile, transferStore, templateLease } = options;
  return {
    operationsPerUser: options.operationsPerUser,
    operationsPerOrg: options.operationsPerOrg,
    ...(storageProfile === undefined
      ? {}
      : { storageProfiles: Object.fromEntries(storageProfile.map(profile)) }),
    ...(transferStore === undefined
      ? {}
      : { transferStoreBytes: size('--transfer-store', transferStore) }),
    ...(templateLease === undefined
      ? {}
      : { templateLeaseSeconds: time('--template-lease', templateLease) / 1000 }),
  };
}

/** `NAME` or `NAME=SIZE`. */
function profile(text: string): [name: string, bytes: number] {
  const [name = '', limit] = text.split('=');
  if (name === '') throw new FerryError('USAGE', `--storage-profile: "${text}" has no name`);
  return [name, limit === undefined ? 0 : size('--storage-profile', limit)];
}

function size(option: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new FerryError('USAGE', `${option}: "${text}" is not a size like 50GB`);
}

function versions(text: string): string[] {
  const list = text.split(',').map((version) => version.trim());
  const bad = list.find((version) => !/^\d+\.\d+$/.test(version));
  if (bad === undefined) return list;
  throw new FerryError('USAGE', `--api: "${bad}" is not a version like 39.1`);
}

function time(option: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new FerryError('USAGE', `${option}: "${text}" is not a time like 2s`);
  return ms;
}

/** A file of rules; JSON is YAML, too. */
function readFaults(file: string | undefined): FaultRule[] {
  if (file === undefined) return [];
  try {
    return parseFaultRules(parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new FerryError('USAGE', `--faults: ${file}: ${(error as Error).message}`);
  }
}
