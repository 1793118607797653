import { FerryError } from '../errors.ts';
import { bytesOf, type OpenImage } from '../ovf/image.ts';
import type { OvfPackage } from '../ovf/package.ts';
import { firstUnchecked } from '../ovf/references.ts';
import type { EntityState, WantedFile } from '../vcd/entity.ts';
import { addHrefOf, claimItem } from './claim-item.ts';
import { finish, untilImported } from './finish.ts';
import { untilEntity } from './follow.ts';
import type { OwnItem } from './job-data.ts';
import { sendFile } from './send-file.ts';
import {
  assertManifestWanted,
  checksWith,
  findManifestFile,
  makeManifest,
} from './server-manifest.ts';
import { untilSettled } from './settle.ts';
import type { OpenUpload, Upload, UploadResult } from './upload-deps.ts';
import { findWanted } from './wanted-file.ts';

/**
 * Uploads an OVF package: finds the item that this job began or creates one, sends the descriptor,
 * waits for the files' addresses, sends of each file what the server lacks, and waits for the
 * import. First start and resume are the same path, because each step first reads what the server
 * has (guide, "Upload an OVF Package to Create a vApp Template").
 */
export async function uploadPackage(
  upload: OpenUpload,
  image: OvfPackage & Pick<OpenImage, 'assertUnchanged'>,
): Promise<UploadResult> {
  const { deps, context } = upload;
  deps.meter.expect(image.files.map(({ href, size }) => ({ name: href, size })));

  const claim = await claimItem(upload, bytesOf(image), (catalog, named) =>
    deps.vcd.createTemplate(
      addHrefOf(catalog, 'ovf'),
      { ...named, manifestRequired: upload.request.verify === 'server' },
      context,
    ),
  );
  if ('there' in claim) return claim.there;
  const { item } = claim;
  let isDescribed = false;
  for (let resumed = !claim.isNew; ; resumed = true) {
    deps.meter.enter('describing');
    isDescribed = (await sendDocument(upload, item, descriptorOf(image))) || isDescribed;
    const entity = await untilLinked(upload, item, { image, isDescribed });
    if (!entity) continue;
    assertManifestWanted(upload, entity, image);
    await deps.line.take(context.signal); // the links may have taken long
    deps.meter.enter('transferring');
    await sendFiles(upload, { item, image, entity, resumed });
    // Last, since it may be made of what has just gone through.
    if (findManifestFile(entity, image)) {
      const manifest = await makeManifest(upload, image);
      await sendDocument(upload, item, {
        bytes: manifest,
        find: (now) => findManifestFile(now, image),
        isAccepted: ({ bytesTransferred }) => bytesTransferred >= manifest.length,
      });
    }
    const imported = await untilImported(upload, item);
    if (imported) return finish(upload, item, imported);
  }
}

/** The server's own file for the descriptor: the one that no reference of ours names. */
function findDescriptorFile(entity: EntityState, image: OvfPackage): WantedFile | undefined {
  const named = new Set(image.files.map(({ href }) => findWanted(entity, href)));
  return entity.files.find((file) => !named.has(file) && !/\.mf$/i.test(file.name));
}

/** A small file that goes in one piece. */
interface Document {
  readonly bytes: Buffer;
  readonly find: (entity: EntityState) => WantedFile | undefined;
  readonly isAccepted: (file: WantedFile, entity: EntityState) => boolean;
}

function descriptorOf(image: OvfPackage): Document {
  return {
    bytes: image.descriptor,
    find: (entity) => findDescriptorFile(entity, image),
    // By its count, or by what follows from it: the count alone may lag or be the server's own.
    isAccepted({ bytesTransferred, size }, entity) {
      if (bytesTransferred >= image.descriptor.length) return true;
      if (bytesTransferred > 0 && bytesTransferred === size) return true;
      return image.files.length > 0 && image.files.every(({ href }) => findWanted(entity, href));
    },
  };
}

/** @returns whether the server has taken it from us now; else it says that it has it */
async function sendDocument(upload: Upload, item: OwnItem, document: Document): Promise<boolean> {
  const { deps, context } = upload;
  const { signal } = context;
  const patience = deps.newPatience();
  for (;;) {
    // A template without files has been described, or is ready: the later steps see which.
    const wanted = await untilEntity(upload, item, (entity) => {
      if (entity.files.length === 0) return entity.status > 0 ? 'there' : undefined;
      const file = document.find(entity);
      if (!file || document.isAccepted(file, entity)) return 'there';
      return file.uploadHref === undefined ? undefined : file; // its address may come later
    });
    if (wanted === 'there') return false;
    deps.assertOwned();
    try {
      const { uploadHref = '', bytesTransferred } = wanted;
      await deps.vcd.putDocument(uploadHref, document.bytes, bytesTransferred, context);
      return true;
    } catch (error) {
      await patience.afterFailure(error, signal); // the reply may be lost: look, then send again
    }
  }
}

/** So often may the server show the files, and not the manifest that it is to check. */
const LOOKS_FOR_MANIFEST = 8;

/** So often may the server count less of the descriptor than it was taken to have. */
const LOOKS_FOR_DESCRIPTOR = 6;

/**
 * Waits until every file of the package has its address, or nothing is waited for any more.
 *
 * @returns undefined where the server waits for the descriptor after all, which it had only been said to have
 */
async function untilLinked(
  upload: Upload,
  item: OwnItem,
  { image, isDescribed }: { readonly image: OvfPackage; readonly isDescribed: boolean },
): Promise<EntityState | undefined> {
  const { find, isAccepted } = descriptorOf(image);
  let looksWithoutManifest = 0;
  let looksWithoutDescriptor = 0;
  const end = await untilEntity(upload, item, (entity) => {
    if (entity.status > 0 || entity.files.length === 0) return { entity };
    const descriptor = find(entity);
    const isMissing = !isDescribed && descriptor && !isAccepted(descriptor, entity);
    looksWithoutDescriptor = isMissing ? looksWithoutDescriptor + 1 : 0;
    if (looksWithoutDescriptor > LOOKS_FOR_DESCRIPTOR) return { entity: undefined };
    assertNothingElseWanted(entity, image);
    const linked = image.files.every(({ href, size }) => {
      const file = findWanted(entity, href);
      return (
        file !== undefined && (file.uploadHref !== undefined || file.bytesTransferred === size)
      );
    });
    if (!linked) return undefined;
    if (upload.request.verify !== 'server' || findManifestFile(entity, image)) return { entity };
    looksWithoutManifest += 1; // the server may still be at it
    return looksWithoutManifest > LOOKS_FOR_MANIFEST ? { entity } : undefined;
  });
  return end.entity;
}

interface FilesToSend {
  readonly item: OwnItem;
  readonly image: OvfPackage & Pick<OpenImage, 'assertUnchanged'>;
  readonly entity: EntityState;
  readonly resumed: boolean;
}

async function sendFiles(
  upload: Upload,
  { item, image, entity, resumed }: FilesToSend,
): Promise<void> {
  const { deps } = upload;
  const started = resumed ? await untilSettled(upload, item) : entity;
  if (started.files.length === 0) {
    for (const { href, size } of image.files) deps.meter.kept(href, size);
    return;
  }
  const { assertUnchanged } = image;
  const isVouched =
    upload.request.verify !== 'off' &&
    image.files.every((file) => firstUnchecked(file) === undefined);
  const waiting = [...image.files];
  const failed = new AbortController();
  const signal = AbortSignal.any([upload.context.signal, failed.signal]);
  const own: Upload = { ...upload, context: { ...upload.context, signal } };
  const sendNext = async (): Promise<void> => {
    for (let file = waiting.shift(); file && !signal.aborted; file = waiting.shift()) {
      const wanted = findWanted(started, file.href);
      if (!wanted) continue;
      const { href, source } = file;
      const checks = checksWith(file, upload.request);
      const sending = { name: wanted.name, href, source, checks, item, resumed };
      await sendFile(own, { ...sending, assertUnchanged, isVouched }, wanted);
      deps.meter.kept(file.href, file.size);
    }
  };
  const lanes = Array.from({ length: deps.settings.filesInParallel }, async () => {
    try {
      await sendNext();
    } catch (error) {
      failed.abort(error); // the other files stop, too; the first failure is the one that is told
      throw failed.signal.reason;
    }
  });
  await Promise.allSettled(lanes);
  upload.context.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
}

/** A server that waits for a file that the package lacks would wait for ever. */
function assertNothingElseWanted(entity: EntityState, image: OvfPackage): void {
  const descriptor = findDescriptorFile(entity, image);
  const known = new Set([
    descriptor,
    findManifestFile(entity, image),
    ...image.files.map(({ href }) => findWanted(entity, href)),
  ]);
  const strange = entity.files.find(
    (file) => !known.has(file) && file.bytesTransferred !== file.size,
  );
  if (!strange) return;
  throw new FerryError(
    'VCD_REJECTED',
    `the server waits for ${strange.name}, which the package lacks`,
    {
      facts: { member: strange.name },
    },
  );
}
