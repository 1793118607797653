import type { ByteSource } from './byte-source.ts';
import type { FileIdentity } from './local-file.ts';

/** A file that is held open until it is closed, wherever it lies. */
export interface SourceFile extends ByteSource {
  readonly identity: FileIdentity;
  /** Compares it with what was opened. @throws FerryError SOURCE_CHANGED */
  assertUnchanged(): Promise<void>;
  close(): Promise<void>;
}
