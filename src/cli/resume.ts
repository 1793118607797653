import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
import { type GlobalOptions, printJson, say } from './output.ts';

/** Lets the jobs of braked targets go on. */
export async function resume(targets: string[], options: GlobalOptions): Promise<number> {
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  try {
    const resumed: { target: string; lifted: boolean }[] = [];
    for (const target of targets) resumed.push({ target, lifted: await ferry.resume(target) });
    if (options.json) printJson(resumed);
    else {
      for (const { target, lifted } of resumed) {
        say(`${target}: ${lifted ? 'its jobs go on' : 'nothing kept its jobs back'}`, options);
      }
    }
    return 0;
  } finally {
    await ferry.close();
  }
}
