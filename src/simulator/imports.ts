import { readManifest } from './descriptor.ts';
import { ApiError } from './errors.ts';
import { beginLease, type Entity, failTask, type Item, sizeOf } from './model.ts';
import { assertRoom } from './vdc.ts';
import type { World } from './world.ts';

/**
 * What happens once all files are there: nobody has to do anything more. The import waits for one of
 * the slots, takes its time, and the item is ready.
 */
export function startImport(world: World, item: Item): void {
  const { entity } = item;
  const mismatch = entity.manifestRequired ? findMismatch(entity) : undefined;
  if (mismatch !== undefined) {
    const message = `The checksum of ${mismatch} does not match the manifest.`;
    failUpload(entity, new ApiError(400, 'BAD_REQUEST', message));
    return;
  }
  entity.task.progress = 50;
  // One that waits for its turn does not run.
  entity.task.status = 'preRunning';
  world.imports.enter(() => runImport(world, item));
}

async function runImport(world: World, { entity }: Item): Promise<void> {
  if (entity.task.status !== 'preRunning') return; // cancelled while it waited
  entity.task.status = 'running';
  const { importTimeMs, importMsPerGB } = world.options;
  const ms = importTimeMs + (importMsPerGB * sizeOf(entity)) / 1e9;
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms).unref());
  if (entity.task.status !== 'running') return;
  try {
    if (entity.importFault) throw asError(entity.importFault);
    assertRoom(world, entity.profile, sizeOf(entity));
  } catch (error) {
    failUpload(entity, error as ApiError);
    return;
  }
  entity.files = [];
  entity.status = entity.kind === 'media' ? 1 : 8;
  entity.task.status = 'success';
  entity.task.progress = 100;
  entity.task.end = new Date();
  beginLease(entity);
}

function asError({ majorCode, minorCode, message }: NonNullable<Entity['importFault']>): ApiError {
  return new ApiError(majorCode, minorCode, message);
}

/** The upload has come to nothing, and its task says why. */
export function failUpload(entity: Entity, error: ApiError): void {
  entity.status = -1;
  entity.files = [];
  failTask(entity.task, error.minorCode ?? 'INTERNAL_SERVER_ERROR', error.message, error.status);
}

/** The first file whose bytes are not what the manifest says, by its name there. */
function findMismatch(entity: Entity): string | undefined {
  const manifest = entity.received.find(({ name }) => name === 'manifest.mf');
  const entries = readManifest(manifest?.sink.bytes() ?? Buffer.alloc(0));
  const named = new Set<string>();
  for (const { algorithm, name, digest } of entries) {
    // The descriptor is stored under the server's own name.
    const file =
      entity.received.find((candidate) => candidate.name === name) ??
      (/\.ovf$/i.test(name) ? entity.received[0] : undefined);
    if (!file || file.sink.digest(algorithm) !== digest) return name;
    named.add(file.name);
  }
  return entity.received.find((file) => file !== manifest && !named.has(file.name))?.name;
}
