import type { Offer } from '../job-data.ts';
import type { UploadDeps } from '../upload-deps.ts';

/** What reading from an item takes. */
export interface LinkDeps
  extends Pick<UploadDeps, 'vcd' | 'offers' | 'newPatience' | 'settings' | 'log'> {
  /** What is remembered of it. */
  readonly memory: {
    readonly current: Offer | null;
    save(offer: Offer): Promise<void>;
    note(offer: Offer): void;
  };
}

export interface ItemPlace {
  readonly target: string;
  readonly catalog: string;
  readonly name: string;
}
