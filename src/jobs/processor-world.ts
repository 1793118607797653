import type { Job } from 'bullmq';
import type { VcdClient } from '../vcd/client.ts';
import type { BodyLimits } from './body-limits.ts';
import type { Lease } from './lease.ts';
import type { ItemOffers } from './offers.ts';
import type { GivingUp, Shared } from './outcome.ts';
import type { Tracer } from './run-trace.ts';
import type { TargetGate } from './target-gate.ts';
import type { LinePlace, Log, Throttle, UploadDeps, UploadSettings } from './upload-deps.ts';

/** A target as the uploads of one process share it. */
export interface TargetAccess {
  readonly vcd: VcdClient;
  readonly gate: TargetGate;
}

/** What every run of this process shares. */
export interface ProcessorWorld extends Shared {
  /** @throws FerryError CREDENTIALS_MISSING */
  readonly access: (target: string) => Promise<TargetAccess>;
  readonly openImage: UploadDeps['openImage'];
  readonly offers: ItemOffers;
  readonly throttle: (target: string) => Throttle;
  /** Told of all bytes that are sent. */
  readonly onSent: (
    bytes: number,
    of: { readonly target: string; readonly batch: string | null },
  ) => void;
  /** Told how long imports took, and of how many bytes. */
  readonly onImported: (target: string, bytes: number, ms: number) => void;
  /** Undefined where nobody wants traces. */
  readonly tracer: Tracer | undefined;
  readonly settings: ProcessorSettings;
  readonly bodyLimits: BodyLimits;
  /** Names this installation in the marks of what it creates. */
  readonly installation: string;
  readonly log: Log;
}

export interface ProcessorSettings extends UploadSettings, GivingUp {
  /** Bytes; undefined to adapt to the line. */
  readonly chunkBytes: number | undefined;
  /** How long a run waits for a target before it gives its place back. */
  readonly patienceMs: number;
}

/** One run of one job. */
export interface Run {
  readonly job: Job;
  readonly token: string;
  readonly lease: Lease;
  readonly line: LinePlace;
  /** Aborted with SHUTDOWN when this process is to stop. */
  readonly shutdown: AbortSignal;
}

/** What the requests of a run are called in vCD's logs, which take letters, digits and dashes. */
export function requestIdOf({ job, token }: Run): string {
  return `ovaferry-${job.id}-${token.slice(0, 8)}`.replace(/[^\dA-Za-z-]/g, '-');
}
