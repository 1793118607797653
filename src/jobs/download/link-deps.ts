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

/** What a job has for it. @param vcd of the target that is read from, by default the job's own */
export function linkDeps(deps: UploadDeps, vcd: UploadDeps['vcd'] = deps.vcd): LinkDeps {
  const { offers, newPatience, settings, log, checkpoint } = deps;
  return {
    ...{ vcd, offers, newPatience, settings, log },
    memory: {
      get current() {
        return checkpoint.current.offer;
      },
      save: (offer) => checkpoint.save({ offer }),
      note: (offer) => checkpoint.note({ offer }),
    },
  };
}
