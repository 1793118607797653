import { dirname, join, relative } from 'node:path';
import { noted } from '../../destination/machine.ts';
import {
  assertRoom,
  giveName,
  isTaken,
  kindOf,
  makeFolder,
  namesIn,
  PartFile,
  removeFile,
  removeIfEmpty,
  sizeOfFile,
} from '../../destination/part-file.ts';
import { FerryError } from '../../errors.ts';
import type { DownloadState } from '../job-data.ts';
import type { Download } from '../upload-deps.ts';
import { PART, stateOf } from './fetch-part.ts';
import type { LocalPlan, MemberDigests } from './local-plan.ts';

/**
 * Makes the folders, or sees that they are still there. Intent before action: what will be made is
 * saved first, so that it is known as ours afterwards.
 *
 * @throws FerryError DESTINATION_…
 */
export async function begin(download: Download, plan: LocalPlan, begunAt: Date): Promise<void> {
  const { deps } = download;
  const before = deps.checkpoint.current.download;
  const names = plan.files.map(({ name }) => name);
  const folders = [plan.folder, ...names.map((name) => dirname(join(plan.folder, name)))];
  if (before) {
    const isFetched = Object.values(before.parts).some(
      ({ synced, digests }) => synced > 0 || digests,
    );
    // It may have died before it made them.
    if (!isFetched) for (const made of before.made) await makeFolder(made);
    // A file system that is away leaves an empty place behind.
    if ((await kindOf(plan.folder)) === 'folder') return assertRoomFor(plan);
    throw new FerryError(
      'DESTINATION_UNREACHABLE',
      `${plan.folder} was there when the download began, and is gone`,
    );
  }
  const made = await missingOf(folders);
  const all = [...names, ...plan.documentNames];
  await assertNoParts(download, plan, all);
  const none = { synced: 0, digests: null, refused: false, ...noted() };
  const parts = Object.fromEntries(all.map((name) => [name, none]));
  await deps.checkpoint.save({
    download: { path: plan.path, made, parts, begunAt: begunAt.getTime(), whole: null },
  });
  for (const folder of made) await makeFolder(folder);
  await assertRoomFor(plan);
}

/** What is not ours may be another's download, under way. @throws FerryError DESTINATION_EXISTS */
async function assertNoParts(
  { request }: Download,
  { folder }: LocalPlan,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    const path = join(folder, name + PART);
    if (!(await isTaken(path))) continue;
    if (request.ifExists !== 'replace') throw exists(path);
    await removeFile(path);
  }
}

/** @throws FerryError DESTINATION_FULL */
async function assertRoomFor({ folder, files }: LocalPlan): Promise<void> {
  let missing = 0;
  for (const { name, source } of files) {
    missing += source.size - ((await sizeOfFile(join(folder, name + PART))) ?? 0);
  }
  await assertRoom(folder, missing);
}

/** Folders that are to be made, from the outside in. */
async function missingOf(folders: readonly string[]): Promise<string[]> {
  const missing = new Set<string>();
  for (const folder of folders) {
    const way: string[] = [];
    for (let at = folder; (await kindOf(at)) === undefined; at = dirname(at)) way.unshift(at);
    for (const one of way) missing.add(one);
  }
  return [...missing];
}

/**
 * All files are whole: writes what needs their digests, and gives them their names.
 *
 * @param result what is told of the download, which from now on is known
 */
export async function finishFiles(
  download: Download,
  plan: LocalPlan,
  { digests, result }: { readonly digests: MemberDigests; readonly result: Whole },
): Promise<void> {
  const { deps, request } = download;
  if (request.ifExists !== 'replace') await assertFree(plan);
  for (const { name, source } of plan.files) {
    const path = join(plan.folder, `${name}${PART}`);
    if ((await sizeOfFile(path)) !== source.size) throw gone(path);
  }
  const documents = plan.documents(digests);
  for (const { name, bytes } of documents) await writePart(join(plan.folder, name), bytes);
  const [only] = plan.files;
  if (plan.patch && only) {
    const path = join(plan.folder, `${only.name}${PART}`);
    const { size } = only.source;
    const part = await PartFile.open(path, { size, trusted: size });
    try {
      const { bytes, position } = plan.patch(digests);
      await part.overwrite(bytes, position);
      await part.sync();
    } finally {
      await part.close();
    }
  }
  const { parts: before, ...state } = stateOf(download);
  const sizes = [
    ...plan.files.map(({ name, source: { size } }) => [name, size] as const),
    ...documents.map(({ name, bytes }) => [name, bytes.length] as const),
  ];
  // In the order in which they get their names: the descriptor last.
  const parts = Object.fromEntries(
    sizes.map(([name, synced]) => {
      const digests = before[name]?.digests ?? [];
      return [name, { synced, digests, refused: false, ...noted() }];
    }),
  );
  if (request.ifExists === 'replace') await removeOldDocuments(plan);
  deps.assertOwned();
  const whole: DownloadState = { ...state, parts, whole: result };
  await deps.checkpoint.save({ download: whole });
  await nameFiles(download, whole);
}

/** A folder with two descriptors would be two packages. What else lies there may be anybody's. */
async function removeOldDocuments({ path, folder, documentNames }: LocalPlan): Promise<void> {
  if (folder !== path || documentNames.length === 0) return;
  for (const name of await namesIn(folder)) {
    const isOld = /\.(ovf|mf|cert)$/i.test(name) && !documentNames.includes(name);
    if (isOld) await removeFile(join(folder, name));
  }
}

type Whole = NonNullable<DownloadState['whole']>;

/**
 * Gives the files their names, in the order in which they stand there; those that have theirs keep them.
 * Where one has gone it is to be fetched again.
 *
 * @throws FerryError DESTINATION_UNREACHABLE for one that has gone
 */
export async function nameFiles(download: Download, state: DownloadState): Promise<void> {
  const folder = folderOf(download, state);
  const pathOf = (name: string): string => join(folder, name);
  const unnamed: string[] = [];
  const named: string[] = [];
  const missing: string[] = [];
  for (const [name, { synced }] of Object.entries(state.parts)) {
    if ((await sizeOfFile(pathOf(name) + PART)) === synced) unnamed.push(name);
    else if ((await sizeOfFile(pathOf(name))) === synced) named.push(name);
    else missing.push(name);
  }
  download.deps.assertOwned();
  const [first] = missing;
  if (first !== undefined) {
    for (const name of named) await giveName(pathOf(name), pathOf(name) + PART);
    const parts = Object.entries(state.parts).map(([name, part]) => {
      // Documents have none: they are written again.
      const isKept = !missing.includes(name) && (part.digests?.length ?? 0) > 0;
      return [name, isKept ? part : { ...part, synced: 0, digests: null }];
    });
    await download.deps.checkpoint.save({
      download: { ...state, parts: Object.fromEntries(parts), whole: null },
    });
    throw gone(pathOf(first) + PART);
  }
  for (const name of unnamed) {
    download.deps.assertOwned();
    await giveName(pathOf(name) + PART, pathOf(name));
  }
}

function gone(path: string): FerryError {
  return new FerryError('DESTINATION_UNREACHABLE', `${path} was whole, and is gone`, {
    facts: { path },
    hint: 'Somebody removed or changed it; what is missing is fetched again.',
  });
}

/** Takes back what a download that has failed has made. */
export async function removeFiles(download: Download, state: DownloadState): Promise<void> {
  const folder = folderOf(download, state);
  for (const [name, { synced }] of Object.entries(state.parts)) {
    const path = join(folder, name);
    const isNamed = state.whole !== null && (await kindOf(path + PART)) === undefined;
    await removeFile(path + PART);
    // Only what is ours: where it was to replace something, that is still there otherwise.
    if (isNamed && (await sizeOfFile(path)) === synced) await removeFile(path);
  }
  for (const path of [...state.made].reverse()) await removeIfEmpty(path);
}

/** Where the files are: an archive or media image lies in the folder that was asked for. */
function folderOf({ request }: Download, { path, parts }: DownloadState): string {
  const own = relative(request.folder, path);
  return Object.hasOwn(parts, own) ? request.folder : path;
}

/** Something may have taken a name meanwhile. */
async function assertFree({ path, folder, files }: LocalPlan): Promise<void> {
  for (const { name } of files) {
    if (await isTaken(join(folder, name))) throw exists(join(folder, name));
  }
  if (folder !== path && (await isTaken(path))) throw exists(path);
}

export function exists(path: string): FerryError {
  return new FerryError('DESTINATION_EXISTS', `${path} exists already`, { facts: { path } });
}

async function writePart(path: string, bytes: Buffer): Promise<void> {
  const part = await PartFile.open(`${path}${PART}`, { size: bytes.length, trusted: 0 });
  try {
    await part.append(bytes);
    await part.sync();
  } finally {
    await part.close();
  }
}
