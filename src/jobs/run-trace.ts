import { classify } from '../errors.ts';
import type { CallContext } from '../vcd/api.ts';
import type { Stage } from './job-data.ts';
import type { RunObserver } from './outcome.ts';

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** Something that takes time, and what happens in it. */
export interface Span {
  begin(name: string, attributes?: Attributes): Span;
  set(attributes: Attributes): void;
  /** @param failure what it failed by: a code or a status, and words without secrets */
  end(failure?: { readonly code: string; readonly message: string }): void;
}

/** Where traces go. */
export interface Tracer {
  /** Begins a run of a job. All runs of a job, on whatever worker, belong to one trace. */
  beginRun(job: { readonly id: string; readonly enqueuedAt: number }, attributes: Attributes): Span;
}

/** Names of spans are few: what differs is an attribute. */
const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}/gi;

/** One run of one job as a trace shows it: its stages, and in them its requests to vCD. */
export class RunTrace {
  readonly #run: Span | undefined;
  #stage: Span | undefined;
  #failure: { code: string; message: string } | undefined;

  constructor(run: Span | undefined) {
    this.#run = run;
  }

  enter(stage: Stage): void {
    this.#stage?.end();
    this.#stage = this.#run?.begin(stage);
  }

  /** For the requests of this run. */
  get onCall(): CallContext['onCall'] {
    if (!this.#run) return undefined;
    return (label) => {
      const span = (this.#stage ?? this.#run)?.begin(label.replaceAll(ID, '{id}'), {
        'ovaferry.request': label,
      });
      return ({ status, error }) => {
        if (status !== undefined) span?.set({ 'http.response.status_code': status });
        if (status !== undefined && status < 400) return span?.end();
        const { code, message } =
          error === undefined ? { code: String(status), message: '' } : classify(error);
        span?.end({ code, message });
      };
    };
  }

  /** Tells the trace, too, how the run ended. */
  observing(observer: RunObserver): RunObserver {
    return {
      ended: (ended) => {
        const { code, outcome, bytesResent } = ended;
        this.#run?.set({ 'ovaferry.outcome': outcome, 'ovaferry.bytes_resent': bytesResent });
        if (code !== undefined) this.#failure = { code, message: code };
        observer.ended(ended);
      },
      postponed: (postponed) => {
        const { code } = postponed;
        this.#run?.set({ 'ovaferry.outcome': 'postponed' });
        this.#failure = { code, message: code };
        observer.postponed(postponed);
      },
    };
  }

  end(): void {
    this.#stage?.end();
    this.#run?.end(this.#failure);
  }
}
