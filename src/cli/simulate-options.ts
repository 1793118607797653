import type { Command } from 'commander';
import { collect, wholeNumber } from './upload-options.ts';

/** What `simulate` takes. */
export function withSimulateOptions(command: Command): Command {
  return command
    .option('--vss', 'a VSS content library instead of a vCD; heeds --port, --password, --faults')
    .option('--items <n>', 'how many items that library has', wholeNumber, 1_000)
    .option('--port <n>', 'port; 0 takes any free one', wholeNumber, 0)
    .option('--host <address>', 'where it listens (default: 127.0.0.1)')
    .option('--public-url <url>', 'how clients call it, if not by that address')
    .option('--password <text>', 'of its users (default: simulated)')
    .option('--store <dir>', 'keep what is uploaded there, or `discard`', 'discard')
    .option('--release <name>', 'behave as this release: 5.5, 9.7, 10.3, 10.4, 10.5 or 10.6')
    .option(
      '--api <versions>',
      "API versions that are served (default: the release's, or 39.1,38.1,37.0,36.3)",
    )
    .option('--no-legacy-login', 'answer 401 to /api/sessions, as where it is switched off')
    .option('--transfer-url <url>', "public address of transfers, if another than the API's")
    .option('--storage-profile <name=size>', 'a storage profile of the organisation', collect)
    .option('--transfer-store <size>', 'what all transfers may hold before their import')
    .option('--operations-per-user <n>', 'uploads and imports at once; 0 for any', wholeNumber, 0)
    .option('--operations-per-org <n>', 'the same for the organisation', wholeNumber, 0)
    .option('--template-lease <time>', 'after which templates are removed, like 7d')
    .option('--faults <file>', 'things that go wrong, as JSON or YAML')
    .option('--rate <rate>', 'speed of all transfers together, like 50MB/s')
    .option('--import-time <time>', 'from the last byte to being ready', '0s')
    .option('--import-time-per-gb <time>', 'in addition, for each GB', '0s')
    .option('--import-slots <n>', 'imports at once; 0 for any', wholeNumber, 0)
    .option('--session-idle <time>', 'after which an idle session ends', '30m')
    .option('--session-lifetime <time>', 'after which any session ends', '24h')
    .option('--transfer-idle <time>', 'after which a transfer without bytes ends', '60m')
    .option('--download-time <time>', 'from the wish to download something to its addresses', '0s')
    .option('--cancel-time <time>', 'from the wish to cancel a task to its end', '0s')
    .option('--link-delay <time>', "from the descriptor to the files' addresses", '0s')
    .option('--tls-cert <file>', 'serve https with this certificate')
    .option('--tls-key <file>', 'and this key');
}
