import type { MediaImage, OpenImage } from '../ovf/image.ts';
import { addHrefOf, claimItem } from './claim-item.ts';
import { finish, untilImported } from './finish.ts';
import { untilEntity } from './follow.ts';
import { sendFile } from './send-file.ts';
import type { OpenUpload, UploadResult } from './upload-deps.ts';

/** Uploads an ISO or any other file (guide, "Upload a Media Image"). As `uploadPackage`, without a descriptor. */
export async function uploadMedia(
  upload: OpenUpload,
  { file, assertUnchanged }: MediaImage & Pick<OpenImage, 'assertUnchanged'>,
): Promise<UploadResult> {
  const { deps, request, context, token } = upload;
  deps.meter.expect([{ name: 'file', size: file.size }]);

  const item = await claimItem(upload, (catalog, description) =>
    deps.vcd.createMedia(
      addHrefOf(catalog, 'media'),
      {
        name: request.name,
        description,
        size: file.size,
        imageType: /\.iso$/i.test(request.path) ? 'iso' : undefined,
        // The same key again would give the old item back.
        operationKey: `${token.replaceAll(/[^\w-]/g, '')}-${deps.checkpoint.current.restarts}`,
      },
      context,
    ),
  );
  for (let resumed = !item.isNew; ; resumed = true) {
    deps.meter.enter('transferring');
    const wanted = await untilEntity(upload, item, ({ files: [only], status }) => {
      if (only?.uploadHref !== undefined) return only;
      return status > 0 || only?.bytesTransferred === file.size ? 'complete' : undefined;
    });
    if (wanted !== 'complete') {
      const partly = wanted.bytesTransferred > 0 && wanted.bytesTransferred < file.size;
      const sending = { name: wanted.name, href: 'file', source: file, checks: [], item };
      await sendFile(upload, { ...sending, resumed: resumed && partly, assertUnchanged }, wanted);
    }
    deps.meter.kept('file', file.size);
    const imported = await untilImported(upload, item);
    if (imported) return finish(upload, item, imported);
  }
}
