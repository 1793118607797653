import { ApiError } from './errors.ts';
import { finishFile, storeBytes } from './files.ts';
import { failUpload } from './imports.ts';
import { type Item, isOpen, type TransferFile } from './model.ts';
import { parseSafely, textAt } from './validate.ts';
import type { World } from './world.ts';
import { OVF } from './xml.ts';

/**
 * `sourceHref`: the server fetches the descriptor and then the files beside it, by itself. The package's
 * own annotation becomes the description.
 */
export async function pull(world: World, item: Item, source: string): Promise<void> {
  const { entity } = item;
  try {
    const [descriptor] = entity.files;
    if (descriptor) await fetchInto(world, item, { file: descriptor, url: new URL(source) });
    while (!entity.descriptorUploaded && isOpen(entity.task)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    item.description = annotationOf(entity.received[0]?.sink.bytes()) ?? '';
    for (const file of entity.files.slice(1)) {
      await fetchInto(world, item, { file, url: new URL(encodeURI(file.name), source) });
    }
  } catch (error) {
    failUpload(
      entity,
      new ApiError(
        500,
        'INTERNAL_SERVER_ERROR',
        `Can not read ${source}: ${(error as Error).message}`,
      ),
    );
  }
}

async function fetchInto(
  world: World,
  item: Item,
  { file, url }: { readonly file: TransferFile; readonly url: URL },
): Promise<void> {
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`${url.pathname}: ${response.status}`);
  for await (const chunk of response.body) {
    if (!isOpen(item.entity.task)) throw new Error('the task has ended');
    await storeBytes(world, { item, file }, Buffer.from(chunk as Uint8Array));
    await world.throttle((chunk as Uint8Array).length);
  }
  await finishFile(world, item, file);
}

function annotationOf(descriptor: Buffer | undefined): string | undefined {
  const root = descriptor && parseSafely(descriptor).root();
  return root ? textAt(root, '//o:AnnotationSection/o:Annotation', { o: OVF }) : undefined;
}
