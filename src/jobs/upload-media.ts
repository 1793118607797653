import type { MediaImage, OpenImage } from '../ovf/image.ts';
import { addHrefOf, claimItem } from './claim-item.ts';
import { finish, untilImported } from './finish.ts';
import { untilEntity } from './follow.ts';
import { sendFile } from './send-file.ts';
import { untilSettled } from './settle.ts';
import type { OpenUpload, UploadResult } from './upload-deps.ts';

/** Uploads an ISO or any other file (guide, "Upload a Media Image"). As `uploadPackage`, without a descriptor. */
export async function uploadMedia(
  upload: OpenUpload,
  { file, isIso, assertUnchanged }: MediaImage & Pick<OpenImage, 'assertUnchanged'>,
): Promise<UploadResult> {
  const { deps, context, owner } = upload;
  deps.meter.expect([{ name: 'file', size: file.size }]);

  const claim = await claimItem(upload, file.size, (catalog, named) =>
    deps.vcd.createMedia(
      addHrefOf(catalog, 'media'),
      {
        ...named,
        size: file.size,
        imageType: isIso ? 'iso' : undefined,
        // The same key again would give the old item back. Servers of old do not know it.
        ...(catalog.addItemHref === undefined
          ? {
              operationKey: `${owner.installation}-${deps.checkpoint.current.creation}`,
            }
          : {}),
      },
      context,
    ),
  );
  if ('there' in claim) return claim.there;
  const { item } = claim;
  for (let resumed = !claim.isNew; ; resumed = true) {
    deps.meter.enter('transferring');
    if (resumed) await untilSettled(upload, item);
    const wanted = await untilEntity(upload, item, ({ files: [only], status }) => {
      if (only?.uploadHref !== undefined) return only;
      return status > 0 || only?.bytesTransferred === file.size ? 'complete' : undefined;
    });
    if (wanted !== 'complete') {
      await deps.line.take(context.signal);
      const sending = { name: wanted.name, href: 'file', source: file, checks: [], item };
      const how = { resumed, assertUnchanged, isVouched: false };
      await sendFile(upload, { ...sending, ...how }, wanted);
    }
    deps.meter.kept('file', file.size);
    const imported = await untilImported(upload, item);
    if (imported) return finish(upload, item, imported);
  }
}
