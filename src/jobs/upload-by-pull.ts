import { createHash } from 'node:crypto';
import { type EntityState, isReady } from '../vcd/entity.ts';
import { addHrefOf, claimItem } from './claim-item.ts';
import { finish } from './finish.ts';
import { slowPace, untilEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';

/**
 * Lets the server fetch a package from an address by itself (`sourceHref`), and follows its task. The
 * item has a name of this job's own until it is ready, because the package's description takes the
 * place of ours, and of our mark in it.
 *
 * @param content names what is fetched: by default its address
 */
export async function uploadByPull(
  begun: Upload,
  content = createHash('sha256').update(begun.request.path).digest('base64url'),
): Promise<UploadResult> {
  const { deps, request, context } = begun;
  const upload: OpenUpload = { ...begun, content, contentKey: undefined };
  const claim = await claimItem(upload, 0, (catalog, named) =>
    deps.vcd.createTemplate(
      addHrefOf(catalog, 'ovf'),
      { ...named, manifestRequired: false, sourceHref: request.path },
      context,
    ),
  );
  if ('there' in claim) return claim.there;
  deps.line.free(); // no byte of it goes over our line
  return finish(upload, claim.item, await untilFetched(upload, claim.item));
}

function untilFetched(upload: Upload, item: OwnItem): Promise<EntityState> {
  const { meter } = upload.deps;
  meter.enter('transferring');
  const isDone = (entity: EntityState): EntityState | undefined => {
    const known = entity.files.filter(({ size }) => size !== undefined);
    meter.expect(known.map(({ name, size = 0 }) => ({ name, size })));
    for (const { name, bytesTransferred } of known) meter.kept(name, bytesTransferred);
    if (known.every(({ size, bytesTransferred }) => size === bytesTransferred)) {
      meter.enter('importing');
    }
    return isReady(entity) ? entity : undefined;
  };
  return untilEntity(upload, item, isDone, slowPace(upload));
}
