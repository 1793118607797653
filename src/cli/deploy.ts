import { loadConfig } from '../config/load.ts';
import { FerryError } from '../errors.ts';
import type { Ferry, JobDetails, UploadOrder } from '../index.ts';
import { enqueueAndLeave } from './enqueue.ts';
import { commonOptionsOf, type WaitingOptions } from './sources.ts';
import { enqueueAndWait } from './wait.ts';

export interface DeployOptions extends WaitingOptions {
  readonly to: string;
  readonly vdc: string;
  readonly name?: string;
  readonly description?: string;
  readonly network?: readonly string[];
  readonly acceptEulas?: boolean;
  readonly powerOn?: boolean;
  readonly verify: 'full' | 'off';
  readonly ifExists: 'fail' | 'skip';
}

/** Makes a vApp of a package, in a virtual data centre. */
export async function deploy([source = '']: string[], options: DeployOptions): Promise<number> {
  const config = loadConfig({ file: options.config, redis: options.redis });
  const { enqueueOptions, ...common } = commonOptionsOf(options);
  const { to, vdc, name, description, verify, ifExists, acceptEulas, powerOn } = options;
  const networks = Object.fromEntries((options.network ?? []).map(mappingOf));
  const order: UploadOrder = {
    ...{ ...common, source, to, name, description, verify, ifExists },
    deploy: { vdc, acceptEulas, powerOn, networks },
  };
  const enqueue = (ferry: Ferry): Promise<JobDetails[]> => ferry.enqueue([order], enqueueOptions);
  if (options.detach) return enqueueAndLeave(config, options, enqueue);
  return enqueueAndWait(config, options, {
    enqueue,
    done: ({ name: done }) => `${done} was deployed before; --again deploys it anew`,
  });
}

/** `SOURCE=TARGET`; a name may have an equals sign in its first part. */
function mappingOf(text: string): [source: string, target: string] {
  const at = text.lastIndexOf('=');
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new FerryError('USAGE', `--network ${text}: expected "NETWORK OF THE PACKAGE=NETWORK"`);
}
