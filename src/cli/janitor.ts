import { loadConfig } from '../config/load.ts';
import { openFerry } from '../index.ts';
import { type GlobalOptions, printJson, say } from './output.ts';
import { interruption } from './signals.ts';

/** Lists what uploads of this installation left behind on a target; removes it with --yes. */
export async function janitor(
  [place = '']: string[],
  options: GlobalOptions & { readonly yes?: boolean },
): Promise<number> {
  const removed = options.yes ?? false;
  const ferry = await openFerry(loadConfig({ file: options.config, redis: options.redis }));
  const interrupt = interruption();
  try {
    const leftovers = await ferry.leftovers(place, interrupt.signal);
    if (removed) await ferry.removeLeftovers(place, leftovers, interrupt.signal);
    if (options.json) printJson(leftovers.map((leftover) => ({ ...leftover, removed })));
    else {
      for (const { what, catalog, name, job } of leftovers) {
        const state = removed ? 'removed' : 'left behind';
        const said = what === 'item' ? state : `is whole; the mark in its description: ${state}`;
        say(`${catalog}/${name}: ${said} (job ${job})`, options);
      }
      if (leftovers.length === 0) say('nothing was left behind', options);
      else if (!removed) say('Remove it with --yes.', options);
    }
    return 0;
  } finally {
    interrupt.close();
    await ferry.close();
  }
}
