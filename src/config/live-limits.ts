import { stat } from 'node:fs/promises';
import { classify } from '../errors.ts';
import type { Limits } from './limits.ts';
import type { Config } from './load.ts';

const LOOK_MS = 2_000;

export interface LiveLimitsOptions {
  readonly onChange: () => void;
  /** The file can't be read any more, or what it says now is wrong: what held before still holds. */
  readonly onError: (error: Error) => void;
}

/** The limits of a configuration file as it is now: they change without a restart. */
export class LiveLimits {
  #config: Config;
  readonly #options: LiveLimitsOptions;
  #limits: Limits;
  #seen = '';
  #timer: NodeJS.Timeout | undefined;

  private constructor(config: Config, limits: Limits, options: LiveLimitsOptions) {
    this.#config = config;
    this.#limits = limits;
    this.#options = options;
  }

  static async open(config: Config, options: LiveLimitsOptions): Promise<LiveLimits> {
    const live = new LiveLimits(config, await config.limits(), options);
    live.#seen = await stateOf(config.file);
    live.#lookLater();
    return live;
  }

  get current(): Limits {
    return this.#limits;
  }

  /** As the file says now: for secrets, which may have been corrected in it. */
  get config(): Config {
    return this.#config;
  }

  /** Reads the file again. What is wrong with it is told to `onError`. */
  async reload(): Promise<void> {
    this.#seen = await stateOf(this.#config.file);
    try {
      const config = this.#config.reload();
      const limits = await config.limits();
      this.#config = config;
      // A target that is gone from the file is served until the next start, as it was.
      const targets = new Map([...this.#limits.targets, ...limits.targets]);
      this.#limits = { ...limits, targets };
      this.#options.onChange();
    } catch (error) {
      this.#options.onError(classify(error));
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Looked at, not watched: mounted files and those that editors replace are seen by that alone. */
  #lookLater(): void {
    this.#timer = setTimeout(async () => {
      if ((await stateOf(this.#config.file)) !== this.#seen) await this.reload();
      if (this.#timer) this.#lookLater();
    }, LOOK_MS).unref();
  }
}

async function stateOf(file: string | undefined): Promise<string> {
  if (file === undefined) return '';
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return 'gone'; // an editor may be at it
  }
}
