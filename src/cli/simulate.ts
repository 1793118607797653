import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { parseDuration, parseRate } from '../config/units.ts';
import { FerryError } from '../errors.ts';
import { type FaultRule, parseFaultRules } from '../simulator/faults.ts';
import { startSimulator } from '../simulator/server.ts';
import { type GlobalOptions, printJson } from './output.ts';
import { interruption, untilAborted } from './signals.ts';

interface SimulateOptions extends GlobalOptions {
  readonly port: number;
  readonly store: string;
  readonly api: string;
  readonly faults?: string;
  readonly rate?: string;
  readonly importTime: string;
  readonly linkDelay: string;
  readonly cancelTime: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

export async function simulate(_args: string[], options: SimulateOptions): Promise<number> {
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
  const simulator = await startSimulator({
    port: options.port,
    store: options.store,
    api: versions(options.api),
    importTimeMs: time('--import-time', options.importTime),
    cancelTimeMs: time('--cancel-time', options.cancelTime),
    linkDelayMs: time('--link-delay', options.linkDelay),
    ...(bytesPerSecond === undefined ? {} : { rateBytesPerSecond: bytesPerSecond }),
    ...(tlsCert !== undefined && tlsKey !== undefined
      ? { tls: { cert: readFileSync(tlsCert, 'utf8'), key: readFileSync(tlsKey, 'utf8') } }
      : {}),
  });
  for (const rule of readFaults(options.faults)) simulator.world.faults.add(rule);
  const { url, org, user, password, catalog } = simulator;
  printJson({ url, org, user, password, catalog });
  await untilAborted(interrupt.signal);
  await simulator.close();
  return 0;
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
