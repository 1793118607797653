import { asked } from '../redis/asked.ts';
import type { CallContext } from '../vcd/api.ts';
import { ChunkSizer } from './chunks.ts';
import { vdcView } from './deploy.ts';
import { type Checkpoint, hasBegun } from './job-data.ts';
import { toJobError } from './job-error.ts';
import type { JobRecord } from './job-record.ts';
import type { JobRequest } from './job-request.ts';
import { transferWindow } from './limits/transfer-window.ts';
import type { Meter } from './meter.ts';
import { notingOutages } from './outage.ts';
import {
  type ProcessorWorld,
  type Run,
  requestIdOf,
  type TargetAccess,
} from './processor-world.ts';
import { Patience } from './retry.ts';
import type { CheckpointStore, Log, Work } from './upload-deps.ts';

/** What belongs to one run alone. */
interface WorkParts {
  readonly record: JobRecord;
  readonly meter: Meter;
  readonly access: TargetAccess;
  readonly log: Log;
  readonly onCall: CallContext['onCall'];
}

/** Makes what a run is to do of what all runs share and of what is its own. */
export function workOf(
  world: ProcessorWorld,
  run: Run,
  { record, meter, access, log, onCall }: WorkParts,
): Work<JobRequest> {
  const { lease, shutdown, line } = run;
  const { settings, installation, brakes, reservations, storage, offers } = world;
  const { request } = record.data;
  const jobId = record.id;
  const deploy = request.operation === 'upload' ? request.deploy : null;
  let isTrial = true;
  /** The target lets us work: whatever kept its jobs back is over. */
  const works = (patch: Partial<Checkpoint>): void => {
    // What a copy reads from is another target.
    const isOffered = request.operation === 'download' && patch.offer;
    if (!isTrial || !(patch.item || isOffered || patch.progressedAt)) return;
    isTrial = false;
    void brakes.liftFault(request.target).catch(() => undefined);
  };
  const checkpoint: CheckpointStore = {
    get current() {
      return record.data.checkpoint;
    },
    async save(patch) {
      works(patch);
      await record.saveCheckpoint(patch);
    },
    note(patch) {
      works(patch);
      record.noteCheckpoint(patch);
    },
  };
  return {
    request,
    owner: { installation, jobId },
    shutdown,
    context: {
      signal: AbortSignal.any([lease.lost, lease.cancelled, shutdown]),
      requestId: requestIdOf(run),
      onCall: notingOutages(checkpoint, access.vcd.origin, onCall),
    },
    deps: {
      vcd: deploy ? vdcView(access.vcd, deploy) : access.vcd,
      source: async (target) => (await world.access(target)).vcd,
      openImage: world.openImage,
      checkpoint,
      found(warnings) {
        record.note({ warnings: [...warnings] });
        for (const warning of warnings) record.say('warn', warning);
      },
      meter,
      line,
      reservation: {
        async claim(catalogUrn) {
          const reserved = await asked(() => reservations.claim(catalogUrn, record.data, jobId));
          if (reserved !== record.data.checkpoint.reserved) record.noteCheckpoint({ reserved });
        },
        isLiving: (id) => asked(() => reservations.isLiving(id)),
        isUnderWay: (id) => asked(() => reservations.isUnderWay(id)),
        hasFailed: (id) => asked(() => reservations.hasFailed(id)),
      },
      storage: {
        async claim(profile, needed) {
          const share = await asked(() => storage.claim(profile, jobId, needed));
          const before = record.data.checkpoint.storage;
          if (share === before) return;
          if (before !== null) await storage.release(before, jobId).catch(() => undefined);
          record.noteCheckpoint({ storage: share });
        },
      },
      offers: {
        join: (entityHref) => asked(() => offers.join(entityHref, jobId)),
        enabling: (entityHref) => asked(() => offers.enabling(entityHref)),
        leave: (entityHref) => asked(() => offers.leave(entityHref, jobId)),
        disabled: (entityHref) => asked(() => offers.disabled(entityHref)),
      },
      chunks: new ChunkSizer(settings.chunkBytes, world.bodyLimits.of(request.target)),
      throttle: world.throttle(request.target),
      window: transferWindow(() => world.limitsOf(request.target)),
      onImported(ms) {
        const { bytesTotal } = meter.snapshot();
        world.onImported(request.target, bytesTotal, ms);
      },
      assertOwned: () => lease.assertHeld(),
      newPatience: () =>
        new Patience({
          limitMs: settings.patienceMs,
          async untilReachable(signal) {
            // What has nothing there yet is another worker's as well, who may reach it.
            const isBegun = hasBegun(record.data);
            if (!isBegun && !(await access.gate.answers(signal))) throw new Error('it is down');
            await access.gate.untilUp(signal);
          },
          onRetry(error, delayMs) {
            log.warn({ code: error.code, delayMs }, error.message);
          },
          onTrouble(error) {
            record.note({ error: error && toJobError(error, request, false) });
          },
        }),
      settings,
      log,
    },
  };
}
