import { FerryError } from '../../src/errors.ts';
import { ChunkSizer } from '../../src/jobs/chunks.ts';
import { cleanUp, type ReadyItem } from '../../src/jobs/clean-up.ts';
import { vdcView } from '../../src/jobs/deploy.ts';
import { cleanUpDownload, downloadItem } from '../../src/jobs/download/download-item.ts';
import { type Checkpoint, NO_CHECKPOINT } from '../../src/jobs/job-data.ts';
import type { DownloadRequest, UploadRequest } from '../../src/jobs/job-request.ts';
import { createThrottle } from '../../src/jobs/limits/throttle.ts';
import { type TransferWindow, transferWindow } from '../../src/jobs/limits/transfer-window.ts';
import { Meter } from '../../src/jobs/meter.ts';
import { notingOutages } from '../../src/jobs/outage.ts';
import { Patience } from '../../src/jobs/retry.ts';
import { runUpload } from '../../src/jobs/run-upload.ts';
import type {
  Download,
  Upload,
  UploadDeps,
  UploadResult,
  UploadSettings,
} from '../../src/jobs/upload-deps.ts';
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
  /** As `upload`, of an item of the catalog appliances, to a folder. */
  download(name: string, folder: string, options?: DownloadOptions): Promise<UploadResult>;
  /** What `upload` remembered last. */
  readonly remembered: { current: Checkpoint };
  /** Errors that were waited for, in order. */
  readonly retried: FerryError[];
  /** What was odd about the images, in order. */
  readonly found: string[];
  readonly meter: { current: Meter };
  /** What became of the last upload's traces. */
  cleanUp(): Promise<ReadyItem | undefined>;
  cleanUpDownload(): Promise<void>;
}

/** `name` is the method's. */
type AroundCall = (call: number, when: 'before' | 'after', name: string) => void;

interface WorkParts {
  readonly vcd: VcdClient;
  readonly remembered: { current: Checkpoint };
  readonly retried: FerryError[];
  readonly meter: Meter;
  readonly found: string[];
}

/** What a test changes of how a job works. */
interface WorkOptions {
  /** By default one of a pool. */
  readonly jobId?: string;
  /** Whoever works on another Redis. */
  readonly installation?: string;
  /** In place of opening an image for every run. */
  readonly openImage?: UploadDeps['openImage'];
  /** What a copy is made of. */
  readonly sourceVcd?: VcdClient;
  /** Jobs that are known besides. */
  readonly living?: readonly string[];
  readonly failed?: readonly string[];
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

export interface UploadOptions
  extends WorkOptions,
    Partial<Omit<UploadRequest, 'kind' | 'source' | 'path' | 'target' | 'batch' | 'identity'>> {
  readonly media?: boolean;
}

interface DownloadOptions extends WorkOptions, Partial<DownloadRequest> {}

/** Ids of pools' jobs have all that an id can have. */
export const POOLED_JOB = 'lab.dc1-1';

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
  const found: string[] = [];
  let last: Upload | undefined;
  let lastDownload: Download | undefined;
  try {
    return await use({
      simulator,
      vcd,
      remembered,
      retried,
      found,
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
          found,
        });
        return runUpload(last);
      },
      async download(name, folder, downloadOptions = {}) {
        meter.current = new Meter({ files: [], bytesResent: 0, bytesLost: 0 });
        lastDownload = newDownload(name, folder, downloadOptions, {
          ...{ vcd, remembered, retried, meter: meter.current, found },
        });
        return downloadItem(lastDownload);
      },
      cleanUp: () => cleanUp(last as Upload),
      cleanUpDownload() {
        const { context, ...rest } = lastDownload as Download;
        // The run's own signal may be what ended it.
        const signal = new AbortController().signal;
        return cleanUpDownload({ ...rest, context: { ...context, signal } });
      },
    });
  } finally {
    vcd.close();
    await simulator.close();
  }
}

let put = 0;

/** Puts an image into a catalog without a queue: for tests of what is done with it afterwards. */
export async function uploadTo(
  simulator: Simulator,
  source: string,
  options: UploadOptions = {},
  client: Partial<VcdOptions> = {},
): Promise<void> {
  const vcd = clientOf(simulator, client);
  const remembered = { current: NO_CHECKPOINT };
  const meter = new Meter({ files: [], bytesResent: 0, bytesLost: 0 });
  put += 1;
  const asked = { jobId: `lab-put${put}`, ...options };
  try {
    await runUpload(
      await newUpload(source, asked, { vcd, remembered, retried: [], meter, found: [] }),
    );
  } finally {
    vcd.close();
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
  parts: WorkParts,
): Promise<Upload> {
  const { kind, path, identity, defaultName, expectedBytes } =
    options.pull || options.from
      ? pulled(source)
      : await locateImage(source, options.media ?? source.endsWith('.img'));
  const { remembered, retried, vcd, meter, found } = parts;
  return {
    request: {
      operation: 'upload',
      from: options.from ?? null,
      deploy: options.deploy ?? null,
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
      again: options.again ?? false,
      previous: options.previous ?? null,
      pool: null,
      leaseSeconds: options.leaseSeconds ?? null,
      metadata: options.metadata ?? [],
      pull: options.pull ?? false,
      identity,
      expectedBytes,
      deadline: null,
    },
    ...workOf(options, { remembered, retried, vcd, meter, found }),
  };
}

function newDownload(
  name: string,
  folder: string,
  options: DownloadOptions,
  parts: WorkParts,
): Download {
  return {
    request: {
      ...{ operation: 'download', kind: null, target: 'lab', catalog: 'appliances', name, folder },
      source: `lab/appliances/${name}`,
      format: options.format ?? 'files',
      ifExists: options.ifExists ?? 'fail',
      keepFailed: options.keepFailed ?? false,
      again: options.again ?? false,
      previous: options.previous ?? null,
      ...{ batch: null, pool: null, expectedBytes: 0, deadline: null },
    },
    ...workOf(options, parts),
  };
}

/** What every job under way has, without a queue around it. */
function workOf(
  options: WorkOptions,
  { remembered, retried, vcd, meter, found }: WorkParts,
): Omit<Upload, 'request'> {
  const note = (patch: Partial<Checkpoint>): void => {
    // As through Redis: what is remembered is a copy.
    remembered.current = structuredClone({ ...remembered.current, ...patch });
  };
  const checkpoint: UploadDeps['checkpoint'] = {
    get current() {
      return remembered.current;
    },
    save: async (patch) => note(patch),
    note,
  };
  return {
    owner: { installation: options.installation ?? 'abc123', jobId: options.jobId ?? POOLED_JOB },
    shutdown: new AbortController().signal,
    context: {
      signal: options.signal ?? new AbortController().signal,
      requestId: 'test-1',
      onCall: notingOutages(checkpoint, vcd.origin),
    },
    deps: {
      vcd: viewOf(options.around ? mortal(vcd, options.around) : vcd, options),
      openImage: options.openImage ?? openImage,
      source: async () => options.sourceVcd ?? vcd,
      checkpoint,
      found: (warnings) => void found.push(...warnings),
      meter,
      line: {
        take: () => Promise.resolve(),
        free: () => undefined,
        pool: new BlockPool(256 * 1024),
      },
      reservation: {
        claim: () => Promise.resolve(),
        isLiving: (id) => Promise.resolve(options.living?.includes(id) ?? false),
        hasFailed: (id) => Promise.resolve(options.failed?.includes(id) ?? false),
        isUnderWay: (id) => Promise.resolve(options.living?.includes(id) ?? false),
      },
      storage: {
        async claim({ name }, { bytes, freeBytes }) {
          if (bytes > freeBytes) throw new FerryError('STORAGE_FULL', `${name} is full`);
        },
      },
      offers: {
        join: () => Promise.resolve(),
        enabling: () => Promise.resolve(),
        leave: () => Promise.resolve(true),
        disabled: () => Promise.resolve(),
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
        resendFloorBytes: 0,
        sessionIdleMs: 3_600_000,
        ...options.pace,
      },
      log: QUIET,
    },
  };
}

function viewOf(vcd: VcdClient, options: WorkOptions): UploadDeps['vcd'] {
  const { deploy } = options as UploadOptions;
  return deploy ? vdcView(vcd, deploy) : vcd;
}

/** What a server fetches by itself is nothing that can be looked at here. */
function pulled(url: string): LocatedImage {
  const identity: LocatedImage['identity'] = { size: 0, mtimeMs: 0 };
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
