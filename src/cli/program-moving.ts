import type { Command } from 'commander';
import type { Add } from './command.ts';
import {
  collect,
  withCopyOptions,
  withDeployOptions,
  withDownloadOptions,
  withUploadOptions,
} from './upload-options.ts';

/** The commands that move bytes. */
export function addMoving(program: Command, add: Add): void {
  addUploading(program, add);
  addFetching(program, add);
  addCopying(program, add);
  addDeploying(program, add);
}

function addDeploying(program: Command, add: Add): void {
  add(
    withDeployOptions(program.command('deploy')).description(
      'make a vApp of a package, in a virtual data centre',
    ),
    async () => (await import('./deploy.ts')).deploy,
    {
      'ovaferry deploy ubuntu.ova --to lab --vdc acme-vdc --network "VM Network=office" --power-on':
        'ends when it runs',
      'ovaferry deploy appliance.ova --to lab --vdc acme-vdc --accept-eulas':
        'stays off; its licences are accepted',
    },
  );
}

function addUploading(program: Command, add: Add): void {
  add(
    withUploadOptions(program.command('upload')).description(
      'enqueue, show progress, and wait for the end',
    ),
    async () => (await import('./upload.ts')).upload,
    {
      'ovaferry upload ubuntu.ova --to lab': "into the target's default catalog",
      'ovaferry upload tools.iso --to lab/images --if-exists skip':
        'nothing to do if the same is there already',
      'ovaferry upload /images --to lab --dry-run': 'what would happen, and what would fail',
    },
  );
  add(
    withUploadOptions(program.command('enqueue')).description('enqueue and return at once'),
    async () => (await import('./enqueue.ts')).enqueue,
    {
      'ovaferry enqueue "/images/*.ova" --to lab --to prod --batch weekend':
        'each to two targets, as one batch',
      'ovaferry enqueue --manifest uploads.yaml --order smallest': 'what a file lists',
      'ovaferry enqueue big.ova --to lab --start-at 2026-11-30T22:00 --deadline 2026-12-01T06:00':
        'tonight; status says whether it will be done in time',
      'ovaferry enqueue big.ova --to near --then far --then farther':
        'once over the slow line; the others get it from there',
      'ovaferry enqueue https://images.example.com/ubuntu.ova --to lab':
        'read by ranges from a web server',
    },
  );
  add(
    program
      .command('worker')
      .description('take jobs until stopped')
      .option('--pool <name>', 'also take jobs of this pool; may be said several times', collect)
      .option('--listen <address>', 'serve /metrics, /healthz and /readyz, like 127.0.0.1:9464'),
    async () => (await import('./worker.ts')).worker,
    {
      'ovaferry worker': 'as many as you like, on as many machines as you like',
      'ovaferry worker --pool nas1 --listen 127.0.0.1:9464':
        'also what only this machine can read; with metrics',
    },
  );
}

function addFetching(program: Command, add: Add): void {
  add(
    withDownloadOptions(program.command('download')).description(
      'fetch items of catalogs to a folder, and wait for the end',
    ),
    async () => (await import('./download.ts')).download,
    {
      'ovaferry download lab/appliances/ubuntu -o /backup':
        'a folder ubuntu with descriptor, manifest and disks',
      'ovaferry download "lab/appliances/*" -o /backup --ova --if-exists skip':
        'each package as one archive, but not what is there',
      'ovaferry download lab/images/tools --batch restore --detach': 'enqueue and return at once',
    },
  );
}

function addCopying(program: Command, add: Add): void {
  add(
    withCopyOptions(program.command('copy')).description(
      'copy items to another catalog, of the same vCD or another',
    ),
    async () => (await import('./copy.ts')).copy,
    {
      'ovaferry copy lab/appliances/ubuntu prod/appliances':
        'from cloud to cloud; nothing lies on a disk in between',
      'ovaferry copy "lab/appliances/ubuntu-*" lab/archive':
        "within one vCD, by the server's own copy",
      'ovaferry copy lab/appliances prod/appliances --all':
        'a mirror: what holds the same is skipped',
    },
  );
}
