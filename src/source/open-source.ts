import { type FileIdentity, identityOfFile, LocalFile } from './local-file.ts';
import type { SourceFile } from './source-file.ts';

/** Whether a source is an address, and no path. */
export function isAddress(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

/** @throws FerryError SOURCE_NOT_FOUND, SOURCE_UNREADABLE, SOURCE_UNREACHABLE */
export async function openSource(source: string): Promise<SourceFile> {
  if (!isAddress(source)) return LocalFile.open(source);
  const { HttpFile } = await import('./http-file.ts'); // most sources are files
  return HttpFile.open(new URL(source));
}

/** @throws FerryError as `openSource` */
export async function identityOfSource(source: string): Promise<FileIdentity> {
  if (!isAddress(source)) return identityOfFile(source);
  const file = await openSource(source);
  await file.close();
  return file.identity;
}
