import { FerryError } from '../../src/errors.ts';
import { ChunkSizer } from '../../src/jobs/chunks.ts';
import { cleanUp, type ReadyItem } from '../../src/jobs/clean-up.ts';
import { type Checkpoint, NO_CHECKPOINT, type UploadRequest } from '../../src/jobs/job-data.ts';
import { createThrottle } from '../../src/jobs/limits/throttle.ts';
import { type TransferWindow, transferWindow } from '../../src/jobs/limits/transfer-window.ts';
import { Meter } from '../../src/jobs/meter.ts';
import { Patience } from '../../src/jobs/retry.ts';
import { runUpload } from '../../src/jobs/run-upload.ts';
import type { Upload, UploadResult, UploadSettings } from '../../src/jobs/upload-deps.ts';
import { type LocatedImage, locateImage, openImage } from '../../src/ovf/image.ts';
import { type Simulator, startSimulator } from '../../src/simulator/server.ts';
import type { SimulatorOptions } from '../../src/simulator/world.ts';
import { BlockPool } from '../../src/source/blocks.ts';
import { VcdClient, type VcdOptions } from '../../src/vcd/client.ts';

/** A simulator, a client of it, and uploads without a queue around them. */
export interface UploadWorld {
  readonly simulator: Simulator;
  readonly vcd: VcdClient;
  /** Runs one upload; called again with the same checkpoint it is what a second worker does. */
  upload(source: string, options?: UploadOptions): Promise<UploadResult>;
  /** What `upload` remembered last. */
  readonly remembered: { current: Checkpoint };
  /** Errors that were waited for, in order. */
  readonly retried: FerryError[];
  readonly meter: { current: Meter };
  /** What became of the last upload's traces. */
  cleanUp(): Promise<ReadyItem | undefined>;
}

/** `name` is the method's. */
type AroundCall = (call: number, when: 'before' | 'after', name: string) => void;

export interface UploadOptions
  extends Partial<
    Omit<UploadRequest, 'kind' | 'source' | 'path' | 'target' | 'batch' | 'identity'>
  > {
  readonly jobId?: string;
  /** Jobs that are known besides. */
  readonly living?: readonly string[];
  readonly media?: boolean;
  readonly chunkBytes?: number;
  readonly window?: TransferWindow;
  readonly filesInParallel?: number;
  readonly signal?: AbortSignal;
  readonly patienceMs?: number;
  readonly settleMs?: number;
  /** How often the server is asked, in place of at once. */
  readonly pace?: Partial<UploadSettings>;
  /** Called around each call of the API, which it ends by throwing. */
  readonly around?: AroundCall;
  /** Called before each write to the target, as the lease is. */
  readonly assertOwned?: () => void;
}

const QUIET = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export async function withUploads<T>(
  options: SimulatorOptions,
  use: (world: UploadWorld) => Promise<T>,
  client: Partial<VcdOptions> = {},
): Promise<T> {
  const simulator = await startSimulator(options);
  const vcd = clientOf(simulator, client);
  const remembered = { current: NO_CHECKPOINT };
  const meter = { current: new Meter({ files: [], bytesResent: 0, bytesLost: 0 }) };
  const retried: FerryError[] = [];
  let last: Upload | undefined;
  try {
    return await use({
      simulator,
      vcd,
      remembered,
      retried,
      meter,
      async upload(source, uploadOptions = {}) {
        meter.current = new Meter({
          files: [],
          bytesResent: remembered.current.bytesResent,
          bytesLost: remembered.current.bytesLost,
        });
        last = await newUpload(source, uploadOptions, {
          vcd,
          remembered,
          retried,
          meter: meter.current,
        });
        return runUpload(last);
      },
      cleanUp: () => cleanUp(last as Upload),
    });
  } finally {
    vcd.close();
    await simulator.close();
  }
}

/** A client of the simulator. */
export function clientOf(simulator: Simulator, options: Partial<VcdOptions> = {}): VcdClient {
  const { user, password } = simulator;
  return new VcdClient({
    url: new URL(simulator.url),
    org: simulator.org,
    credentials: () => Promise.resolve({ kind: 'password', user, password }),
    trust: {},
    ...options,
  });
}

async function newUpload(
  source: string,
  options: UploadOptions,
  parts: {
    vcd: VcdClient;
    remembered: { current: Checkpoint };
    retried: FerryError[];
    meter: Meter;
  },
): Promise<Upload> {
  const { kind, path, identity, defaultName, expectedBytes } = options.pull
    ? pulled(source)
    : await locateImage(source, options.media);
  const { remembered, retried, vcd, meter } = parts;
  const note = (patch: Partial<Checkpoint>): void => {
    // As through Redis: what is remembered is a copy.
    remembered.current = structuredClone({ ...remembered.current, ...patch });
  };
  return {
    request: {
      kind,
      source,
      path,
      target: 'lab',
      catalog: options.catalog ?? 'appliances',
      name: options.name ?? defaultName,
      description: options.description ?? '',
      ifExists: options.ifExists ?? 'fail',
      storageProfile: options.storageProfile ?? null,
      verify: options.verify ?? 'full',
      batch: null,
      keepFailed: options.keepFailed ?? false,
      pool: null,
      leaseSeconds: options.leaseSeconds ?? null,
      metadata: options.metadata ?? [],
      pull: options.pull ?? false,
      identity,
      expectedBytes,
      deadline: null,
    },
    owner: { installation: 'abc123', jobId: options.jobId ?? 'lab-1' },
    shutdown: new AbortController().signal,
    context: { signal: options.signal ?? new AbortController().signal, requestId: 'test-1' },
    deps: {
      vcd: options.around ? mortal(vcd, options.around) : vcd,
      openImage,
      checkpoint: {
        get current() {
          return remembered.current;
        },
        save: async (patch) => note(patch),
        note,
      },
      meter,
      line: {
        take: () => Promise.resolve(),
        free: () => undefined,
        pool: new BlockPool(256 * 1024),
      },
      reservation: {
        claim: () => Promise.resolve(),
        isLiving: (id) => Promise.resolve(options.living?.includes(id) ?? false),
        isUnderWay: (id) => Promise.resolve(options.living?.includes(id) ?? false),
      },
      storage: {
        async claim({ name }, { bytes, freeBytes }) {
          if (bytes > freeBytes) throw new FerryError('STORAGE_FULL', `${name} is full`);
        },
      },
      chunks: new ChunkSizer(options.chunkBytes),
      throttle: createThrottle([]),
      window:
        options.window ?? transferWindow(() => ({ windows: undefined, atWindowEnd: 'finish' })),
      onImported: () => undefined,
      assertOwned: options.assertOwned ?? (() => undefined),
      newPatience: () =>
        new Patience({
          limitMs: options.patienceMs ?? 20_000,
          firstDelayMs: 40,
          onRetry: (error) => retried.push(error),
        }),
      settings: {
        settleMs: options.settleMs ?? 30,
        resettleMs: 30,
        filesInParallel: options.filesInParallel ?? 1,
        pollFirstMs: 5,
        pollLongestMs: 50,
        importFirstMs: 5,
        importLongestMs: 50,
        trickleEveryMs: 50,
        ...options.pace,
      },
      log: QUIET,
    },
  };
}

/** What a server fetches by itself is nothing that can be looked at here. */
function pulled(url: string): LocatedImage {
  const identity: LocatedImage['identity'] = { size: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 };
  return { kind: 'ovf', path: url, defaultName: 'pulled', identity, expectedBytes: 0 };
}

/** A client each of whose calls may be the last: it was not made, or its reply never came. */
function mortal(vcd: VcdClient, around: AroundCall): VcdClient {
  let calls = 0;
  return new Proxy(vcd, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]) => {
        calls += 1;
        const call = calls;
        around(call, 'before', String(key));
        const result: unknown = await value.apply(target, args);
        around(call, 'after', String(key));
        return result;
      };
    },
  });
}
