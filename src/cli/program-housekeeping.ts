import type { Command } from 'commander';
import type { Add } from './command.ts';

/** The commands that change what is in catalogs, without moving bytes over our line. */
export function addHousekeeping(program: Command, add: Add): void {
  const load = async () => import('./housekeeping.ts');
  const command = (name: string, what: string): Command =>
    program
      .command(name)
      .description(what)
      .option('--dry-run', 'say what would happen, and do nothing');
  add(
    command('move', 'move items to another catalog of the same target').argument(
      '<item...>',
      'TARGET/CATALOG/ITEM, or a glob; then TARGET/CATALOG, where to',
    ),
    async () => (await load()).move,
    {
      'ovaferry move "lab/appliances/ubuntu-20*" lab/archive':
        'as one operation of the server each',
    },
  );
  add(
    command('rename', 'give an item another name')
      .argument('<target/catalog/item>', 'which')
      .argument('<name>', 'its new name'),
    async () => (await load()).rename,
    { 'ovaferry rename lab/appliances/ubuntu ubuntu-22.04': 'its description stays' },
  );
  add(
    command('describe', 'give items another description').argument(
      '<item...>',
      'TARGET/CATALOG/ITEM, or a glob; then the text',
    ),
    async () => (await load()).describe,
    { 'ovaferry describe lab/appliances/ubuntu "Golden image of May"': 'its name stays' },
  );
  add(
    command('rm', 'remove items, after a question')
      .argument('<target/catalog/item...>', 'which; the item may be a glob')
      .option('--yes', 'do not ask'),
    async () => (await load()).rm,
    {
      'ovaferry rm "lab/archive/*" --dry-run': 'what would be removed',
      'ovaferry rm lab/archive/ubuntu-18.04 --yes': 'for scripts',
    },
  );
  add(
    command('sync', 'fill subscribed catalogs, or items of theirs, from their source').argument(
      '<target/catalog[/item]...>',
      'which; the item may be a glob',
    ),
    async () => (await load()).sync,
    { 'ovaferry sync lab/subscribed': 'waits until the server is done' },
  );
}
