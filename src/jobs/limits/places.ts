import type { Redis } from 'ioredis';
import { BlockPool } from '../../source/blocks.ts';
import type { TargetLimits } from './limits.ts';
import { freePlace, RunPlace, takePlace } from './line.ts';

export interface PlacesOptions {
  readonly redis: Redis;
  readonly leaseMs: number;
  readonly filesInParallel: number;
  /** Transfers at once in this process. */
  readonly concurrency: () => number;
  readonly limitsOf: (target: string) => TargetLimits;
  readonly onFreed: () => void;
  readonly onError: (error: Error) => void;
}

/** The places for transfers in this process, and the memory that goes with each. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #pools: BlockPool[] = [];
  #taken = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  /** No more than what others have begun and left. */
  get isFull(): boolean {
    return this.#taken >= this.#options.concurrency();
  }

  /** Places for taking over what others have begun included. */
  get hasRoom(): boolean {
    return this.#taken < Math.ceil(this.#options.concurrency() * 1.5);
  }

  /** The place that was taken for a job, as its run holds it, gives it back and takes another. */
  open(target: string, token: string): RunPlace {
    const { redis, leaseMs, limitsOf, onFreed, onError } = this.#options;
    return new RunPlace(this.#takePool(), {
      tryTake: async () => {
        if (!this.hasRoom) return undefined;
        const isTaken = await takePlace(redis, limitsOf(target), { token, leaseMs });
        return isTaken === undefined ? undefined : this.#takePool();
      },
      giveBack: (pool) => {
        this.#taken -= 1;
        this.#pools.push(pool);
        freePlace(redis, target, token).catch(onError);
        onFreed();
      },
    });
  }

  /** Three blocks for each file that is sent at once: one written, one read, one hashed. */
  #takePool(): BlockPool {
    this.#taken += 1;
    return this.#pools.pop() ?? new BlockPool(undefined, 3 * this.#options.filesInParallel);
  }
}
