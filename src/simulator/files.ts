import { randomUUID } from 'node:crypto';
import { assertDeployable, readDescriptor } from './descriptor.ts';
import { ApiError } from './errors.ts';
import { failUpload, startImport } from './imports.ts';
import type { Entity, Item, TransferFile } from './model.ts';
import { createSink } from './storage.ts';
import type { World } from './world.ts';

/** How long is remembered what was stored when. */
const HISTORY_MS = 60_000;

/** Puts a file on the list of those that the server waits for. */
export function addFile(
  world: World,
  entity: Entity,
  name: string,
  size: number | undefined,
  keep = false,
): TransferFile {
  const file: TransferFile = {
    name,
    size,
    key: randomUUID(),
    sink: createSink({
      store: world.options.store,
      entityId: entity.id,
      name,
      algorithms: entity.manifestRequired ? ['sha1', 'sha256', 'sha512'] : ['sha256'],
      keep,
    }),
    complete: false,
    ranges: [],
    history: [],
  };
  entity.files.push(file);
  entity.received.push(file);
  return file;
}

/** Bytes of a file in their order, wherever they come from. */
export async function storeBytes(
  world: World,
  { item, file }: { readonly item: Item; readonly file: TransferFile },
  bytes: Buffer,
): Promise<void> {
  await file.sink.write(bytes);
  const at = Date.now();
  file.history.push({ at, stored: file.sink.stored });
  if ((file.history[0]?.at ?? at) < at - HISTORY_MS) file.history.shift();
  world.touchTransfer(item.entity);
}

/** A file has all its bytes: what follows depends on which file it is. */
export async function finishFile(world: World, item: Item, file: TransferFile): Promise<void> {
  file.complete = true;
  file.completedAt = Date.now();
  await file.sink.close();
  const { entity } = item;
  if (entity.kind !== 'media' && file === entity.received[0]) {
    const { linkDelayMs } = world.options;
    if (linkDelayMs === 0) acceptDescriptor(world, item, file);
    else setTimeout(() => acceptDescriptor(world, item, file), linkDelayMs).unref();
  } else if (entity.files.every(({ complete }) => complete)) {
    startImport(world, item);
  }
}

/** Validates the descriptor and opens the files' addresses, or fails the whole upload. */
function acceptDescriptor(world: World, item: Item, file: TransferFile): void {
  const { entity } = item;
  if (entity.descriptorUploaded || entity.status !== 0) return;
  try {
    const expected = readDescriptor(file.sink.bytes());
    if (entity.deployment) assertDeployable(file.sink.bytes(), entity.deployment);
    if (entity.manifestRequired) addFile(world, entity, 'manifest.mf', undefined, true);
    for (const { name, size } of expected) addFile(world, entity, name, size);
  } catch (error) {
    failUpload(entity, new ApiError(400, 'BAD_REQUEST', (error as Error).message));
    return;
  }
  entity.descriptorUploaded = true;
  if (entity.files.every(({ complete }) => complete)) startImport(world, item);
}
