import { createHash, randomBytes } from 'node:crypto';
import {
  type Context,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type Tracer as SdkTracer,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BatchSpanProcessor, type IdGenerator, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Span, Tracer } from '../jobs/run-trace.ts';
import type { Log } from '../jobs/upload-deps.ts';

/** Where traces are sent; what is left out is as OpenTelemetry's own environment variables say. */
export interface TracesOptions {
  /** Like `http://collector:4318/v1/traces`. */
  readonly url?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of ovaferry. */
  readonly version: string;
  readonly log: Log;
}

export interface Traces extends Tracer {
  /** Sends what was not sent yet. */
  close(): Promise<void>;
}

/** Runs and what is in them as OpenTelemetry spans, sent by OTLP over HTTP. */
export function openTraces({ url, headers, version, log }: TracesOptions): Traces {
  let isSaid = false;
  // An exporter that can't send says so again every few seconds: once is enough.
  const quiet = (message: string): void => {
    log[isSaid ? 'debug' : 'warn']({}, `traces can't be sent: ${wordsOf(message)}`);
    isSaid = true;
  };
  diag.setLogger(
    { error: quiet, warn: quiet, info: quiet, debug: quiet, verbose: quiet },
    DiagLogLevel.WARN,
  );
  const ids = new TraceIds();
  const exporter = new OTLPTraceExporter({
    ...(url === undefined ? {} : { url }),
    ...(headers === undefined ? {} : { headers: { ...headers } }),
  });
  const provider = new TracerProvider({
    idGenerator: ids,
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'ovaferry', 'service.version': version }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('ovaferry', version);
  return {
    beginRun({ id, enqueuedAt }, attributes) {
      ids.next = createHash('sha256').update(`${id} ${enqueuedAt}`).digest('hex').slice(0, 32);
      return spanOf(tracer, ROOT_CONTEXT, 'upload', attributes);
    },
    close: () => provider.shutdown(),
  };
}

/** OpenTelemetry tells errors as JSON, with their stacks. */
function wordsOf(message: string): string {
  try {
    const { message: words = message } = JSON.parse(message) as { message?: string };
    return words;
  } catch {
    return message;
  }
}

/** A trace's id follows from the job's: whoever runs it, nobody has to hand it on. */
class TraceIds implements IdGenerator {
  next: string | undefined;

  generateTraceId(): string {
    const id = this.next ?? randomBytes(16).toString('hex');
    this.next = undefined;
    return id;
  }

  generateSpanId(): string {
    return randomBytes(8).toString('hex');
  }
}

function spanOf(
  tracer: SdkTracer,
  parent: Context,
  name: string,
  attributes: Parameters<Span['set']>[0] = {},
): Span {
  const own = tracer.startSpan(name, { attributes }, parent);
  const context = trace.setSpan(parent, own);
  return {
    begin: (part, more) => spanOf(tracer, context, part, more),
    set: (more) => void own.setAttributes(more),
    end(failure) {
      if (failure) {
        own.setAttribute('error.type', failure.code);
        own.setStatus({ code: SpanStatusCode.ERROR, message: failure.message });
      }
      own.end();
    },
  };
}
