import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RunObserver } from '../jobs/outcome.ts';
import type { TargetState } from '../jobs/target-states.ts';

export interface Metrics {
  readonly observer: RunObserver;
  /** Bytes have been handed to the socket. */
  sent(target: string, bytes: number): void;
  imported(target: string, ms: number): void;
  /** In the text format of Prometheus. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Seconds: images take from moments to days. */
const DURATIONS = [1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 259_200];

/**
 * Figures of one process, and of the queues that it can see.
 *
 * @param targets as they are when somebody asks
 * @param running uploads under way in this process
 */
export function createMetrics(
  targets: () => Promise<readonly TargetState[]>,
  running: () => number,
): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
    new Counter({ name: `ovaferry_${name}`, help, labelNames, registers });
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({
      ...{ name: `ovaferry_${name}`, help, labelNames: ['target'], registers },
      buckets: DURATIONS,
    });
  const sent = counter('bytes_sent_total', 'Bytes handed to the network', 'target');
  const resent = counter('bytes_resent_total', 'Bytes sent that the server did not keep', 'target');
  const uploads = counter('uploads_total', 'Uploads that ended', 'target', 'outcome');
  const runs = counter('attempts_total', 'Runs of jobs that ended by themselves', 'target');
  const errors = counter(
    'errors_total',
    'Failures, those that are tried again too',
    'target',
    'code',
  );
  const durations = histogram('upload_duration_seconds', 'From the first run to the end');
  const imports = histogram(
    'import_duration_seconds',
    "From the last byte to the item's being ready",
  );
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `ovaferry_${name}`, help, labelNames, registers });
  const up = gauge('redis_up', '0 while Redis does not answer: what it knows is left out then');
  const jobs = gauge('jobs', 'Jobs in the queues', 'target', 'state');
  const oldest = gauge('oldest_waiting_seconds', 'Age of the job that waits longest', 'target');
  const rates = gauge('rate_bytes_per_second', 'Rate of late, over all workers', 'target');
  const brakes = gauge('braked', '1 while jobs are kept back', 'target', 'code');
  new Gauge({
    name: 'ovaferry_running_uploads',
    help: 'Uploads under way in this process',
    registers,
    collect() {
      this.set(running());
    },
  });
  return {
    observer: {
      ended({ target, outcome, code, ms, bytesResent }) {
        uploads.inc({ target, outcome });
        runs.inc({ target });
        durations.observe({ target }, ms / 1_000);
        resent.inc({ target }, bytesResent);
        if (code) errors.inc({ target, code });
      },
      postponed({ target, code }) {
        runs.inc({ target });
        errors.inc({ target, code });
      },
    },
    sent: (target, bytes) => sent.inc({ target }, bytes),
    imported: (target, ms) => imports.observe({ target }, ms / 1_000),
    async text() {
      for (const figure of [jobs, oldest, rates, brakes]) figure.reset();
      // What this process knows by itself is told in any case: that is when it is looked at.
      const states = await targets().catch(() => undefined);
      up.set(states ? 1 : 0);
      for (const { name: target, counts, oldestWaitingAt, rate, brake } of states ?? []) {
        for (const [state, count] of Object.entries(counts)) jobs.set({ target, state }, count);
        const since = oldestWaitingAt === null ? undefined : Date.parse(oldestWaitingAt);
        oldest.set({ target }, since === undefined ? 0 : (Date.now() - since) / 1_000);
        rates.set({ target }, rate ?? 0);
        if (brake) brakes.set({ target, code: brake.code }, 1);
      }
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
